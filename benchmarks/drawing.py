"""Figures of the study's results: where the gain comes from, and when which cut helps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from telling import easy

from tailcut.lab.pictures import as_svg

_STEP = "step: "
_CUTS = {"step: paper's cut": "cut of the features", "step: layers filtered": "cut of the layers"}
_MARKERS = {"step: paper's cut": ("#1b6ca8", "o"), "step: layers filtered": ("#c0392b", "s")}


def figures(results: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Names and SVG texts: a waterfall for each role, and three phase diagrams."""
    for role, part in results.groupby("role"):
        shown = part[~part["setting"].isin(easy(results))]
        if len(shown):
            yield f"waterfall-{role}", waterfall(shown)
    for name in ("effective rank", "NC1 of given labels", "memorised"):
        yield f"phase-{name.replace(' ', '-')}", phase(results, name)


def waterfall(results: pd.DataFrame) -> str:
    """Gain over the untouched network with one step more each, a line for each setting."""
    means = results.groupby("setting").mean(numeric_only=True)
    steps = [name for name in means if name.startswith(_STEP)]

    def draw(axes: Any) -> None:
        for setting, row in means.iterrows():
            gains = [row[name] - row["last epoch"] for name in steps]
            axes.plot(range(len(steps)), gains, marker=".", label=setting)
        axes.axhline(0, color="#999999", linewidth=0.8)
        names = [name.removeprefix(_STEP) for name in steps]
        axes.set_xticks(range(len(steps)), names, rotation=30, ha="right")
        axes.set_ylabel("gain over the untouched network, points")
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
        if name != "memorised":
            axes.set_xscale("log")
        axes.legend(frameon=False)

    return as_svg(draw)
