"""LDA where no direction is looked at: one linear solve instead of a readout at every rank."""

from __future__ import annotations

import torch
from torch import Tensor

from tailcut.numerics.covariance import factor, shrunk, varying_within
from tailcut.numerics.statistics import Statistics


def discriminant(
    moments: Statistics, label_set: str = "given", *, shrinkage: float | None = None
) -> tuple[Tensor, Tensor]:
    """LDA in all directions as an ordinary Linear: weight (K x D) and bias (K,), float64.

    `Readout.lda(...).fold` at full rank, but by one Cholesky factor: no direction is looked at.

    Raises:
        DataError: See `Readout.lda`.
    """
    counts_K = moments.require_classes(label_set)
    means_KD = moments.means_KD(label_set) - moments.mean_D
    within_DD = varying_within(moments, label_set) / moments.n
    factor_DD = factor(shrunk(within_DD, moments.n, shrinkage))
    weight_KD = torch.cholesky_solve(means_KD.T, factor_DD).T
    bias_K = (counts_K / moments.n).log() - 0.5 * (weight_KD * means_KD).sum(1)
    return weight_KD, bias_K - weight_KD @ moments.mean_D
