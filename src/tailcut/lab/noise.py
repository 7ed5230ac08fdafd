"""Label noise, in the exclusive convention: a wrong label is always another class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tailcut.errors import DataError


def symmetric(classes: int, rate: float) -> Tensor:
    """Transition matrix T (K x K): with probability `rate` one of the other K - 1 classes.

    T[z, y] = P(given y | true z) = 1 - rate on the diagonal, rate / (K - 1) elsewhere. The
    inclusive convention, which may draw the true class again, has rate (K - 1) / K of this.

    Raises:
        DataError: Fewer than two classes, or a rate outside 0..1.
    """
    if classes < 2 or not 0 <= rate <= 1:
        raise DataError(
            f"symmetric noise of rate {rate} among {classes} classes",
            wanted="a rate from 0 to 1 and at least 2 classes",
            advice="Rates are fractions of wrong labels: 0.4, not 40",
        )
    transition_KK = torch.full((classes, classes), rate / (classes - 1), dtype=torch.float64)
    return transition_KK.fill_diagonal_(1 - rate)


def corrupt(labels_N: Tensor, transition_KK: Tensor, seed: int) -> Tensor:
    """Draw each given label from the row of its true class, independently.

    Args:
        labels_N: True labels 0..K-1.
        transition_KK: Rows sum to 1.
        seed: Of a generator of its own; the same seed gives the same labels anywhere.

    Raises:
        DataError: Rows that are not probabilities.
    """
    rows_KK = transition_KK.double()
    if (rows_KK < 0).any() or not torch.allclose(rows_KK.sum(1), rows_KK.new_ones(len(rows_KK))):
        raise DataError(
            "a transition matrix whose rows are not probabilities",
            wanted="entries of at least 0 and rows that sum to 1",
            advice="Divide each row by its sum",
        )
    draws_N = torch.from_numpy(np.random.default_rng(seed).random(len(labels_N)))
    cumulative_NK = rows_KK.cumsum(1)[labels_N]
    drawn_N = torch.searchsorted(cumulative_NK, draws_N[:, None], right=True).squeeze(1)
    return drawn_N.clamp(max=len(rows_KK) - 1)
