"""The figures of a report, each from the summary of a run to SVG text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tailcut.errors import StoreError
from tailcut.report.axes import Line, label_lines, mark_cut, rank_axis
from tailcut.report.svg import CLEAN, GIVEN, GRID, INK, MUTED, PLAIN, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 20
"""Classes of the largest transition matrix that is drawn."""

_MOST_POINTS = 300
_FAINTEST = 1e-6
_OURS = "tailcut"


def cut_rank(summary: Mapping[str, Any]) -> int | None:
    """The kept rank where it leaves directions out; None where all are kept."""
    rank, width = summary.get("rank"), summary.get("width")
    return None if not rank or (width and rank >= width) else rank


def rank_curve(summary: Mapping[str, Any]) -> str:
    """Accuracy over kept rank, the cut marked; empty without a curve.

    Raises:
        StoreError: Another number of accuracies than of ranks.
    """
    lines, rank = _lines(summary), cut_rank(summary)
    if not lines:
        return ""
    last = max(max(line.accuracies) for line in lines)

    def draw(axes: Axes) -> None:
        for line in lines:
            axes.plot(list(line.accuracies), list(line.accuracies.values()), color=line.colour)
            if line.untouched is not None:
                axes.axhline(line.untouched, color=line.colour, linewidth=1.2, dashes=(4, 3))
            if rank in line.accuracies:
                axes.plot([rank], [line.accuracies[rank]], "o", color=line.colour, markersize=7)
        axes.set_xlabel("kept rank")
        axes.set_ylabel("accuracy")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        rank_axis(axes, last)
        mark_cut(axes, rank, last)
        label_lines(axes, lines)

    return render("curve", _curve_in_words(lines, rank), draw, margins=(68, 46, 112, 22))


def spectrum(summary: Mapping[str, Any]) -> str:
    """Share of the variance along each direction, the cut marked; empty without a spectrum."""
    shares = [share or 0 for share in (summary.get("spectrum") or {}).get("shares") or []]
    rank, top = cut_rank(summary), max(shares, default=0)
    if top <= 0:
        return ""
    points = [place for place in _thinned(len(shares)) if shares[place - 1] > _FAINTEST * top]
    floor = min(shares[place - 1] for place in points)

    def draw(axes: Axes) -> None:
        kept = [place for place in points if rank and place <= rank]
        axes.plot(points, [shares[place - 1] for place in points], color=CLEAN)
        axes.fill_between(kept, [shares[p - 1] for p in kept], floor / 9, color=CLEAN, alpha=0.2)
        axes.set_yscale("log")
        axes.set_ylim(floor / 2, top * 2)
        axes.set_xlabel("direction")
        axes.set_ylabel("share of the variance")
        decades = [10.0**power for power in range(-12, 1) if floor / 2 <= 10.0**power <= top * 2]
        axes.set_yticks(decades, [_plain(100 * decade) + " %" for decade in decades])
        axes.set_yticks([], minor=True)
        rank_axis(axes, len(shares))
        mark_cut(axes, rank, len(shares))

    label = (
        f"Share of the variance along each of {len(shares)} directions, "
        f"falling from {100 * top:.1f} % to {_plain(float(f'{100 * floor:.1g}'))} %"
    )
    label += f"; cut at {rank}." if rank else "."
    return render("spectrum", label, draw, margins=(92, 46, 16, 22))


def comparison(summary: Mapping[str, Any]) -> str:
    """Accuracies on true labels as bars, tailcut among the baselines; empty without baselines."""
    bars = _bars(summary)
    if not bars:
        return ""

    def draw(axes: Axes) -> None:
        for place, (name, accuracy) in enumerate(bars.items()):
            mine = name == _OURS
            axes.barh(place, accuracy, 0.36, color=CLEAN if mine else PLAIN)
            weight = "bold" if mine else "normal"
            axes.text(0, place + 0.27, _short(name), va="bottom", weight=weight)
            axes.text(1, place + 0.27, f"{100 * accuracy:.1f} %", va="bottom", ha="right")
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.4, len(bars) - 0.2)
        axes.axis("off")

    message = ", ".join(
        f"{name} {100 * accuracy:.1f} %" for name, accuracy in reversed(bars.items())
    )
    return render(
        "bars",
        f"Accuracy on true labels: {message}.",
        draw,
        height=4 + 44 * len(bars),
        margins=(0, 0, 0, 0),
    )


def transition(summary: Mapping[str, Any]) -> str:
    """Estimated P(given | true) as a table of shades; empty without, or above 20 classes."""
    rows = (summary.get("noise") or {}).get("transition") or []
    classes = len(rows)
    if not 1 <= classes <= MOST_CLASSES:
        return ""

    def draw(axes: Axes) -> None:
        for true, row in enumerate(rows):
            for given, share in enumerate(row):
                _shade(axes, given, true, share or 0, written=classes <= 12)
        axes.set_xlim(-0.5, classes - 0.5)
        axes.set_ylim(classes - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.grid(visible=False)
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
        axes.tick_params(length=0, labelsize=12.5 if classes <= 12 else 9)
        axes.set_xlabel("given label")
        axes.set_ylabel("true label")

    kept = [row[true] or 0 for true, row in enumerate(rows)]
    label = (
        f"Estimated share of each given label for each of {classes} true labels, in percent: "
        f"labels are right in {100 * min(kept):.0f} to {100 * max(kept):.0f} % of each class."
    )
    return render("transition", label, draw, height=410, margins=(48, 46, 8, 8))


def _lines(summary: Mapping[str, Any]) -> list[Line]:
    curve = summary.get("curve") or {}
    ranks = curve.get("ranks") or []
    lines = []
    for key, name, colour, part in (
        ("given", "given", GIVEN, "holdout"),
        ("clean", "true", CLEAN, "clean"),
    ):
        accuracies = curve.get(key)
        if not accuracies:
            continue
        if len(accuracies) != len(ranks):
            raise StoreError(
                f"a curve of {len(ranks)} ranks with {len(accuracies)} accuracies on {key} labels",
                wanted="one accuracy for each rank",
                advice="Take result.json as tailcut wrote it",
            )
        known = {
            rank: value
            for rank, value in zip(ranks, accuracies, strict=True)
            if value is not None and not math.isnan(value)
        }
        if known:
            untouched = (summary.get(part) or {}).get("before")
            lines.append(Line(name, colour, known, untouched))
    return lines


def _curve_in_words(lines: Sequence[Line], rank: int | None) -> str:
    message = []
    for line in lines:
        best = max(line.accuracies, key=line.accuracies.__getitem__)
        words = f"on {line.name} labels best at rank {best}"
        words += f" with {100 * line.accuracies[best]:.1f} %"
        if rank in line.accuracies:
            words += f", {100 * line.accuracies[rank]:.1f} % at the cut"
        if line.untouched is not None:
            words += f", {100 * line.untouched:.1f} % untouched"
        message.append(words)
    cut = f"; cut at rank {rank}." if rank else "."
    return "Accuracy over kept rank: " + "; ".join(message) + cut


def _thinned(last: int) -> list[int]:
    """1..last, at most about 300 of them, evenly over the log."""
    steps = range(_MOST_POINTS + 1)
    return sorted({round(last ** (step / _MOST_POINTS)) for step in steps}) if last else []


def _bars(summary: Mapping[str, Any]) -> dict[str, float]:
    """Baselines, or without them the last and the best epoch; and tailcut."""
    clean = summary.get("clean") or {}
    bars = dict(summary.get("baselines") or {})
    if not bars and clean.get("best_epoch") is not None:
        bars = {"last epoch": clean.get("before"), "oracle early stopping": clean["best_epoch"]}
    if bars:
        bars.setdefault(_OURS, clean.get("after"))
    known = [(name, accuracy) for name, accuracy in bars.items() if accuracy is not None]
    return dict(sorted(known, key=lambda bar: bar[1]))


def _plain(value: float) -> str:
    """Without an exponent and without idle zeros."""
    return f"{value:.12f}".rstrip("0").rstrip(".")


def _short(name: str, most: int = 44) -> str:
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"


def _shade(axes: Axes, given: int, true: int, share: float, *, written: bool) -> None:
    """One cell; half the colour at most, so that ink stays readable on it."""
    from matplotlib.patches import Rectangle

    box = Rectangle((given - 0.5, true - 0.5), 1, 1, linewidth=0.6)
    box.set_edgecolor(GRID)
    box.set_facecolor((CLEAN, 0.55 * min(1.0, share)))
    axes.add_patch(box)
    if written and share >= 0.005:
        colour = INK if share >= 0.05 else MUTED
        axes.text(given, true, f"{100 * share:.0f}", ha="center", va="center", color=colour)
