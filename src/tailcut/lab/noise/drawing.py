"""Labels drawn from probabilities, the same on every machine."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.checks import checked_labels


def corrupt(labels_N: Tensor, transition_KK: Tensor, seed: int) -> Tensor:
    """Draw each given label from the row of its true class, independently.

    Args:
        labels_N: True labels 0..K-1.
        transition_KK: Rows sum to 1.
        seed: Of a generator of its own; the same seed gives the same labels anywhere.

    Raises:
        DataError: Rows that are not probabilities, a matrix that is not square, or labels
            that have no row.
    """
    rows_KK = checked_rows(transition_KK.double())
    return drawn(rows_KK[checked_labels(labels_N, len(rows_KK), "label noise")], seed)


def drawn(rows_NK: Tensor, seed: int) -> Tensor:
    """One label (N,) from each row of probabilities; the same seed gives the same anywhere."""
    draws_N = torch.from_numpy(np.random.default_rng(seed).random(len(rows_NK)))
    drawn_N = torch.searchsorted(rows_NK.cumsum(1), draws_N[:, None], right=True).squeeze(1)
    return drawn_N.clamp(max=rows_NK.shape[1] - 1)


def checked_rows(rows_KK: Tensor) -> Tensor:
    """The same matrix (K x K).

    Raises:
        DataError: It is not square, or its rows are not probabilities.
    """
    if rows_KK.ndim != 2 or rows_KK.shape[0] != rows_KK.shape[1]:
        raise DataError(
            f"a transition matrix of shape {tuple(rows_KK.shape)}",
            wanted="a row and a column for each class",
            advice="Take rows for the true classes, columns for the given ones",
        )
    if not (rows_KK >= 0).all() or not torch.allclose(rows_KK.sum(1), rows_KK.new_ones(1)):
        raise DataError(
            "a transition matrix whose rows are not probabilities",
            wanted="entries of at least 0 and rows that sum to 1",
            advice="Divide each row by its sum",
        )
    return rows_KK


def share_of(rate: float, n: int) -> int:
    """The whole number next to `rate` of n."""
    return math.floor(rate * n + 0.5)


def some(n: int, count: int, random: np.random.Generator) -> Tensor:
    """`count` different numbers of 0..n-1, in random order."""
    return torch.from_numpy(random.permutation(n)[:count])
