"""A diagnosis as plain data, and back: the content of a run's `result.json`."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from tailcut.files.store import SCHEMA
from tailcut.network.filters import Filter
from tailcut.network.head import Head
from tailcut.network.layer_statistics import Coverage
from tailcut.numerics.choice import Gain
from tailcut.numerics.curve import RankCurve
from tailcut.numerics.latent import Noise
from tailcut.numerics.segregation import SegregationIndex
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.agreement import Agreement
from tailcut.verbs.candidates import Cut
from tailcut.verbs.screening import ViewEffect
from tailcut.verbs.targets import Targets

if TYPE_CHECKING:
    from tailcut.verbs.diagnosis import BeforeAfter, Diagnosis


def to_dict(diagnosis: Diagnosis, *, title: str = "tailcut") -> dict[str, Any]:
    """JSON types only; infinities and what was not measured are None.

    Args:
        diagnosis: What was found.
        title: Of the report.
    """
    chosen, spectrum = diagnosis.chosen, diagnosis.spectrum
    return {
        "schema": SCHEMA,
        "title": title,
        "verdict": diagnosis.verdict,
        "reason": diagnosis.reason,
        "readout": chosen.readout,
        "rank": chosen.rank,
        "width": spectrum.width,
        "rounds": chosen.targets.rounds,
        "self_training": chosen.targets.self_training,
        "strength": _finite(chosen.filter.strength),
        "denoising": chosen.filter.denoising,
        "fine_tuning": chosen.filter.fine_tuning,
        "layers": None if diagnosis.layers is None else asdict(diagnosis.layers),
        "memorisation": {
            "train": diagnosis.memorisation,
            "views": {each.name: each.memorisation for each in diagnosis.views},
        },
        "views": [_view(each) for each in diagnosis.views],
        "agreement": _agreement(diagnosis.agreement),
        "noise": _noise(diagnosis.noise),
        "holdout": _held_out(diagnosis),
        "clean": _before_after(diagnosis.clean),
        "curve": _curve(diagnosis.curve),
        "spectrum": _spectrum(spectrum, diagnosis),
        "candidates": _candidates(diagnosis),
        "seconds": {step: round(spent, 3) for step, spent in diagnosis.seconds.items()},
        "versions": diagnosis.versions,
    }


def from_dict(summary: Mapping[str, Any], spectrum: Spectrum, head: Head) -> Diagnosis:
    """What `to_dict` has, but for the moments.

    Args:
        summary: Its content.
        spectrum: Saved apart.
        head: Likewise.
    """
    from tailcut.verbs.diagnosis import Diagnosis

    targets = Targets(summary["rounds"], summary["self_training"], _chosen_views(summary))
    return Diagnosis(
        verdict=summary["verdict"],
        reason=summary["reason"],
        chosen=Cut(filter_of(summary), targets, summary["readout"], summary["rank"]),
        gain=_gain_from(summary["holdout"]),
        candidates=candidates_table(summary),
        curve=rank_curve_of(summary),
        head=head,
        spectrum=spectrum,
        references=summary["spectrum"]["references"],
        memorisation=summary["memorisation"]["train"],
        agreement=_agreement_from(summary["agreement"]),
        views=[ViewEffect(**each) for each in summary["views"]],
        layers=None if summary["layers"] is None else Coverage(**summary["layers"]),
        noise=_noise_from(summary["noise"]),
        segregation=_segregation_from(summary["spectrum"]["segregation"]),
        holdout=_before_after_from(summary["holdout"]),
        clean=_before_after_from(summary["clean"]),
        seconds=summary["seconds"],
        versions=summary["versions"],
    )


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    return {
        "tailcut": metadata.version("tailcut"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.system(),
    }


def candidates_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """One row for each candidate; an untouched network has an infinite strength."""
    table = pd.DataFrame(summary["candidates"])
    table["strength"] = table["strength"].astype(float).fillna(math.inf)
    for name in {"rank", "fine_tuning"} & set(table):
        table[name] = table[name].astype("Int64")
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


def filter_of(summary: Mapping[str, Any]) -> Filter:
    """Of the chosen cut, or of one candidate of a table."""
    strength = summary.get("strength")
    strength = math.inf if strength is None else strength
    return Filter(strength, summary.get("denoising") or 0.0, summary.get("fine_tuning"))


def _chosen_views(summary: Mapping[str, Any]) -> bool:
    return next((each["views"] for each in summary["candidates"] if each["chosen"]), True)


def _view(effect: ViewEffect) -> dict[str, Any]:
    names = ("name", "content", "memorisation", "kept")
    return {name: getattr(effect, name) for name in names}


def _noise(noise: Noise | None) -> dict[str, Any] | None:
    if noise is None:
        return None
    return {"rate": noise.rate, "transition": noise.transition_KK.tolist()}


def _noise_from(known: Mapping[str, Any] | None) -> Noise | None:
    if known is None:
        return None
    return Noise(known["rate"], torch.tensor(known["transition"], dtype=torch.float64))


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        "n": found.n,
        "train": found.share,
        "chance": found.chance,
        "features": found.readable,
        "renumbered": found.after if found.renumbered else None,
        "renumbering": {str(one): other for one, other in found.renumbered.items()},
    }


def _agreement_from(known: Mapping[str, Any]) -> Agreement:
    renumbered = {int(one): other for one, other in known["renumbering"].items()}
    after = known["train"] if known["renumbered"] is None else known["renumbered"]
    return Agreement(
        known["n"], known["train"], known["chance"], known["features"], renumbered, after
    )


def _before_after(found: BeforeAfter | None) -> dict[str, Any] | None:
    if found is None:
        return None
    known: dict[str, Any] = {"n": found.n, "before": found.before, "after": found.after}
    if found.calibration is not None:
        known["calibration_error"] = list(found.calibration)
    return known


def _before_after_from(known: Mapping[str, Any] | None) -> BeforeAfter | None:
    from tailcut.verbs.diagnosis import BeforeAfter

    if known is None:
        return None
    errors = known.get("calibration_error")
    calibration = None if errors is None else (errors[0], errors[1])
    return BeforeAfter(known["n"], known["before"], known["after"], calibration)


def _held_out(diagnosis: Diagnosis) -> dict[str, Any] | None:
    if diagnosis.holdout is None or diagnosis.gain is None:
        return None
    gain = diagnosis.gain
    mean, low, high = gain.possible
    return {
        **(_before_after(diagnosis.holdout) or {}),
        "gain": mean,
        "interval": [low, high],
        "gain_on_given": gain.given,
    }


def _gain_from(known: Mapping[str, Any] | None) -> Gain | None:
    if known is None:
        return None
    low, high = known["interval"]
    return Gain(known["gain"], low, high, known["n"], known["gain_on_given"], known["before"])


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
        "segregation": None if segregation is None else asdict(segregation),
    }


def _segregation_from(known: Mapping[str, Any] | None) -> SegregationIndex | None:
    return None if known is None else SegregationIndex(**known)


def _candidates(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    table = diagnosis.candidates.astype(object)
    rows = table.where(table.notna(), None).to_dict("records")
    return [{str(key): _finite(value) for key, value in row.items()} for row in rows]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
