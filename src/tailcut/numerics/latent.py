"""Latent true labels: what readouts that never saw a sample, and the noise model, say of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.scores import Scores
from tailcut.numerics.spectrum import Spectrum

FOLDS = 5

_SAMPLES = 5_000
_START = 0.4
_TURNS = 10

Fit = Callable[[Moments, str, Spectrum], Readout]
"""A readout of a label set of moments, in the directions of a spectrum."""


@dataclass(frozen=True, eq=False)
class Noise:
    """Estimated label noise, in the exclusive convention: wrong labels are other classes.

    Attributes:
        rate: Share of wrong labels, 0..1.
        transition_KK: T[z, y] = P(given y | true z); rows sum to 1.
    """

    rate: float
    transition_KK: Tensor


@dataclass(frozen=True, eq=False)
class Reading:
    """How given labels are read, as one state of the latent labels has it.

    Attributes:
        noise: Estimated label noise.
        informed: Whether the features tell of the given labels at all.
        temperature: Of what the readouts say.
    """

    noise: Noise
    informed: bool
    temperature: float


@dataclass(frozen=True, eq=False)
class Latent:
    """True labels as latent classes behind given labels of class-conditional noise.

    Attributes:
        given_N: Given labels.
        probabilities_NK: p(z | x), calibrated, without the sample's own given label.
        posterior_NK: p(z | x, y), proportional to p(z | x) T[z, y].
        transition_KK: T[z, y] = P(given y | true z); rows sum to 1.
        temperature: What the logits were divided by.
    """

    given_N: Tensor
    probabilities_NK: Tensor
    posterior_NK: Tensor
    transition_KK: Tensor
    temperature: float

    @classmethod
    def of(cls, logits_NK: Tensor, given_N: Tensor, temperature: float | None = None) -> Latent:
        """Transition matrix and temperature, each of greatest likelihood given the other.

        For sum_i log sum_z softmax(logits_i / t)_z T[z, y_i], in turns: t on a grid, by 5 000
        samples, and T by expectation maximisation, T[z, y] = (C[z, y] + 1/K) / (sum_y C[z, y]
        + 1) with C the posterior counts, and no class given for another more often than for
        itself. The smoothing is that of Yao et al. (LCCN, 2023) with
        one pseudo-count for a class instead of one for each cell. It starts at 36 % noise and
        takes ten turns: nearer to the joint maximum, what features remember of wrong labels
        passes for truth (docs/LOG.md).

        Args:
            logits_NK: Out of fold: made without the sample's own given label.
            given_N: Given labels.
            temperature: Where it is known already.
        """
        classes, step = logits_NK.shape[1], max(1, len(given_N) // _SAMPLES)
        transition_KK = torch.full((classes, classes), _START / classes, dtype=torch.float64)
        transition_KK.diagonal().add_(1 - _START)
        heat = 1.0 if temperature is None else temperature
        for _ in range(_TURNS):
            if temperature is None:
                scores = Scores.of([logits_NK[::step, None]], given_N[::step], transition_KK)
                heat = float(scores.temperatures_C)
            probabilities_NK = torch.softmax(logits_NK / heat, 1)
            posterior_NK = _posterior(probabilities_NK, given_N, transition_KK)
            counts_KK = torch.full_like(transition_KK, 1 / classes)
            counts_KK.index_add_(1, given_N, posterior_NK.T)
            transition_KK = _right_most_often(counts_KK)
        probabilities_NK = torch.softmax(logits_NK / heat, 1)
        posterior_NK = _posterior(probabilities_NK, given_N, transition_KK)
        return cls(given_N, probabilities_NK, posterior_NK, transition_KK, heat)

    @property
    def rate(self) -> float:
        """Share of given labels that are wrong: 1 - mean p(z = y | x, y)."""
        return 1 - float(self.posterior_NK.gather(1, self.given_N[:, None]).mean())

    @property
    def informed(self) -> bool:
        """Whether the features tell of the given labels at all.

        The likeliest class is the given one more often than the commonest label is given, by
        three standard errors.
        """
        n = len(self.given_N)
        agreement = float((self.probabilities_NK.argmax(1) == self.given_N).double().mean())
        commonest = float(self.given_N.bincount().max()) / n
        return agreement - commonest > 3 * math.sqrt(agreement * (1 - agreement) / n)

    @property
    def reading(self) -> Reading:
        """All of it that needs no samples."""
        return Reading(Noise(self.rate, self.transition_KK), self.informed, self.temperature)


class FoldMoments:
    """Moments of the folds of a stream of samples, each seen under V views.

    A linear readout says of the mean of a sample's views what it says of the views on
    average. So beside the moments of each fold, the mean features of each sample are all that
    it takes to ask readouts of the other folds about it, and to fit them anew to other labels.
    Memory: folds x D^2 in float64 and N x D in float32; each `Latent` holds two N x K in
    float64.

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
        features_VND, given_N = features_VND.detach(), given_N.cpu()
        fold_N = fold_of(numbers_N, len(self.folds))
        for number, fold in enumerate(self.folds):
            rows_n = torch.nonzero(fold_N == number).flatten()
            part_nD = features_VND[:, rows_n.to(features_VND.device)].flatten(0, 1)
            fold.update(part_nD, given=given_N[rows_n].repeat(self.views))
        single = torch.promote_types(features_VND.dtype, torch.float32)
        self._means.append(features_VND.mean(0, dtype=single).cpu())
        self._given.append(given_N)
        self._numbers.append(numbers_N.cpu())
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
        """Features of each sample, averaged over its views."""
        return torch.cat(self._means)

    def whole(self, soft_NK: Tensor | None = None) -> Moments:
        """Moments of all views of all samples.

        Args:
            soft_NK: Probabilities of the classes of each sample: the label set "latent".
        """
        whole = Moments.merged(self.folds)
        return whole if soft_NK is None else relabelled(whole, [self], soft_NK)

    def out_of_fold(self, soft_NK: Tensor, fit: Fit, spectrum: Spectrum) -> Tensor:
        """Logits (N x K, float64) of each sample by a readout fitted on the other folds.

        Args:
            soft_NK: Probabilities of the classes, to fit to.
            fit: The readout; asked at its largest rank.
            spectrum: Directions of the features, which owe nothing to labels.

        Raises:
            DataError: A class without a sample outside some fold.
        """
        fold_N = fold_of(self.numbers_N, len(self.folds))
        means_ND, logits_NK = self.means_ND, torch.empty(soft_NK.shape, dtype=torch.float64)
        for number in range(len(self.folds)):
            inside_N = fold_N == number
            if not inside_N.any():
                continue
            others = Moments.merged([f for n, f in enumerate(self.folds) if n != number])
            others = others.labelled("latent", *self.sums(soft_NK, ~inside_N))
            readout = fit(others, "latent", spectrum)
            logits_NK[inside_N] = readout.logits(means_ND[inside_N], readout.max_rank).cpu()
        return logits_NK

    def latents(self, rounds: int, fit: Fit, spectrum: Spectrum) -> Iterator[Latent]:
        """Expectation maximisation over the true labels: the state after each round.

        A round fits the readout of each fold to the posteriors of the others (in the first
        round to the given labels), and takes the posteriors anew from what it says.

        Args:
            rounds: At least 1.
            fit: The readout.
            spectrum: Directions of the features.

        Raises:
            DataError: A class without a sample outside some fold.
        """
        soft_NK = torch.nn.functional.one_hot(self.given_N, self.classes).double()
        for _ in range(rounds):
            state = Latent.of(self.out_of_fold(soft_NK, fit, spectrum), self.given_N)
            yield state
            soft_NK = state.posterior_NK

    def self_trained(self, soft_NK: Tensor, rounds: int, fit: Fit, spectrum: Spectrum) -> Latent:
        """The state after rounds in which no given label has a part any more.

        Self-training on soft pseudo-labels, out of fold: each round fits the readout of each
        fold to what the last round said of the other folds. A sample's own label has no part
        in its pseudo-label, so what its features remember of it dies out.

        Args:
            soft_NK: Probabilities of the classes, to start from.
            rounds: At least 1.
            fit: The readout.
            spectrum: Directions of the features.

        Raises:
            DataError: A class without a sample outside some fold.
        """
        logits_NK = self.out_of_fold(soft_NK, fit, spectrum)
        for _ in range(rounds - 1):
            logits_NK = self.out_of_fold(torch.softmax(logits_NK, 1), fit, spectrum)
        return Latent.of(logits_NK, self.given_N, temperature=1.0)

    def sums(self, soft_NK: Tensor, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Soft class counts (K,) and class sums (K x D) over all views of some samples."""
        soft_nK, means_nD = soft_NK[rows], self.means_ND[rows].double()
        return self.views * soft_nK.sum(0), self.views * (soft_nK.T @ means_nD)


def relabelled(whole: Moments, parts: Sequence[FoldMoments], soft_NK: Tensor) -> Moments:
    """The moments of all of some views with the label set "latent"; they share their scatter.

    Args:
        whole: Moments of all parts.
        parts: Views of the same samples in the same order.
        soft_NK: Probabilities of the classes of each sample.
    """
    found = [part.sums(soft_NK, slice(None)) for part in parts]
    counts_PK, sums_PKD = (torch.stack(each) for each in zip(*found, strict=True))
    return whole.labelled("latent", counts_PK.sum(0), sums_PKD.sum(0))


def fold_of(numbers_N: Tensor, folds: int) -> Tensor:
    """A fixed fold for each number (Fibonacci hashing), so that folds survive shuffling."""
    return ((numbers_N.cpu().long() * -7046029254386353131) >> 33) % folds


def _right_most_often(counts_KK: Tensor) -> Tensor:
    """Rows as probabilities, of which none is above the diagonal: classes keep their names."""
    counts_KK = counts_KK.clone()
    diagonal_K = counts_KK.diagonal()
    diagonal_K.copy_(counts_KK.amax(1))
    return counts_KK / counts_KK.sum(1, keepdim=True)


def _posterior(probabilities_NK: Tensor, given_N: Tensor, transition_KK: Tensor) -> Tensor:
    joint_NK = probabilities_NK * transition_KK[:, given_N].T
    return joint_NK / joint_NK.sum(1, keepdim=True).clamp(min=torch.finfo().tiny)
