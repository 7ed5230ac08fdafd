"""Figures of the study's results: where the gain comes from, and when which cut helps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from telling import STEPS, easy

from tailcut.lab.claims.figures import as_svg

_STEP = "step: "
_NOTHING = 1.0
"""Points of gain that are none."""
_CUTS = {"step: paper's cut": "cut of the features", "step: layers filtered": "cut of the layers"}
_MARKERS = {"step: paper's cut": ("#1b6ca8", "o"), "step: layers filtered": ("#c0392b", "s")}


def figures(results: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Names and SVG texts: a waterfall for each role, gains by geometry, and a phase diagram."""
    for role, part in results.groupby("role"):
        shown = part[~part["setting"].isin(easy(results))]
        if len(shown):
            yield f"waterfall-{role}", waterfall(shown)
    noisy = results[results["wrong labels"] > 0]
    for name in ("effective rank", "NC1 of given labels", "still remembered"):
        yield f"phase-{name.replace(' ', '-')}", phase(noisy, name)
    yield "phase-diagram", diagram(noisy)


def waterfall(results: pd.DataFrame) -> str:
    """Gain over the untouched network with one step more each, a line for each setting."""
    means = results.groupby("setting").mean(numeric_only=True)
    steps = [f"{_STEP}{name}" for name in STEPS]

    def draw(axes: Any) -> None:
        for setting, row in means.iterrows():
            gains = [row[name] - row["last epoch"] for name in steps]
            axes.plot(range(len(steps)), gains, marker=".", label=setting)
        axes.axhline(0, color="#999999", linewidth=0.8)
        names = [name.removeprefix(_STEP) for name in steps]
        axes.set_xticks(range(len(steps)), names, rotation=30, ha="right")
        axes.set_ylabel("gain, points")
        axes.legend(fontsize=6, frameon=False)

    return as_svg(draw)


def phase(results: pd.DataFrame, name: str) -> str:
    """Gain of each cut, one point for each network, against a property of its features."""

    def draw(axes: Any) -> None:
        for cut, label in _CUTS.items():
            colour, marker = _MARKERS[cut]
            gain = results[cut] - results["last epoch"]
            axes.plot(results[name], gain, marker, color=colour, label=label, markersize=4)
        axes.axhline(0, color="#999999", linewidth=0.8)
        axes.set(xlabel=name, ylabel="gain, points")
        if name != "still remembered":
            axes.set_xscale("log")
        axes.legend(frameon=False)

    return as_svg(draw)


def diagram(results: pd.DataFrame) -> str:
    """Which cut gains more, at the place of each network's features; its area is the gain."""

    def draw(axes: Any) -> None:
        gains = results[list(_CUTS)].sub(results["last epoch"], axis=0)
        for cut, label in _CUTS.items():
            best = (gains.idxmax(axis=1) == cut) & (gains[cut] > _NOTHING)
            _scatter(axes, results[best], 4 + 5 * gains[cut][best], _MARKERS[cut], label)
        neither = (gains <= _NOTHING).all(axis=1)
        _scatter(axes, results[neither], 8, ("#999999", "x"), f"neither, within {_NOTHING:g} point")
        axes.set(xlabel="effective rank", ylabel="NC1 of given labels", xscale="log", yscale="log")
        axes.legend(frameon=False, fontsize=7)

    return as_svg(draw)


def _scatter(
    axes: Any, points: pd.DataFrame, sizes: Any, look: tuple[str, str], label: str
) -> None:
    colour, marker = look
    x, y = points["effective rank"], points["NC1 of given labels"]
    axes.scatter(x, y, s=sizes, c=colour, marker=marker, label=label, alpha=0.7)
