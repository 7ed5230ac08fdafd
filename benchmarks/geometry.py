"""What of a network's features may tell whether to cut them or the layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tailcut.lab.baselines.subject import Subject
from tailcut.numerics.moments import Moments
from tailcut.numerics.spectrum import Spectrum, nc1


def geometry(own: Subject, clean_N: Tensor, summary: dict[str, Any]) -> dict[str, Any]:
    """Of the features: what may tell whether to cut them or the layers."""
    features_ND, given_N = own.train_features
    known = clean_N >= 0
    moments = Moments(own.head.width, own.head.classes, ("clean", "given"))
    moments.update(features_ND[known], clean=clean_N[known], given=given_N[known])
    spectrum = Spectrum.of(moments)
    weight_KD, bias_K = own.parameters()
    predicted_N = (features_ND @ weight_KD.T + bias_K).argmax(1)
    wrong_N = given_N != clean_N
    repeated = (predicted_N == given_N)[wrong_N].double().mean()
    return {
        "width": spectrum.width,
        "effective_rank": spectrum.effective_rank,
        "participation_ratio": spectrum.participation_ratio,
        "nc1_given": nc1(moments, "given"),
        "nc1_true": nc1(moments, "clean"),
        "memorised": float(repeated) if wrong_N.any() else None,
        "memorisation": summary["memorisation"],
        "references": summary["spectrum"]["references"],
    }
