"""Random numbers of several seeds at once. Legend: B seeds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tailcut.errors import DataError

SEEDS = tuple(range(8))
"""What is shown of a model is shown of these."""


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
