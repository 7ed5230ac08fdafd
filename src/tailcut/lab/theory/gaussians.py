"""Two Gaussian classes with a share of wrong labels, over grids. Legend: B seeds, N, D."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.lab.theory.seeds import generators


@dataclass(frozen=True)
class Row:
    """Accuracy on true labels at one point of a grid.

    Attributes:
        rate: η, the share of wrong labels.
        samples: n.
        dimension: d.
        signal: |μ|.
        predicted: Accuracy by theory; None where there is none.
        accuracies: Measured, one for each seed.
    """

    rate: float
    samples: int
    dimension: int
    signal: float
    predicted: float | None
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.accuracies)


@dataclass(frozen=True)
class Data:
    """Training samples, their given labels and a source of fresh samples."""

    inputs_ND: Tensor
    given_N: Tensor
    signal: float
    generator: torch.Generator


def points(*axes: Sequence[float]) -> Iterator[tuple[float, int, int, float]]:
    """Every combination of rates, samples, dimensions and signals that can be measured."""
    for rate, n, d, signal in product(*axes):
        require(rate, int(n), int(d), signal)
        yield rate, int(n), int(d), signal


def row(
    point: tuple[float, int, int, float],
    predicted: float | None,
    seeds: Sequence[int],
    measure: Callable[[Data], float],
) -> Row:
    """What `measure` says of data drawn for each seed."""
    measured = (measure(draw(*point, source)) for source in generators(seeds))
    return Row(*point, predicted, tuple(measured))


def draw(rate: float, n: int, d: int, signal: float, generator: torch.Generator) -> Data:
    """Samples with μ along the first input; Gaussian noise has no preferred direction."""
    inputs_ND, true_N = fresh(n, d, signal, generator)
    given_N = true_N.clone()
    given_N[torch.randperm(n, generator=generator)[: round(rate * n)]] *= -1
    return Data(inputs_ND, given_N, signal, generator)


def fresh(n: int, d: int, signal: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Samples and their true labels ±1."""
    true_N = 2 * torch.randint(2, (n,), generator=generator).double() - 1
    inputs_ND = torch.randn(n, d, generator=generator, dtype=torch.float64)
    inputs_ND[:, 0] += signal * true_N
    return inputs_ND, true_N


def require(rate: float, n: int, d: int, signal: float) -> None:
    """Refuse what is outside the ranges of the theory."""
    if not (0 <= rate <= 0.5 and 1 <= n < d - 2 and signal >= 0):
        raise DataError(
            f"{n} samples of {d} inputs with signal {signal} and a share of {rate} wrong labels",
            wanted="1 <= n < d - 2, a signal of at least 0 and a share from 0 to 0.5",
            advice="Give more inputs than samples; a share is 0.4, not 40",
        )
