"""Calibration: whether probabilities are as often right as they say."""

from __future__ import annotations

import torch
from torch import Tensor

from tailcut.numerics.checks import float64

_LEAST = 1e-12
"""Of a probability: what is sure has finite log-odds."""

_WIDEST = 100.0
"""Of the shift of log-odds: all probabilities come to 0 or 1."""


def calibration_error(probabilities_NK: Tensor, labels_N: Tensor, *, bins: int = 15) -> float:
    """Expected calibration error, 0..1: sum_b n_b/n |accuracy_b - confidence_b|.

    Over bins of equal width in the probability of the predicted class (Guo et al. 2017).

    Args:
        probabilities_NK: Rows sum to 1.
        labels_N: True classes.
        bins: B.
    """
    confidence_N, predicted_N = float64(probabilities_NK).max(1)
    excess_N = (predicted_N == labels_N.to(predicted_N.device)).double() - confidence_N
    bin_N = (confidence_N * bins).ceil().long().clamp(1, bins) - 1
    sums_B = torch.zeros(bins, dtype=torch.float64).index_add_(0, bin_N.cpu(), excess_N.cpu())
    return float(sums_B.abs().sum()) / len(labels_N)


def with_mean(probability_N: Tensor, mean: float) -> Tensor:
    """Probabilities in the same order, their log-odds moved by as much as gives them this mean.

    sigmoid(logit p_n + b): the prior corrected, the evidence kept (Saerens et al. 2002, for two
    classes).

    Args:
        probability_N: 0..1.
        mean: 0..1; 0 and 1 give zeros and ones.
    """
    from scipy.optimize import root_scalar

    probability_N = float64(probability_N)
    if not 0 < mean < 1 or not len(probability_N):
        return torch.full_like(probability_N, float(mean >= 1))
    odds_N = torch.logit(probability_N, eps=_LEAST)

    def excess(shift: float) -> float:
        return float(torch.sigmoid(odds_N + shift).mean()) - mean

    return torch.sigmoid(odds_N + root_scalar(excess, bracket=(-_WIDEST, _WIDEST)).root)
