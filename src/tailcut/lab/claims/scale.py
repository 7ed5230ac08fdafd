"""The claims over the number of training images and over width, on one page with its curves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from tailcut.files import store
from tailcut.lab.claims.claims import findings
from tailcut.lab.claims.conduct import conduct
from tailcut.lab.claims.figures import as_svg, draw_tests, epochs_by_ranks
from tailcut.lab.claims.findings import Finding, Test, summary
from tailcut.lab.claims.page import SOURCE
from tailcut.lab.claims.record import Record
from tailcut.lab.claims.results import Results
from tailcut.lab.claims.scales import Scale
from tailcut.lab.claims.study import Study
from tailcut.lab.grid import runs as grid
from tailcut.lab.grid.engines import Engine


@dataclass(frozen=True)
class Point:
    """One size or width.

    Attributes:
        place: Training images, or the width of the network.
        label: As the page heads its column.
        study: Seed 0 of it stands for all seeds.
        seeds: Those whose trainings are finished.
        found: A finding for each claim; none with fewer than two seeds.
    """

    place: int
    label: str
    study: Study
    seeds: tuple[int, ...]
    found: tuple[Finding, ...]


@dataclass(frozen=True)
class Axis:
    """What is varied, and its points in order.

    Attributes:
        name: Of the figures: "images" or "width".
        title: In a sentence.
        points: Those not run among them.
    """

    name: str
    title: str
    points: tuple[Point, ...]

    @property
    def run(self) -> list[Point]:
        """Points of which something is known."""
        return [point for point in self.points if point.found]

    def of(self, claim: int) -> list[Finding]:
        """The findings of one claim, one for each point that was run."""
        return [point.found[claim] for point in self.run]


def settle(
    scale: Scale,
    directory: Path,
    *,
    sizes: Collection[int],
    studies: Path | None = None,
    device: str = "auto",
    on_done: Callable[[Any], object] = lambda _: None,
    engine: Engine | None = None,
) -> list[Axis]:
    """Run what is missing at some sizes, read what is finished at the others, write the page.

    Args:
        scale: Its studies.
        directory: Of `scale.md`, `scale.json`, and two figures for each claim.
        sizes: Training images to run; the widths are run with the base's. At other sizes what is
            finished is on it, and what is not is said to be not run.
        studies: Of the studies' files; `directory/studies` if not given.
        device: See `study.conduct`.
        on_done: Called with every study that ends.
        engine: Where the trainings run; processes of this machine if not given.
    """
    place = directory / "studies" if studies is None else studies
    wanted = scale.studies(sizes)
    grid.run(wanted, partial(conduct, device=device), place, engine, on_done=on_done)
    contents = grid.finished(scale.studies(scale.sizes), place)
    records = {study: Record.from_json(content["result"]) for study, content in contents.items()}
    axes = measured(scale, records)
    write(directory, scale, axes, records)
    return axes


def measured(scale: Scale, records: dict[Study, Record]) -> list[Axis]:
    """The claims at every size and every width, from the records that are there."""
    base = scale.preset.base
    sizes = [(size, f"{size:_}".replace("_", " "), scale.of_size(size)) for size in scale.sizes]
    widths = [(width, name, scale.of_network(name)) for name, width in scale.widths]
    return [
        Axis(name, title, tuple(_point(scale, records, *each) for each in places))
        for name, title, places in (
            ("images", f"the number of training images ({base.network})", sizes),
            ("width", f"the width of the network ({base.train} training images)", widths),
        )
    ]


def _point(
    scale: Scale, records: dict[Study, Record], place: int, label: str, study: Study
) -> Point:
    seeds = tuple(seed for seed in scale.preset.seeds if replace(study, seed=seed) in records)
    found: tuple[Finding, ...] = ()
    if len(seeds) > 1:
        preset = replace(scale.preset, base=study, seeds=seeds)
        found = tuple(findings(Results(preset, records)))
    return Point(place, label, study, seeds, found)


def write(
    directory: Path, scale: Scale, axes: Sequence[Axis], records: dict[Study, Record]
) -> None:
    """`scale.md`, its figures, and `scale.json` with every number, which comes last."""
    for axis in axes:
        for claim, name in enumerate(scale.preset.claims):
            if axis.run:
                text = curve(axis, claim)
                store.write_text(directory / f"{name}-{axis.name}.svg", text)
        for point in axis.run:
            record = records[replace(point.study, seed=point.seeds[0])]
            text = epochs_by_ranks(record.probes)
            store.write_text(directory / f"{picture_of(axis, point)}.svg", text)
    store.write_text(directory / "scale.md", page(scale, axes))
    points = {axis.name: [_plain(point) for point in axis.points] for axis in axes}
    store.write_json(directory / "scale.json", {"schema": store.SCHEMA, **points})


def _plain(point: Point) -> dict[str, Any]:
    return {
        "place": point.place,
        "study": store.plain(asdict(point.study)),
        "seeds": list(point.seeds),
        "findings": [summary(each) for each in point.found],
    }


def picture_of(axis: Axis, point: Point) -> str:
    """Name of the picture of accuracy by epoch and rank."""
    return f"epochs-ranks-{axis.name}-{point.place}"


def curve(axis: Axis, claim: int) -> str:
    """Every statistic of a claim that counts, with its interval, along an axis, as SVG."""
    tests = zip(*(each.tests for each in axis.of(claim)), strict=True)
    rows = [list(each) for each in tests if each[0].counts]
    places = [point.place for point in axis.run]
    return as_svg(lambda axes: draw_tests(axes, places, rows, axis.title))


def page(scale: Scale, axes: Sequence[Axis]) -> str:
    """The page in Markdown."""
    lines = ["# The claims at scale", ""]
    lines += [f"- {each}" for axis in axes for each in changes(axis)]
    lines += ["", SOURCE, "", _described(scale), ""]
    for axis in axes:
        lines += [f"Verdicts over {axis.title}:", "", *verdicts(scale, axis), ""]
    claims = dict.fromkeys(finding.claim for axis in axes for p in axis.run for finding in p.found)
    for claim, (name, statement) in enumerate(zip(scale.preset.claims, claims, strict=False)):
        lines += [f"## {name}: {statement}", ""]
        for axis in axes:
            if axis.run:
                lines += [f"Over {axis.title}:", "", *table(axis, claim), ""]
                lines += [f"![{name} over the {axis.name}]({name}-{axis.name}.svg)", ""]
    lines += ["## Accuracy through training, at every rank", ""]
    lines += ["Least squares on the given labels in the leading directions, on true test labels, "]
    lines[-1] += "the first seed."
    for axis in axes:
        for point in axis.run:
            picture = f"![By epoch and rank]({picture_of(axis, point)}.svg)"
            lines += ["", f"{_heading(axis)} {point.label}:", "", picture]
    return "\n".join(lines) + "\n"


def changes(axis: Axis) -> list[str]:
    """A sentence for each claim whose verdict changes along an axis, or one that none does."""
    if len(axis.run) < 2:
        return [f"Over {axis.title} fewer than two points are run: nothing is said of a change."]
    changes = []
    for claim, first in enumerate(axis.run[0].found):
        runs = _runs((f.verdict, p.label) for f, p in zip(axis.of(claim), axis.run, strict=True))
        if len(runs) > 1:
            parts = "; ".join(f"{verdict} at {', '.join(labels)}" for verdict, labels in runs)
            changes.append(f"The verdict on {first.name} changes with {axis.title}: {parts}.")
    first, last = axis.run[0].label, axis.run[-1].label
    return changes or [f"No verdict changes with {axis.title}, from {first} to {last}."]


def _runs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Labels of equal neighbours, put together."""
    grouped = groupby(pairs, key=lambda pair: pair[0])
    return [(verdict, [label for _, label in each]) for verdict, each in grouped]


def verdicts_at(point: Point) -> dict[str, str]:
    """By claim; none where nothing was run."""
    return {finding.name: finding.verdict for finding in point.found}


def verdicts(scale: Scale, axis: Axis) -> list[str]:
    """One row for each claim, one column for each point."""
    lines = _header(axis, ["claim"], axis.points)
    seeds = [str(len(point.seeds)) if point.found else "" for point in axis.points]
    for claim, name in enumerate(scale.preset.claims):
        cells = [f"**{p.found[claim].verdict}**" if p.found else "not run" for p in axis.points]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, f"| seeds | {' | '.join(seeds)} |"]


def table(axis: Axis, claim: int) -> list[str]:
    """One row for each statistic of a claim, one column for each point that was run."""
    found = axis.of(claim)
    lines = _header(axis, ["statistic", "wanted"], axis.run)
    for tests in zip(*(each.tests for each in found), strict=True):
        name = tests[0].name if tests[0].counts else f"({tests[0].name})"
        cells = " | ".join(_cell(test) for test in tests)
        lines.append(f"| {name} | {tests[0].wanted} | {cells} |")
    verdict = " | ".join(f"**{each.verdict}**" for each in found)
    return [*lines, f"| verdict | | {verdict} |"]


def _header(axis: Axis, first: list[str], points: Sequence[Point]) -> list[str]:
    names = [*first, *(point.label for point in points)]
    names[len(first)] = f"{_heading(axis)} {names[len(first)]}"
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def _heading(axis: Axis) -> str:
    return "images:" if axis.name == "images" else "network:"


def _cell(test: Test) -> str:
    low, high = test.interval
    held = "holds" if test.holds else "no"
    return f"{test.mean:.3f} ({low:.3f} to {high:.3f}): {held}"


def _described(scale: Scale) -> str:
    base = scale.preset.base
    return (
        f"{base.data}, {100 * base.rate:.0f} % {base.noise} noise, {base.epochs} epochs of batches "
        f"of {base.batch_size}, largest learning rate {base.learning_rate}, {base.holdout} "
        f"held-out images as noisy, {base.test or 'all'} test images. A size or width with fewer "
        "than two finished seeds is said to be not run."
    )
