"""The files of a run, written from its summary and read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from tailcut.errors import StoreError
from tailcut.network import store
from tailcut.network.head import Head
from tailcut.numerics.curve import RankCurve
from tailcut.numerics.spectrum import Spectrum
from tailcut.report.page import page


def write(directory: str | Path, summary: Mapping[str, Any]) -> None:
    """`candidates.csv`, `curve.csv`, `report.html` and, last, `result.json`."""
    directory = Path(directory)
    store.write_text(directory / "candidates.csv", candidates_table(summary).to_csv(index=False))
    curve = summary["curve"]
    if curve is not None:
        table = pd.DataFrame({"rank": curve["ranks"]})
        for name in ("given", "clean"):
            if curve[name] is not None:
                table[name] = curve[name]
        store.write_text(directory / "curve.csv", table.to_csv(index=False))
    store.write_text(directory / "report.html", page(summary))
    store.write_json(directory / "result.json", summary)


def candidates_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """One row for each candidate; an untouched network has an infinite strength."""
    table = pd.DataFrame(summary["candidates"])
    table["strength"] = table["strength"].astype(float).fillna(float("inf"))
    table["rank"] = table["rank"].astype("Int64")
    return table


def rank_curve_of(summary: Mapping[str, Any]) -> RankCurve | None:
    """The curve of a summary as counts again."""
    curve = summary["curve"]
    if curve is None:
        return None
    hits = {
        name: (torch.tensor(curve[name], dtype=torch.float64) * n).round().long()
        for name, n in curve["n"].items()
    }
    return RankCurve(curve["readout"], curve["ranks"], curve["n"], hits)


def save_spectrum(path: str | Path, spectrum: Spectrum, head: Head) -> None:
    """A spectrum and the head whose input it describes, as safetensors."""
    tensors = {
        "eigenvalues": spectrum.eigenvalues_D,
        "basis": spectrum.basis_DD,
        "mean": spectrum.mean_D,
    }
    told = {"n": spectrum.n, "head": head.name, "classes": head.classes, "bias": int(head.bias)}
    store.save_tensors(path, tensors, {key: str(value) for key, value in told.items()})


def load_spectrum(path: str | Path) -> tuple[Spectrum, Head]:
    """What `save_spectrum` wrote.

    Raises:
        StoreError: No such file, or not written by tailcut.
    """
    tensors, told = store.load_tensors(path), store.metadata_of(path)
    try:
        spectrum = Spectrum(
            tensors["eigenvalues"], tensors["basis"], tensors["mean"], int(told["n"])
        )
        head = Head(told["head"], spectrum.width, int(told["classes"]), told["bias"] == "1")
    except KeyError as cause:
        raise StoreError(
            f"{path} lacks {cause}",
            wanted="a spectrum written by tailcut",
            advice="Run the repair again that wrote it",
        ) from None
    return spectrum, head
