"""The options of the verbs as one object, checked where it is made: before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import nn

from tailcut.errors import DataError, concerning
from tailcut.network.modules import network_in
from tailcut.network.views import Views, as_views
from tailcut.numerics import fits

DEPTHS = ("auto", "head", "all")
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Options:
    """What may be tried, as `repair` takes it.

    Raises:
        DataError: An unknown depth, readout, rank or view, a seed that no generator takes, or a
            backbone that is no network.
    """

    views: Views = "auto"
    depth: str = "auto"
    readout: str = "auto"
    rank: int | str = "auto"
    force: bool = False
    seed: int = 0
    backbone: nn.Module | None = None

    def __post_init__(self) -> None:
        as_views(self.views, torch.empty(0))
        if self.backbone is not None:
            with concerning("the backbone"):
                network_in(self.backbone)
        _one_of("depth", self.depth, DEPTHS)
        _one_of("readout", self.readout, ("auto", *fits.names()))
        if self.rank != "auto" and not _is_whole(self.rank, least=1):
            raise DataError(
                f"rank={self.rank!r}",
                wanted='"auto" or a whole number of at least 1',
                advice="Correct the rank",
            )
        if not _is_whole(self.seed) or self.seed > LARGEST_SEED:
            raise DataError(
                f"seed={self.seed!r}",
                wanted=f"a whole number from 0 to {LARGEST_SEED}",
                advice="Correct the seed",
            )

    @property
    def ranked(self) -> bool:
        """Whether the caller named a rank."""
        return self.rank != "auto"

    @property
    def fits_labels(self) -> bool:
        """Whether a readout is fitted to labels: all but the network's own head."""
        return self.readout != fits.PROJECT

    @property
    def asked(self) -> bool:
        """Whether the caller named both readout and rank, so that the cut is made."""
        return "auto" not in (self.readout, self.rank)


def _is_whole(value: Any, least: int = 0) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise DataError(
            f"{name}={value!r}",
            wanted=f"one of {', '.join(allowed)}",
            advice=f"Correct {name}",
        )
