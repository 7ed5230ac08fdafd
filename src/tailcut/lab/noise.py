"""Label noise, in the exclusive convention: a wrong label is always another class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tailcut.errors import DataError, SpecError


def symmetric(classes: int, rate: float) -> Tensor:
    """Transition matrix T (K x K): with probability `rate` one of the other K - 1 classes.

    T[z, y] = P(given y | true z) = 1 - rate on the diagonal, rate / (K - 1) elsewhere. The
    inclusive convention, which may draw the true class again, has rate (K - 1) / K of this.

    Raises:
        DataError: Fewer than two classes, or a rate outside 0..1.
    """
    _require("symmetric", classes, rate)
    transition_KK = torch.full((classes, classes), rate / (classes - 1), dtype=torch.float64)
    return transition_KK.fill_diagonal_(1 - rate)


def pair(classes: int, rate: float) -> Tensor:
    """With probability `rate` the next class, the first after the last (K x K).

    Han et al. (2018), there "pair flipping". A share of `rate` of all labels is wrong.

    Raises:
        DataError: Fewer than two classes, or a rate outside 0..1.
    """
    _require("pair", classes, rate)
    stay_KK = torch.eye(classes, dtype=torch.float64)
    return (1 - rate) * stay_KK + rate * stay_KK.roll(1, 1)


def asymmetric(classes: int, rate: float) -> Tensor:
    """With probability `rate` the class that a CIFAR-10 class is mistaken for (10 x 10).

    Truck for automobile, bird for airplane, deer for horse, cat and dog for each other
    (Patrini et al. 2017); the other five classes keep their labels, so with equal classes
    half of `rate` of all labels is wrong.

    Raises:
        DataError: Not ten classes, or a rate outside 0..1.
    """
    _require("asymmetric", classes, rate)
    if classes != 10:
        raise DataError(
            f"asymmetric noise among {classes} classes",
            wanted="the ten classes of CIFAR-10",
            advice="Choose pair noise, or draw from a transition matrix of your own",
        )
    transition_KK = torch.eye(10, dtype=torch.float64)
    for true, mistaken in ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)):
        transition_KK[true, true], transition_KK[true, mistaken] = 1 - rate, rate
    return transition_KK


TRANSITIONS: dict[str, Callable[[int, float], Tensor]] = {
    "symmetric": symmetric,
    "pair": pair,
    "asymmetric": asymmetric,
}
"""Transition matrices of (classes, rate) by name."""


def transition(kind: str, classes: int, rate: float) -> Tensor:
    """A transition matrix (K x K) by the name of its kind.

    Raises:
        SpecError: A kind that is none of these.
        DataError: See the kinds.
    """
    if kind not in TRANSITIONS:
        raise SpecError(
            f"no label noise {kind!r}",
            wanted=f"one of {', '.join(TRANSITIONS)}",
            advice="Correct the name",
        )
    return TRANSITIONS[kind](classes, rate)


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


def _require(kind: str, classes: int, rate: float) -> None:
    if classes < 2 or not 0 <= rate <= 1:
        raise DataError(
            f"{kind} noise of rate {rate} among {classes} classes",
            wanted="a rate from 0 to 1 and at least 2 classes",
            advice="Rates are fractions of wrong labels: 0.4, not 40",
        )
