"""Folds: every sample is evaluated by readouts that were fitted to the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.numerics.discriminant import discriminant
from tailcut.numerics.latent import Latent
from tailcut.numerics.moments import Moments
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics

FOLDS = 5

_VANISHED = 1e-6
"""Samples of a class, in all, below which there is nothing to take its mean of."""


class FoldMoments:
    """Moments of the folds of a stream of samples, each seen under V views.

    A linear readout says of the mean of a sample's views what it says of the views on
    average. So beside the moments of each fold, the mean features of each sample are all that
    it takes to ask readouts of the other folds about it, and to fit them anew to other labels.
    Memory: folds x D^2 in float64 and N x D in float32. What is read or derived is frozen:
    later updates do not change it.

    Args:
        width: D.
        classes: K.
        folds: At least 2.
    """

    def __init__(self, width: int, classes: int, folds: int = FOLDS) -> None:
        self.width, self.classes, self.views = width, classes, 0
        self.folds = [Moments(width, classes) for _ in range(folds)]
        self._means: list[Tensor] = []
        self._given: list[Tensor] = []
        self._numbers: list[Tensor] = []

    def update(self, features_VND: Tensor, given_N: Tensor, numbers_N: Tensor) -> FoldMoments:
        """Add a batch and return self.

        Args:
            features_VND: Of the same samples under each of the V views.
            given_N: Their given labels.
            numbers_N: A number for each sample, which decides its fold.

        Raises:
            DataError: See `Moments.update`.
        """
        self.views = len(features_VND)
        features_VND = features_VND.detach()
        given_N, numbers_N = (each.to("cpu", copy=True) for each in (given_N, numbers_N))
        fold_N = fold_of(numbers_N, len(self.folds))
        for number, fold in enumerate(self.folds):
            rows_n = torch.nonzero(fold_N == number).flatten()
            part_nD = features_VND[:, rows_n.to(features_VND.device)].flatten(0, 1)
            fold.update(part_nD, given=given_N[rows_n].repeat(self.views))
        single = torch.promote_types(features_VND.dtype, torch.float32)
        self._means.append(features_VND.mean(0, dtype=single).cpu())
        self._given.append(given_N)
        self._numbers.append(numbers_N)
        return self

    @property
    def given_N(self) -> Tensor:
        """Given labels, in the order of the stream."""
        return torch.cat(self._given)

    @property
    def numbers_N(self) -> Tensor:
        """Numbers of the samples, in the order of the stream."""
        return torch.cat(self._numbers)

    @property
    def means_ND(self) -> Tensor:
        """Features of each sample, averaged over its views, in the order of the stream."""
        return torch.cat(self._means)

    def whole(self) -> Statistics:
        """Moments of all views of all samples."""
        return Moments.merged(self.folds).frozen()

    def relabelled(self, whole: Statistics, soft_NK: Tensor) -> Statistics:
        """The whole with one more label set, "latent"; both share their scatter.

        Args:
            whole: Moments of all views of all samples.
            soft_NK: Probabilities of the classes of each sample.
        """
        sums_KD = torch.zeros(self.classes, self.width, dtype=torch.float64)
        parts = soft_NK.split([len(means) for means in self._means])
        for soft_nK, means_nD in zip(parts, self._means, strict=True):
            sums_KD += soft_nK.T @ means_nD.double()
        return whole.labelled("latent", self.views * soft_NK.sum(0), self.views * sums_KD)

    def along(self, spectrum: Spectrum, rank: int) -> Folds:
        """All that inference needs, in the leading directions alone.

        Args:
            spectrum: Of the features; it owes nothing to labels.
            rank: R, how many directions.

        Raises:
            DataError: Constant features.
        """
        basis_DR, origin_D = spectrum.directions()[:, :rank], spectrum.mean_D
        basis, origin = basis_DR.cpu(), origin_D.cpu()
        means_NR = torch.cat([(means.double() - origin) @ basis for means in self._means])
        parts = [fold.along(basis_DR, origin_D) for fold in self.folds]
        merged = [Moments.merged(parts[:n] + parts[n + 1 :]) for n in range(len(parts))]
        others = tuple(each.frozen() for each in merged)
        fold_N = fold_of(self.numbers_N, len(self.folds))
        return Folds(means_NR, self.given_N, fold_N, others, self.views)


@dataclass(frozen=True, eq=False)
class Folds:
    """Samples that are evaluated by what is fitted to the other folds: LDA in R directions.

    Memory: N x R and folds x R^2; each `Latent` holds an N x K.

    Attributes:
        means_NR: Features of each sample, averaged over its views.
        given_N: Given labels.
        fold_N: The fold of each.
        others: For each fold, the moments of all views of all samples outside.
        views: V, of each sample.
    """

    means_NR: Tensor
    given_N: Tensor
    fold_N: Tensor
    others: tuple[Statistics, ...]
    views: int

    @property
    def classes(self) -> int:
        """K."""
        return self.others[0].classes

    def out_of_fold(self, soft_NK: Tensor) -> Tensor:
        """Logits (N x K, float64) of each sample by LDA fitted on the other folds.

        Args:
            soft_NK: Probabilities of the classes, to fit to.

        Raises:
            DataError: A class without a sample outside some fold.
        """
        rows = [torch.nonzero(self.fold_N == fold).flatten() for fold in range(len(self.others))]
        sums = [(soft_NK[r].sum(0), soft_NK[r].T @ self.means_NR[r]) for r in rows]
        logits_NK = torch.empty(soft_NK.shape, dtype=torch.float64)
        for fold, rows_n in enumerate(rows):
            if not len(rows_n):
                continue
            outside = zip(*(each for n, each in enumerate(sums) if n != fold), strict=True)
            counts_K, sums_KR = (self.views * torch.stack(each).sum(0) for each in outside)
            others = self.others[fold].labelled("latent", counts_K, sums_KR)
            weight_KR, bias_K = discriminant(others, "latent")
            logits_NK[rows_n] = self.means_NR[rows_n] @ weight_KR.cpu().T + bias_K.cpu()
        return logits_NK

    def latents(self, rounds: int, evidence: float = 1.0) -> Iterator[Latent]:
        """Expectation maximisation over the true labels: the state after each round.

        A round fits the readout of each fold to the posteriors of the others (in the first
        round to the given labels), and takes the posteriors anew from what it says. Where a class
        has no samples left that speak for it, nothing more can be inferred: the state stays.

        Args:
            rounds: At least 1.
            evidence: See `Latent.labels`.

        Raises:
            DataError: A class without a given label outside some fold.
        """
        soft_NK = torch.nn.functional.one_hot(self.given_N, self.classes).double()
        state = Latent.of(self.out_of_fold(soft_NK), self.given_N)
        for turn in range(rounds):
            if turn and self.every_class_in(soft_NK):
                state = Latent.of(self.out_of_fold(soft_NK), self.given_N)
            yield state
            soft_NK = state.labels(evidence)

    def every_class_in(self, soft_NK: Tensor) -> bool:
        """Whether each class has samples, or fractions of them, outside every fold."""
        sums = [soft_NK[self.fold_N == fold].sum(0) for fold in range(len(self.others))]
        outside = [sum(sums) - mine for mine in sums]
        return bool((torch.stack(outside) > _VANISHED).all())

    def self_trained(self, soft_NK: Tensor, rounds: int) -> Latent:
        """The state after rounds in which no given label has a part any more.

        Self-training on soft pseudo-labels, out of fold: each round fits the readout of each
        fold to what the last round said of the other folds. A sample's own label has no part
        in its pseudo-label, so what its features remember of it dies out.

        Args:
            soft_NK: Probabilities of the classes, to start from.
            rounds: At least 1.

        Raises:
            DataError: A class without a sample outside some fold.
        """
        logits_NK = self.out_of_fold(soft_NK)
        for _ in range(rounds - 1):
            soft_NK = torch.softmax(logits_NK, 1)
            if not self.every_class_in(soft_NK):
                break
            logits_NK = self.out_of_fold(soft_NK)
        return Latent.of(logits_NK, self.given_N, temperature=1.0)


def fold_of(numbers_N: Tensor, folds: int) -> Tensor:
    """A fixed fold for each number (Fibonacci hashing), so that folds survive shuffling."""
    return ((numbers_N.cpu().long() * -7046029254386353131) >> 33) % folds
