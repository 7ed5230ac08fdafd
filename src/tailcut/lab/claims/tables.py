"""A study's probes as tables."""

from __future__ import annotations

import pandas as pd

from tailcut.lab.claims.features import Probe
from tailcut.lab.claims.record import Record


def tables(record: Record) -> dict[str, pd.DataFrame]:
    """A study's probes as tables.

    Returns:
        `probes`: accuracy by epoch, what was fitted (given or true labels, or nothing: the own
        head; as controls permuted labels, and given ones in random directions), band of
        directions (first..last) and what is predicted; `scalars`: everything else by epoch.
    """
    rows, scalars = [], []
    for probe_ in record.probes:
        for fit in ("given", "true"):
            for group, found in probe_[fit].items():
                bands = _bands(probe_, group)
                rows += _rows(probe_["epoch"], f"{fit} labels", group, bands, found)
        own = {kind: values for kind, values in probe_["own"].items() if kind != "holdout"}
        controls = {
            "permuted labels": {"test": probe_["permuted"]},
            "given labels, random directions": {"test": probe_["random subspace"]},
        }
        for fit, found in {"own head": own, **controls}.items():
            rows += _rows(probe_["epoch"], fit, "leading", _bands(probe_, "leading"), found)
        plain = {k: v for k, v in probe_.items() if isinstance(v, (int, float))}
        scalars.append({**plain, **(probe_["segregation"] or {})})
    return {"probes": pd.DataFrame(rows), "scalars": pd.DataFrame(scalars)}


def _bands(probe_: Probe, group: str) -> list[tuple[int, int]]:
    """First and last direction of each band."""
    ranks, last = probe_["ranks"], probe_["rank"]
    if group == "octave":
        return [(start + 1, stop) for start, stop in probe_["bands"]]
    if group == "tail":
        return [(rank + 1, last) for rank in ranks[:-1]]
    return [(1, rank) for rank in ranks]


def _rows(
    epoch: int, fit: str, group: str, bands: list[tuple[int, int]], found: Probe
) -> list[Probe]:
    return [
        {
            "epoch": epoch,
            "fitted to": fit,
            "band": group,
            "first": first,
            "last": last,
            "labels": kind,
            "accuracy": accuracy,
        }
        for kind, accuracies in found.items()
        for (first, last), accuracy in zip(bands, accuracies, strict=True)
    ]
