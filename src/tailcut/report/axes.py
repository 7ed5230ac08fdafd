"""What several figures draw alike: the rank axis, the cut, and names beside lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tailcut.report.svg import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Line:
    """Accuracy at ascending ranks on one label set, and the untouched network's."""

    name: str
    colour: str
    accuracies: dict[int, float]
    untouched: float | None


def rank_axis(axes: Axes, last: int) -> None:
    """A log axis from 1, with a tick at every second power of two where there are many."""
    step = 1 if last < 64 else 2
    ticks = [2**power for power in range(0, last.bit_length(), step)]
    axes.set_xscale("log", base=2)
    axes.set_xlim(0.93, last * 1.07)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


def mark_cut(axes: Axes, rank: int | None, last: int) -> None:
    """A named vertical line at the cut, if there is one."""
    if not rank or rank > last:
        return
    place = math.log(rank) / math.log(max(last, 2))
    side = "left" if place < 0.2 else "right" if place > 0.8 else "center"
    axes.axvline(rank, color=INK, linewidth=1.4)
    axes.annotate(
        f"cut: rank {rank}",
        (rank, 1),
        (0, 4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha=side,
        weight="bold",
    )


def label_lines(axes: Axes, lines: Sequence[Line]) -> None:
    """Names at the right end of the lines, moved apart where they would touch."""
    named = []
    for line in lines:
        named.append(
            (line.accuracies[max(line.accuracies)], f"{line.name} labels", line.colour, "bold")
        )
        if line.untouched is not None:
            named.append((line.untouched, f"{line.name}, untouched", line.colour, "normal"))
    low, high = axes.get_ylim()
    low, high = min(low, high - 0.04), max(high, low + 0.04)
    axes.set_ylim(low, high)
    places = spread([place for place, *_ in named], 0.08 * (high - low))
    for place, (_, text, colour, weight) in zip(places, named, strict=True):
        axes.annotate(
            text,
            (1, place),
            (5, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=colour,
            weight=weight,
            size=11.5,
            annotation_clip=False,
        )


def spread(places: list[float], gap: float) -> list[float]:
    """Places at least `gap` apart, in the same order and centred where they were crowded."""
    order = sorted(range(len(places)), key=places.__getitem__)
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _reach(groups[-2], places, gap) > _reach(
            groups[-1], places, -gap
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = list(places)
    for group in groups:
        for step, index in enumerate(group):
            moved[index] = _centre(group, places) + (step - (len(group) - 1) / 2) * gap
    return moved


def _centre(group: list[int], places: list[float]) -> float:
    return sum(places[index] for index in group) / len(group)


def _reach(group: list[int], places: list[float], gap: float) -> float:
    """The upper edge of a group of labels, or for a negative gap the lower one."""
    return _centre(group, places) + len(group) * gap / 2
