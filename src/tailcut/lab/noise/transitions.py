"""Label noise, in the exclusive convention: a wrong label is always another class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tailcut.errors import DataError, SpecError
from tailcut.numerics.checks import checked_labels


def symmetric(classes: int, rate: float) -> Tensor:
    """Transition matrix T (K x K): with probability `rate` one of the other K - 1 classes.

    T[z, y] = P(given y | true z) = 1 - rate on the diagonal, rate / (K - 1) elsewhere. The
    inclusive convention, which may draw the true class again, has rate (K - 1) / K of this.

    Raises:
        DataError: Fewer than two classes, or a rate outside 0..1.
    """
    require("symmetric", classes, rate)
    transition_KK = torch.full((classes, classes), rate / (classes - 1), dtype=torch.float64)
    return transition_KK.fill_diagonal_(1 - rate)


def pair(classes: int, rate: float) -> Tensor:
    """With probability `rate` the next class, the first after the last (K x K).

    Han et al. (2018), there "pair flipping". A share of `rate` of all labels is wrong.

    Raises:
        DataError: Fewer than two classes, or a rate outside 0..1.
    """
    require("pair", classes, rate)
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
    require("asymmetric", classes, rate)
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


_CONFUSED = (3, 5)


def confused_classes(classes: int) -> tuple[int, int]:
    """The two that `confusion` swaps: 3 and 5, cat and dog of CIFAR-10, or else 0 and 1."""
    return _CONFUSED if classes > max(_CONFUSED) else (0, 1)


def confusion(classes: int, rate: float) -> Tensor:
    """With probability `rate` the labels of two classes are swapped, no others (K x K).

    Interclass confusion (Goel et al., TMLR 2024, who swap cats and dogs of CIFAR-10), between
    `confused_classes`. With equal classes 2 / K of `rate` of all labels are wrong. At a
    rate of a half the labels of the two are coin flips: no method that sees nothing else can
    tell which is which.

    Raises:
        DataError: Fewer than two classes, or a rate outside 0..1.
    """
    require("confusion", classes, rate)
    transition_KK = torch.eye(classes, dtype=torch.float64)
    one, other = confused_classes(classes)
    for true, mistaken in ((one, other), (other, one)):
        transition_KK[true, true], transition_KK[true, mistaken] = 1 - rate, rate
    return transition_KK


TRANSITIONS: dict[str, Callable[[int, float], Tensor]] = {
    "symmetric": symmetric,
    "pair": pair,
    "asymmetric": asymmetric,
    "confusion": confusion,
}
"""Transition matrices of (classes, rate) by name."""


WORDS = (*TRANSITIONS, "instance", "aligned", "openset", "human", "human:FILE", "matrix:FILE.npy")
"""Every kind of noise as a command line names it; FILE of human labels may go on with :KEY."""


def checked_kind(kind: str) -> str:
    """The first word of a kind of noise: "human" of "human:FILE".

    Raises:
        SpecError: A kind that is none of `WORDS`.
    """
    name, colon, file = kind.partition(":")
    if kind in WORDS[:-2] or (colon and file and name in {"human", "matrix"}):
        return name
    raise SpecError(
        f"no label noise {kind!r}",
        wanted=f"one of {', '.join(WORDS)}",
        advice="Correct the name",
    )


def transition(kind: str, classes: int, rate: float) -> Tensor:
    """A transition matrix (K x K) by the name of its kind, or of its file (which has its own rate).

    Raises:
        SpecError: A kind that has no transition matrix.
        DataError: See the kinds and `matrix`.
    """
    name, _, file = kind.partition(":")
    if name == "matrix" and file:
        return matrix(Path(file), classes)
    if kind not in TRANSITIONS:
        raise SpecError(
            f"no transition matrix called {kind!r}",
            wanted=f"one of {', '.join(TRANSITIONS)}, matrix:FILE.npy",
            advice="Correct the name",
        )
    return TRANSITIONS[kind](classes, rate)


def matrix(path: Path, classes: int) -> Tensor:
    """A transition matrix (K x K) from a `.npy` file: T[z, y] = P(given y | true z).

    The rate of wrong labels is the mean of 1 - T[z, z] over the true labels.

    Raises:
        DataError: No such file, another shape, or rows that are not probabilities.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as cause:
        raise DataError(
            f"no transition matrix in {path} ({cause})",
            wanted="a .npy file of K x K numbers, a row for each true class",
            advice="Write it with numpy.save, and check the path",
        ) from None
    if values.shape != (classes, classes) or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path.name} has {values.dtype} values of shape {values.shape}",
            wanted=f"real numbers of shape {(classes, classes)}, a row for each true class",
            advice="Take the matrix of these classes",
        )
    return _checked_rows(torch.from_numpy(values.astype(np.float64)))


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
    rows_KK = _checked_rows(transition_KK.double())
    return drawn(rows_KK[checked_labels(labels_N, len(rows_KK), "label noise")], seed)


def drawn(rows_NK: Tensor, seed: int) -> Tensor:
    """One label (N,) from each row of probabilities; the same seed gives the same anywhere."""
    draws_N = torch.from_numpy(np.random.default_rng(seed).random(len(rows_NK)))
    drawn_N = torch.searchsorted(rows_NK.cumsum(1), draws_N[:, None], right=True).squeeze(1)
    return drawn_N.clamp(max=rows_NK.shape[1] - 1)


def _checked_rows(rows_KK: Tensor) -> Tensor:
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


def require(kind: str, classes: int, rate: float) -> None:
    """That noise of this rate is possible.

    Raises:
        DataError: Fewer than two classes, or a rate outside 0..1.
    """
    if classes < 2 or not 0 <= rate <= 1:
        raise DataError(
            f"{kind} noise of rate {rate} among {classes} classes",
            wanted="a rate from 0 to 1 and at least 2 classes",
            advice="Rates are fractions of wrong labels: 0.4, not 40",
        )
