"""Calibration: whether probabilities are as often right as they say."""

from __future__ import annotations

import torch
from torch import Tensor

from tailcut.numerics.checks import float64


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
