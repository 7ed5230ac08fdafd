"""A diagnosis as plain data: the `result.json` of a run, from which its report is made."""

from __future__ import annotations

import math
import platform
from dataclasses import asdict
from importlib import metadata
from typing import Any

import torch

from tailcut.files.store import SCHEMA
from tailcut.numerics.curve import RankCurve
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.agreement import Agreement
from tailcut.verbs.diagnosis import Diagnosis, Judged


def summarise(diagnosis: Diagnosis, *, title: str = "tailcut") -> dict[str, Any]:
    """JSON types only; infinities and what was not measured are None.

    Args:
        diagnosis: What to tell.
        title: Of the report.
    """
    chosen, spectrum = diagnosis.chosen, diagnosis.spectrum
    return {
        "schema": SCHEMA,
        "title": title,
        "verdict": diagnosis.verdict,
        "reason": diagnosis.reason,
        "judged_by": diagnosis.judges,
        "readout": chosen.readout,
        "rank": spectrum.width if chosen.rank is None else chosen.rank,
        "width": spectrum.width,
        "rounds": chosen.material.rounds,
        "self_training": chosen.material.self_training,
        "strength": _finite(chosen.filter.strength),
        "denoising": chosen.filter.denoising,
        "layers": None if diagnosis.layers is None else asdict(diagnosis.layers),
        "memorisation": {
            "train": diagnosis.memorisation,
            "views": {each.view.name: each.memorisation for each in diagnosis.views},
        },
        "agreement": _agreement(diagnosis.agreement),
        "noise": None
        if diagnosis.noise is None
        else {
            "rate": diagnosis.noise.rate,
            "transition": diagnosis.noise.transition_KK.tolist(),
        },
        "holdout": _held_out(diagnosis),
        "clean": _judged(diagnosis.clean),
        "curve": _curve(diagnosis.curve),
        "spectrum": _spectrum(spectrum, diagnosis),
        "candidates": _candidates(diagnosis),
        "seconds": {step: round(spent, 3) for step, spent in diagnosis.seconds.items()},
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    return {
        "tailcut": metadata.version("tailcut"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.system(),
    }


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        "n": found.n,
        "train": found.share,
        "chance": found.chance,
        "features": found.readable,
        "renumbered": found.after if found.renumbered else None,
    }


def _judged(judged: Judged | None) -> dict[str, Any] | None:
    if judged is None:
        return None
    known: dict[str, Any] = {"n": judged.n, "before": judged.before, "after": judged.after}
    if judged.calibration is not None:
        known["calibration_error"] = list(judged.calibration)
    return known


def _held_out(diagnosis: Diagnosis) -> dict[str, Any] | None:
    if diagnosis.holdout is None or diagnosis.gain is None:
        return None
    mean, low, high = diagnosis.gain.possible
    return {**(_judged(diagnosis.holdout) or {}), "gain": mean, "interval": [low, high]}


def _curve(curve: RankCurve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    accuracies = {name: curve.accuracy(name).tolist() for name in curve.hits}
    return {
        "readout": curve.readout,
        "n": curve.n,
        "ranks": curve.ranks,
        "given": accuracies.get("given"),
        "clean": accuracies.get("clean"),
    }


def _spectrum(spectrum: Spectrum, diagnosis: Diagnosis) -> dict[str, Any]:
    segregation = diagnosis.segregation
    return {
        "shares": spectrum.shares_D.tolist(),
        "effective_rank": spectrum.effective_rank,
        "participation_ratio": spectrum.participation_ratio,
        "stable_rank": spectrum.stable_rank,
        "tail_exponent": _finite(spectrum.tail_exponent()),
        "references": diagnosis.references,
        "segregation": None
        if segregation is None
        else {"index": segregation.index, "p_value": segregation.p_value},
    }


def _candidates(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    table = diagnosis.candidates.astype(object)
    rows = table.where(table.notna(), None).to_dict("records")
    return [{str(key): _finite(value) for key, value in row.items()} for row in rows]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
