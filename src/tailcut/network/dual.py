"""The filter of a wide layer, samples x samples instead of inputs x inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tailcut.network.second_moment import largest_of, unit_of
from tailcut.numerics.checks import float64

_COLUMNS = 2048
"""Inputs that are in float64 at once."""

_LEAST = 1e-12
"""Of the inputs' own factor 1 - w, which divides and cancels."""

_EXPONENT = 1000
"""Of 2, in float64."""


@dataclass(frozen=True, eq=False)
class Dual:
    """M rows X of a layer's inputs and L rows E of changes: (M + L)^2 products of them.

    With Z the rows of sqrt(c) X above those of sqrt(b) E, the push-through identity
    Z (w I + Z^T Z)^-1 = (w I + Z Z^T)^-1 Z (Henderson & Searle, SIAM Review 1981) makes of
    W X^T X (w I + c X^T X + b E^T E)^-1 the first M rows of (w I + Z Z^T)^-1, times Z: nothing
    is inverted that is larger than M + L, and nothing is divided by w, so that nothing cancels.
    Sums are in float64, of rows as exact as they came. All filters share the products.

    Attributes:
        inputs: X (G x m x P each), part by part.
        changes: E, the same; empty without noise.
    """

    inputs: tuple[Tensor, ...]
    changes: tuple[Tensor, ...] = ()

    @cached_property
    def scale_G(self) -> Tensor:
        """Trace of X^T X, group by group; 1 where there is nothing."""
        trace_G = self._own_GMM.diagonal(dim1=1, dim2=2).sum(1)
        return torch.where(trace_G > 0, trace_G, 1)

    @cached_property
    def noisiness_G(self) -> Tensor:
        """Trace of E^T E, of which the inputs' own is 1."""
        squares_GL = self._all_GLL.diagonal(dim1=1, dim2=2)
        return squares_GL[:, self._own_GMM.shape[1] :].sum(1) / self.scale_G

    def filtered(
        self, weight_GOP: Tensor, white: Callable[[float], float], denoising: float
    ) -> Tensor:
        """W S ((1 - w) S + w I + b N)^-1, in the weight's type, at least float32.

        Args:
            weight_GOP: W.
            white: w, of the trace of b N.
            denoising: b.
        """
        denoising = denoising if self.changes else 0.0
        parts = (*self.inputs, *self.changes) if denoising else self.inputs
        seen_GMO = self._seen(weight_GOP)
        mixed_GLO = torch.stack(
            [self._mixed(g, seen_MO, white, denoising) for g, seen_MO in enumerate(seen_GMO)]
        )
        exact = torch.promote_types(weight_GOP.dtype, torch.float32)
        made_GOP = torch.empty(weight_GOP.shape, dtype=exact, device=mixed_GLO.device)
        for columns in self._columns():
            made_GOP[:, :, columns] = (mixed_GLO.mT @ self._rows(parts, columns)).to(exact)
        return made_GOP

    def _mixed(
        self, g: int, seen_MO: Tensor, white: Callable[[float], float], denoising: float
    ) -> Tensor:
        """How much of each row makes the filtered weight, in one group (L x O)."""
        scale, own = float(self.scale_G[g]), len(seen_MO)
        noisiness = denoising * float(self.noisiness_G[g]) if denoising else 0.0
        share = white(noisiness)
        rows_LL = self._all_GLL[g] if denoising else self._own_GMM[g]
        factor_L = rows_LL.new_full((len(rows_LL),), (denoising / scale) ** 0.5)
        factor_L[:own] = (max(1 - share, _LEAST) / scale) ** 0.5
        total_LL = (factor_L[:, None] * rows_LL).mul_(factor_L)
        total_LL.diagonal().add_(share)
        said_LO = total_LL.new_zeros(len(total_LL), seen_MO.shape[1])
        said_LO[:own] = seen_MO / (factor_L[:own, None] * scale)
        solved_LO = torch.cholesky_solve(said_LO, torch.linalg.cholesky(total_LL))
        return factor_L[:, None] * solved_LO

    def _seen(self, weight_GOP: Tensor) -> Tensor:
        """X W^T (G x M x O)."""
        return _sum(
            self._rows(self.inputs, columns) @ float64(weight_GOP[:, :, columns]).mT
            for columns in self._columns()
        )

    @cached_property
    def _own_GMM(self) -> Tensor:
        return self._products(self.inputs, self.inputs)

    @cached_property
    def _all_GLL(self) -> Tensor:
        cross_GEM = self._products(self.changes, self.inputs)
        noise_GEE = self._products(self.changes, self.changes)
        above_GML = torch.cat([self._own_GMM, cross_GEM.mT], 2)
        return torch.cat([above_GML, torch.cat([cross_GEM, noise_GEE], 2)], 1)

    def _products(self, one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> Tensor:
        return _sum(
            self._rows(one, columns) @ self._rows(other, columns).mT for columns in self._columns()
        )

    @cached_property
    def _unit(self) -> float:
        largest = max(map(largest_of, (*self.inputs, *self.changes)))
        return unit_of(largest, _EXPONENT)

    def _rows(self, parts: tuple[Tensor, ...], columns: slice) -> Tensor:
        """Some columns of all rows, in float64 and in a unit of their own."""
        return torch.cat([float64(each[:, :, columns]) for each in parts], 1) / self._unit

    def _columns(self) -> Iterator[slice]:
        for start in range(0, self.inputs[0].shape[2], _COLUMNS):
            yield slice(start, start + _COLUMNS)


def _sum(terms: Iterator[Tensor]) -> Tensor:
    total = next(terms)
    for each in terms:
        total += each
    return total
