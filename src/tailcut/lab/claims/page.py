"""From a preset to one page: studies that are missing are run, the rest is arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tailcut.files import store
from tailcut.lab.claims.claims import findings
from tailcut.lab.claims.conduct import conduct
from tailcut.lab.claims.controls import controls
from tailcut.lab.claims.figures import epochs_by_ranks, pictures
from tailcut.lab.claims.findings import Finding, Test, summary
from tailcut.lab.claims.presets import Preset
from tailcut.lab.claims.record import Record
from tailcut.lab.claims.results import Results
from tailcut.lab.claims.study import Study
from tailcut.lab.claims.theory import known_models
from tailcut.lab.grid import runs as grid
from tailcut.lab.grid.engines import Engine

SOURCE = (
    "The claims are those of the abstract of arXiv 2603.02293v1, later withdrawn; the statistics, "
    "thresholds and protocols are ours. A test holds if the whole 95 % interval over the seeds "
    "(Student's) lies on the wanted side of the threshold. A claim is supported if all of its "
    "tests hold, not supported if none does, else mixed; tests in brackets are given for "
    "comparison and do not count."
)


def settle(
    preset: Preset,
    directory: Path,
    *,
    studies: Path | None = None,
    device: str = "auto",
    on_done: Callable[[Any], object] = lambda _: None,
    engine: Engine | None = None,
) -> list[Finding]:
    """Run what is missing of a preset, test its claims, and write the page.

    The models of known theory stand beside all claims, not beside some.

    Args:
        preset: Its studies.
        directory: Of `claims.md`, `claims.json` and a figure for each claim.
        studies: Of the studies' files; `directory/studies` if not given.
        device: See `study.conduct`.
        on_done: Called with every study that ends.
        engine: Where the trainings run; processes of this machine if not given.
    """
    wanted = preset.studies()
    place = directory / "studies" if studies is None else studies
    work = partial(conduct, device=device)
    contents = grid.run(wanted, work, place, engine, on_done=on_done)
    records = {
        study: Record.from_json(content["result"])
        for study, content in zip(wanted, contents, strict=True)
    }
    results = Results(preset, records)
    found, theory = findings(results), known_models() if preset.whole else []
    write(directory, results, found, theory)
    return [*found, *theory]


def write(
    directory: Path, results: Results, found: Sequence[Finding], theory: Sequence[Finding]
) -> None:
    """`claims.md`, its figures, and `claims.json` with every number, which comes last."""
    drawn = pictures(results)
    first = results.of(results.preset.base)[0]
    drawn["epochs-ranks"] = epochs_by_ranks(first.probes)
    for name, text in drawn.items():
        store.write_text(directory / f"{name}.svg", text)
    store.write_text(directory / "claims.md", page(results, found, theory))
    findings = [summary(each) for each in (*found, *theory)]
    store.write_json(directory / "claims.json", {"schema": store.SCHEMA, "findings": findings})


def page(results: Results, found: Sequence[Finding], theory: Sequence[Finding]) -> str:
    """The page in Markdown."""
    preset = results.preset
    lines = ["# The claims, tested", "", SOURCE, "", _described(preset), ""]
    lines += verdicts([*found, *theory])
    for finding in found:
        lines += ["", f"## {finding.name}: {finding.claim}", "", f"**{finding.verdict}**", ""]
        lines += [*table(finding.tests), "", f"![{finding.name}]({finding.name}.svg)"]
    lines += ["", "## Controls", "", *control_table(results)]
    lines += ["", "## Accuracy through training, at every rank", ""]
    readout = "Least squares on the given labels in the leading directions, on true test labels"
    lines += [f"{readout}, seed {preset.seeds[0]}.", ""]
    lines += ["![Accuracy by epoch and rank](epochs-ranks.svg)"]
    lines += ["", "## Where the theory is known"] if theory else []
    for finding in theory:
        lines += ["", f"### {finding.name}: {finding.claim}", "", f"**{finding.verdict}**", ""]
        lines += table(finding.tests)
    return "\n".join(lines) + "\n"


def verdicts(found: Sequence[Finding]) -> list[str]:
    """One row for each claim."""
    rows = [f"| {each.name} | {each.claim} | **{each.verdict}** |" for each in found]
    return ["| | claim | verdict |", "|---|---|---|", *rows]


def table(tests: Sequence[Test]) -> list[str]:
    """One row for each statistic."""
    lines = ["| statistic | mean | 95 % interval | wanted | holds |", "|---|---|---|---|---|"]
    for test in tests:
        low, high = test.interval
        name = test.name if test.counts else f"({test.name})"
        held = "yes" if test.holds else "no"
        lines.append(
            f"| {name} | {test.mean:.3f} | {low:.3f} to {high:.3f} | {test.wanted} | {held} |"
        )
    return lines


def control_table(results: Results) -> list[str]:
    """One row for each control, in % of the test samples."""
    rows = [
        f"| {name} | {100 * mean:.1f} ± {100 * deviation:.1f} |"
        for name, mean, deviation in controls(results)
    ]
    return ["| | test accuracy, % |", "|---|---|", *rows]


def _described(preset: Preset) -> str:
    base: Study = preset.base
    return (
        f"{base.data}, {base.network}, {base.train} training samples, {base.epochs} epochs, "
        f"{100 * base.rate:.0f} % {base.noise} noise unless said otherwise; seeds "
        f"{', '.join(map(str, preset.seeds))}; {len(preset.studies())} trainings."
    )
