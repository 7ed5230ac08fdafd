"""Latent true labels: what readouts that never saw a sample, and the noise model, say of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.numerics.scores import Scores

_SAMPLES = 5_000
_CELLS = 2**20
_START = 0.4
_TURNS = 10


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
class Estimate:
    """What one state of the latent labels says of the noise.

    Attributes:
        noise: Estimated label noise.
        above_chance: Whether the features predict the given labels above chance.
        temperature: Of what the readouts say.
        mean_confidence: The largest probability of a sample, on average.
    """

    noise: Noise
    above_chance: bool
    temperature: float
    mean_confidence: float


@dataclass(frozen=True, eq=False)
class Latent:
    """True labels as latent classes behind given labels of class-conditional noise.

    Attributes:
        given_N: Given labels.
        probabilities_NK: p(z | x), calibrated, without the sample's own given label.
        transition_KK: T[z, y] = P(given y | true z); rows sum to 1.
        temperature: What the logits were divided by.
    """

    given_N: Tensor
    probabilities_NK: Tensor
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
            counts_KK = torch.full_like(transition_KK, 1 / classes)
            for rows in _chunks(logits_NK):
                probabilities_nK = torch.softmax(logits_NK[rows] / heat, 1)
                posterior_nK = _posterior(probabilities_nK, given_N[rows], transition_KK)
                counts_KK.index_add_(1, given_N[rows], posterior_nK.T)
            transition_KK = _right_most_often(counts_KK)
        probabilities_NK = torch.empty_like(logits_NK)
        for rows in _chunks(logits_NK):
            probabilities_NK[rows] = torch.softmax(logits_NK[rows] / heat, 1)
        return cls(given_N, probabilities_NK, transition_KK, heat)

    def labels(self, evidence: float = 1.0) -> Tensor:
        """Labels to fit to (N x K), proportional to p(z | x) T[z, y]^evidence.

        Features that remember the given label show it already, in p(z | x).

        Args:
            evidence: 1 counts the given label in full, which is the posterior; 0 not again.
        """
        labels_NK, chances_KK = (
            torch.empty_like(self.probabilities_NK),
            self.transition_KK**evidence,
        )
        for rows in _chunks(labels_NK):
            labels_NK[rows] = _posterior(
                self.probabilities_NK[rows], self.given_N[rows], chances_KK
            )
        return labels_NK

    @property
    def posterior_NK(self) -> Tensor:
        """p(z | x, y), proportional to p(z | x) T[z, y]; made anew each time, to be held by few."""
        return self.labels()

    @property
    def rate(self) -> float:
        """Share of given labels that are wrong: 1 - mean p(z = y | x, y)."""
        return 1 - float(self.posterior_NK.gather(1, self.given_N[:, None]).mean())

    @property
    def log_loss(self) -> float:
        """Of the given labels: -mean log sum_z p(z | x) T[z, y]."""
        losses_N = torch.empty(len(self.given_N), dtype=torch.float64)
        for rows in _chunks(self.probabilities_NK):
            joint_nK = self.probabilities_NK[rows] * self.transition_KK[:, self.given_N[rows]].T
            losses_N[rows] = -joint_nK.sum(1).clamp(min=torch.finfo().tiny).log()
        return float(losses_N.mean())

    @property
    def above_chance(self) -> bool:
        """Whether the features predict the given labels above chance, see `above_chance`."""
        return above_chance(self.probabilities_NK.argmax(1), self.given_N)

    @property
    def estimate(self) -> Estimate:
        """All of it that needs no samples."""
        noise = Noise(self.rate, self.transition_KK)
        mean_confidence = float(self.probabilities_NK.amax(1).mean())
        return Estimate(noise, self.above_chance, self.temperature, mean_confidence)


def above_chance(predicted_N: Tensor, given_N: Tensor) -> bool:
    """Whether predictions predict the given labels above chance.

    They are the given label more often than the commonest label is given, by three standard
    errors.
    """
    n = len(given_N)
    agreement = float((predicted_N == given_N).double().mean())
    commonest = float(given_N.bincount().max()) / n
    return agreement - commonest > 3 * math.sqrt(agreement * (1 - agreement) / n)


def _right_most_often(counts_KK: Tensor) -> Tensor:
    """Rows as probabilities, of which none is above the diagonal: classes keep their names."""
    counts_KK = counts_KK.clone()
    diagonal_K = counts_KK.diagonal()
    diagonal_K.copy_(counts_KK.amax(1))
    return counts_KK / counts_KK.sum(1, keepdim=True)


def _chunks(cells_NK: Tensor) -> Iterator[slice]:
    """Rows of about `_CELLS` cells each: what is made of them on the way is never N x K."""
    step = max(1, _CELLS // cells_NK.shape[1])
    return (slice(start, start + step) for start in range(0, len(cells_NK), step))


def _posterior(probabilities_NK: Tensor, given_N: Tensor, transition_KK: Tensor) -> Tensor:
    joint_NK = probabilities_NK * transition_KK[:, given_N].T
    return joint_NK / joint_NK.sum(1, keepdim=True).clamp(min=torch.finfo().tiny)
