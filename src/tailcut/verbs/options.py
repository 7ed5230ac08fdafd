"""The dials of the verbs, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch

from tailcut.errors import DataError
from tailcut.network.views import as_views
from tailcut.verbs.candidates import READOUTS

DEPTHS = ("auto", "head", "all")
LARGEST_SEED = 2**63 - 1


def check_options(
    depth: Any = "auto",
    readout: Any = "auto",
    rank: Any = "auto",
    views: Any = "auto",
    seed: Any = 0,
) -> None:
    """Refuse values that no dial has.

    Raises:
        DataError: An unknown depth, readout, rank or view, or a seed that no generator takes.
    """
    as_views(views, torch.empty(0))
    _one_of("depth", depth, DEPTHS)
    _one_of("readout", readout, ("auto", *READOUTS))
    if rank != "auto" and (isinstance(rank, bool) or not isinstance(rank, Integral) or rank < 1):
        raise DataError(
            f"rank={rank!r}",
            wanted='"auto" or a whole number of at least 1',
            advice="Correct the rank",
        )
    if (
        isinstance(seed, bool)
        or not isinstance(seed, Integral)
        or not 0 <= int(seed) <= LARGEST_SEED
    ):
        raise DataError(
            f"seed={seed!r}",
            wanted=f"a whole number from 0 to {LARGEST_SEED}",
            advice="Correct the seed",
        )


def _one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise DataError(
            f"{name}={value!r}",
            wanted=f"one of {', '.join(allowed)}",
            advice=f"Correct {name}",
        )
