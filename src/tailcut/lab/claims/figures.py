"""One figure for each claim, and the picture of accuracy over epochs and ranks."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tailcut.lab.claims.features import Probe
from tailcut.lab.claims.findings import Test
from tailcut.lab.claims.measures import repaired
from tailcut.lab.claims.presets import Preset
from tailcut.lab.claims.record import Record
from tailcut.lab.claims.results import Results
from tailcut.lab.claims.study import Study

_COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e6bbf", "#d08a1d", "#555555")
_SIZE = (5.6, 3.2)


def as_svg(draw: Callable[[Any], None]) -> str:
    """What a function draws on axes, as SVG whose bytes depend on the numbers alone."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "tailcut", "font.size": 9}
    with mpl.rc_context(settings):
        figure = Figure(_SIZE, layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def epochs_by_ranks(probes: Sequence[Probe], fit: str = "given", kind: str = "test") -> str:
    """Accuracy of the leading directions' probe at every probed epoch and rank, as SVG."""

    def draw(axes: Any) -> None:
        shortest = min((probe["ranks"] for probe in probes), key=len)
        rows = [probe[fit]["leading"][kind][: len(shortest)] for probe in probes]
        mesh = axes.pcolormesh(100 * np.array(rows).T, cmap="viridis", vmin=0)
        axes.set_xticks(np.arange(len(probes)) + 0.5, [probe["epoch"] for probe in probes])
        places = range(0, len(shortest), 2)
        axes.set_yticks([place + 0.5 for place in places], [shortest[place] for place in places])
        axes.set(xlabel="epoch", ylabel="leading directions kept")
        axes.figure.colorbar(mesh, label=f"% right ({kind}, fitted to {fit} labels)")

    return as_svg(draw)


def draw_tests(
    axes: Any, places: Sequence[float], rows: Sequence[Sequence[Test]], label: str
) -> None:
    """A line for each statistic with its intervals, over places on a logarithmic scale."""
    for tests, colour in zip(rows, _COLOURS, strict=False):
        low, high = zip(*(test.interval for test in tests), strict=True)
        means = [test.mean for test in tests]
        name = textwrap.fill(f"{tests[0].name} ({tests[0].wanted})", 78)
        axes.plot(places, means, color=colour, lw=1.5, marker=".", label=name)
        axes.fill_between(places, low, high, color=colour, alpha=0.15, lw=0)
        axes.axhline(tests[0].threshold, color=_COLOURS[5], ls="--", lw=0.8)
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(label)
    axes.figure.legend(loc="outside lower center", frameon=False, fontsize=7)


def pictures(results: Results) -> dict[str, str]:
    """SVG texts by the names of the claims."""
    drawn = {name: _DRAWN[name] for name in results.preset.claims}
    return {
        name: as_svg(lambda axes, draw=draw: draw(axes, results)) for name, draw in drawn.items()
    }


def _gathering(axes: Any, results: Results) -> None:
    """Where probes on octaves of directions repeat wrong labels, and where they see through."""
    for kind, label, colour in (
        ("flipped given", "repeats the wrong label", _COLOURS[1]),
        ("flipped true", "sees the true class", _COLOURS[0]),
    ):
        records = results.of(results.preset.base)
        bands = min((record.probes[-1]["bands"] for record in records), key=len)
        rows = [r.probes[-1]["given"]["octave"][kind][: len(bands)] for r in records]
        _line(axes, [stop for _, stop in bands], rows, label, colour)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="directions of the octave, last", ylabel="% of wrongly labelled samples")
    axes.legend(frameon=False)


def _systematic(axes: Any, results: Results) -> None:
    preset = results.preset
    kinds = [(preset.base.noise, preset.base.rate), *preset.systematic]
    for (noise, rate), colour in zip(kinds, _COLOURS, strict=False):
        records = results.of(preset.of_noise(noise, rate) if noise != "symmetric" else preset.base)
        _curves(axes, records, lambda r: r["own"]["flipped given"], noise, colour)
    axes.set(xlabel="rank of the paper's cut", ylabel="% of wrong labels repeated")
    axes.legend(frameon=False)


def _outward(axes: Any, results: Results) -> None:
    records = results.of(results.preset.base)
    epochs = [probe["epoch"] for probe in records[0].probes]
    for name, label, colour in (
        ("noise_depth", "depth of the noise", _COLOURS[1]),
        ("signal_depth", "depth of the signal", _COLOURS[0]),
        ("noise_explained", "noise explained", _COLOURS[4]),
        ("noise_explained_permuted", "the same, permuted", _COLOURS[5]),
    ):
        rows = [[probe["segregation"][name] for probe in r.probes] for r in records]
        _line(axes, epochs, rows, label, colour, scale=1)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlabel="epoch", ylabel="0 to 1")
    axes.legend(frameon=False)


def _untrained(axes: Any, results: Results) -> None:
    preset = results.preset
    for study, label, colour in (
        (preset.base, "symmetric noise", _COLOURS[0]),
        (preset.pixels(), "raw inputs", _COLOURS[5]),
    ):
        records = results.of(study)
        probes = [r.probes if study is preset.base else r.probes[:1] for r in records]
        rows = [[probe["segregation"]["index"] for probe in each] for each in probes]
        epochs = [probe["epoch"] for probe in probes[0]]
        _line(axes, epochs, rows, label, colour, scale=1)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlabel="epoch", ylabel="segregation index")
    axes.legend(frameon=False)


def _recovery(axes: Any, results: Results) -> None:
    records = results.of(results.preset.base)
    _curves(axes, records, lambda r: r["own"]["test"], "paper's cut", _COLOURS[0])
    _curves(
        axes,
        records,
        lambda r: r["true"]["leading"]["test"],
        "probe fitted on true labels",
        _COLOURS[2],
    )
    for label, colour, values in (
        ("best epoch", _COLOURS[4], [r.best_epoch for r in records]),
        ("tailcut's repair", _COLOURS[1], [repaired(r) for r in records]),
    ):
        axes.axhline(100 * float(np.mean(values)), color=colour, ls="--", lw=1, label=label)
    axes.set(xlabel="rank", ylabel="% right on test")
    axes.legend(frameon=False)


def _stability(axes: Any, results: Results) -> None:
    """Accuracy against the distance of the option from its best value."""
    grid = np.geomspace(0.4, 2.5, 25)
    for label, colour, read in (
        ("rank of the paper's cut", _COLOURS[0], _rank_curve),
        ("epoch of stopping", _COLOURS[1], _epoch_curve),
    ):
        rows = []
        for record in results.of(results.preset.base):
            places, values = read(record)
            best = int(np.argmax(values))
            missed = np.interp(np.log(grid * places[best]), np.log(places), values)
            rows.append((missed - values[best]).tolist())
        _line(axes, grid.tolist(), rows, label, colour)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="option, in units of its best value", ylabel="points lost")
    axes.legend(frameon=False)


def _capacity(axes: Any, results: Results) -> None:
    preset = results.preset
    names = [*(name for name, _ in preset.widths), *preset.constrained]
    values = [results.each(preset.of_network(name), lambda r: r.last) for name in names]
    _bars(axes, names, values)


def _threshold(axes: Any, results: Results) -> None:
    preset = results.preset
    _harm(axes, results, {}, preset.rates, f"{preset.base.train} samples", _COLOURS[0])
    rates = (0.0, preset.base.rate)
    _harm(axes, results, {"train": preset.small}, rates, f"{preset.small} samples", _COLOURS[1])
    for (network, _), colour in zip(
        (preset.widths[0], preset.widths[-1]), _COLOURS[2:], strict=False
    ):
        if network != preset.base.network:
            _harm(axes, results, {"network": network}, rates, network, colour)
    axes.set(xlabel="share of wrong labels", ylabel="points lost at the last epoch")
    axes.legend(frameon=False)


def _harm(
    axes: Any,
    results: Results,
    changes: dict[str, Any],
    rates: Sequence[float],
    label: str,
    colour: str,
) -> None:
    preset: Preset = results.preset
    clean: Study = preset.of_rate(0.0, **changes)
    columns = [
        results.minus(clean, preset.of_rate(rate, **changes), lambda r: r.last) for rate in rates
    ]
    _line(axes, list(rates), np.array(columns).T.tolist(), label, colour)


_DRAWN: dict[str, Callable[[Any, Results], None]] = {
    "C1": _gathering,
    "C2": _systematic,
    "C3": _outward,
    "C4": _untrained,
    "C5": _recovery,
    "C6": _stability,
    "C7": _capacity,
    "C8": _threshold,
}


def _rank_curve(record: Record) -> tuple[list[int], list[float]]:
    probe = record.probes[-1]
    return probe["ranks"], probe["own"]["test"]


def _epoch_curve(record: Record) -> tuple[list[int], list[float]]:
    epochs = record.epochs
    return [each.epoch for each in epochs], [each.test for each in epochs]


def _curves(
    axes: Any,
    records: Sequence[Record],
    read: Callable[[Mapping[str, Any]], Sequence[float]],
    label: str,
    colour: str,
) -> None:
    """Something at every rank of the last probe."""
    probes = [record.probes[-1] for record in records]
    ranks = min((probe["ranks"] for probe in probes), key=len)
    rows = [list(read(probe))[: len(ranks)] for probe in probes]
    _line(axes, ranks, rows, label, colour)
    axes.set_xscale("log", base=2)


def _line(
    axes: Any,
    places: Sequence[float],
    rows: Sequence[Sequence[float]],
    label: str,
    colour: str,
    *,
    scale: float = 100,
) -> None:
    """Mean over the seeds, between the least and the greatest."""
    values = scale * np.array(rows)
    style = {"marker": "."} if len(places) < 15 else {}
    axes.plot(places, values.mean(0), color=colour, lw=1.5, label=label, **style)
    axes.fill_between(places, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)


def _bars(axes: Any, names: Sequence[str], values: Sequence[Sequence[float]]) -> None:
    for place, each in enumerate(values):
        axes.plot([100 * value for value in each], [place] * len(each), "|", color=_COLOURS[5])
        axes.plot(100 * float(np.mean(each)), place, "o", color=_COLOURS[0])
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("% right on test, last epoch")
