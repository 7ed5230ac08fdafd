"""What the commands print for people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from tailcut.network.layer_statistics import Coverage
from tailcut.verbs.result import filter_of


def verdict(summary: dict[str, Any]) -> Table:
    """The verdict and the numbers behind it, two columns."""
    table = Table(show_header=False, title=summary["title"], title_justify="left")
    table.add_row("verdict", f"{summary['verdict']}: {summary['reason']}")
    kept = f"rank {summary['rank']} of {summary['width']}"
    known = summary.get("layers")
    reach = None if known is None else Coverage(**known)
    layers = filter_of(summary).describe("layers" if reach is None else str(reach))
    text = ", ".join(part for part in (summary["readout"], kept, layers) if part)
    table.add_row("network", text)
    if reach is not None and reach.skipped:
        table.add_row("layers not filtered", _few(reach.skipped))
    if summary.get("preprocessing") is not None:
        table.add_row("images", _images(summary["preprocessing"]))
    for name, labels in (("holdout", "held-out given labels"), ("clean", "true labels")):
        found = summary[name]
        if found is not None:
            change = f"{_percent(found['before'])} -> {_percent(found['after'])}"
            table.add_row(f"accuracy on {found['n']} {labels}", change)
    if summary["holdout"] is None and summary["verdict"] == "cut":
        table.add_row("gain of the cut", "not checked: there are no held-out labels")
    noise = summary["noise"]
    rate = "cannot be estimated" if noise is None else _percent(noise["rate"])
    table.add_row("estimated label noise", rate)
    if summary["memorisation"]["train"] is not None:
        table.add_row("memorisation of the labels", f"{summary['memorisation']['train']:.2f}")
    table.add_row("seconds", f"{sum(summary['seconds'].values()):.1f}")
    return table


def comparison(summaries: list[dict[str, Any]]) -> Table:
    """Accuracy on clean test labels of each method; mean and standard deviation of several."""
    rows = [{**each["baselines"], "tailcut": each["clean"]["after"]} for each in summaries]
    accuracies = 100 * pd.DataFrame(rows)
    table = Table(title=f"accuracy on {summaries[0]['clean']['n']} clean test labels, %")
    table.add_column("method")
    for column in ("mean", "sd") if len(rows) > 1 else ("accuracy",):
        table.add_column(column, justify="right")
    for name in accuracies:
        values = accuracies[name]
        cells = [f"{values.mean():.1f}"] + ([f"{values.std():.1f}"] if len(rows) > 1 else [])
        table.add_row(str(name), *cells, style="bold" if name == "tailcut" else None)
    return table


def _images(known: dict[str, Any]) -> str:
    """How they were prepared, and whether that fits what the network was trained on."""
    source = known["proposed_by"]
    changed = ", ".join(known["changed"])
    who = " and ".join(part for part in (source and f"as {source} proposes", changed) if part)
    confirmed = "confirmed" if known["confirmed"] else "not confirmed"
    said = f"{who}: {confirmed} by the predictions" if who else "as they are in the data"
    return f"{known['images']} ({said})"


def _few(skipped: dict[str, str], most: int = 8) -> str:
    """The first of many, a line each; result.json has all."""
    lines = [f"{name}: {why}" for name, why in skipped.items()]
    return "\n".join(lines[:most] + [f"and {len(lines) - most} more"] * (len(lines) > most))


def ranks(summaries: list[dict[str, Any]]) -> Table:
    """The paper's cut at every octave and at its peak, by given held-out labels and by true ones.

    Of several networks the mean, at the ranks that all of them have.
    """
    curves = [_by_rank(each["papers_curve"]) for each in summaries]
    common = [rank for rank in curves[0] if all(rank in each for each in curves)]
    mean = {rank: np.mean([each[rank] for each in curves], axis=0) for rank in common}
    peak = max(common, key=lambda rank: mean[rank][0])
    table = Table(title="the paper's cut by rank, %")
    for column in ("rank", "held-out given labels", "true test labels"):
        table.add_column(column, justify="right")
    octaves = {1 << power for power in range(1, 20)}
    for rank in common:
        if rank in octaves | {peak, common[-1]}:
            held, true = (f"{100 * accuracy:.1f}" for accuracy in mean[rank])
            table.add_row(str(rank), held, true, style="bold" if rank == peak else None)
    return table


def _by_rank(curve: dict[str, list[Any]]) -> dict[int, tuple[float, float]]:
    pairs = zip(curve["holdout"], curve["test"], strict=True)
    return dict(zip(curve["rank"], pairs, strict=True))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
