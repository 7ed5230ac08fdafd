"""Noise of a transition matrix, which looks at the true label alone.

All kinds are in the exclusive convention: a wrong label is always another class.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.lab.noise.drawing import checked_rows, corrupt
from tailcut.lab.noise.kinds import KINDS, Noise, require
from tailcut.lab.samples import Samples


class Transition(Noise):
    """Given labels drawn from the row of each true class, independently of all else."""

    @abstractmethod
    def matrix(self, classes: int) -> Tensor:
        """T (K x K): T[z, y] = P(given y | true z)."""

    def corrupt(
        self, samples: Samples, seed: int, *, classes: int, outside: Samples | None = None
    ) -> Samples:
        """See `Noise.corrupt`."""
        return samples.annotated(corrupt(samples.true_N, self.matrix(classes), seed))

    def wrong_share(self, classes: int) -> float:
        """Mean of 1 - T[z, z]."""
        return float(1 - self.matrix(classes).diagonal().mean())


@KINDS.register("symmetric")
class Symmetric(Transition):
    """Every other class alike."""

    def matrix(self, classes: int) -> Tensor:
        """See `Transition.matrix`."""
        return symmetric(classes, self.rate)


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


@KINDS.register("pair")
class Pair(Transition):
    """The next class."""

    def matrix(self, classes: int) -> Tensor:
        """See `Transition.matrix`."""
        return pair(classes, self.rate)


def pair(classes: int, rate: float) -> Tensor:
    """With probability `rate` the next class, the first after the last (K x K).

    Han et al. (2018), there "pair flipping". A share of `rate` of all labels is wrong.

    Raises:
        DataError: Fewer than two classes, or a rate outside 0..1.
    """
    require("pair", classes, rate)
    stay_KK = torch.eye(classes, dtype=torch.float64)
    return (1 - rate) * stay_KK + rate * stay_KK.roll(1, 1)


@KINDS.register("asymmetric")
class Asymmetric(Transition):
    """What a CIFAR-10 class is mistaken for."""

    def matrix(self, classes: int) -> Tensor:
        """See `Transition.matrix`."""
        return asymmetric(classes, self.rate)


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


@KINDS.register("confusion")
class Confusion(Transition):
    """Two classes for each other."""

    def matrix(self, classes: int) -> Tensor:
        """See `Transition.matrix`."""
        return confusion(classes, self.rate)


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


@KINDS.register("matrix")
class FromFile(Transition):
    """The matrix in a file, which has a rate of its own."""

    bare = False
    file_form = "FILE.npy"

    def matrix(self, classes: int) -> Tensor:
        """See `Transition.matrix`."""
        assert self.file is not None
        return matrix(Path(self.file), classes)


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
    return checked_rows(torch.from_numpy(values.astype(np.float64)))
