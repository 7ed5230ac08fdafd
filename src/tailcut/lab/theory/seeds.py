"""Seeds in, and the spread over them out. Legend: B seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.errors import DataError


@dataclass(frozen=True)
class Spread:
    """A mean over seeds, its 95 % interval, and the standard deviation between seeds.

    The interval is Student's, mean ± t(0.975; B - 1) deviation / sqrt(B): exact for values that
    are normal over seeds. One seed has no spread: deviation and interval are then NaN.
    """

    mean: float
    low: float
    high: float
    deviation: float

    @classmethod
    def of(cls, values_B: Tensor) -> Spread:
        """The spread of one value for each seed."""
        from scipy.special import stdtrit

        count, mean = len(values_B), float(values_B.mean())
        if count < 2:
            return cls(mean, math.nan, math.nan, math.nan)
        deviation = float(values_B.std())
        half = float(stdtrit(count - 1, 0.975)) * deviation / math.sqrt(count)
        return cls(mean, mean - half, mean + half, deviation)

    def named(self, name: str) -> dict[str, float]:
        """Mean and interval under `name`, `name low` and `name high`."""
        return {name: self.mean, f"{name} low": self.low, f"{name} high": self.high}


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator for each seed, so that no seed's numbers depend on its neighbours.

    Raises:
        DataError: No seed, or one of them twice.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise DataError(
            f"the seeds {list(seeds)}",
            wanted="at least one seed, each of them once",
            advice="Give distinct integers, five or more for an interval",
        )
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def normal(shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal numbers in float64 (B x shape), each seed's from its own generator."""
    return torch.stack(
        [torch.randn(shape, generator=each, dtype=torch.float64) for each in generators]
    )


def below(bound: int, shape: tuple[int, ...], generators: Sequence[torch.Generator]) -> Tensor:
    """Uniform integers 0..bound-1 (B x shape), each seed's from its own generator."""
    return torch.stack([torch.randint(bound, shape, generator=each) for each in generators])
