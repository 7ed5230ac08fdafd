"""A second moment that grows: rows while they are few, their Gram matrix once they are many."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.numerics.checks import float64


@dataclass(frozen=True, eq=False)
class SecondMoment:
    """Sum of p p^T over rows p, group by group; adding gives another one.

    The rows themselves are held while they are at most P / 2: they need less memory than P x P
    numbers, and what a filter needs of them is samples x samples.

    Attributes:
        parts: The rows (G x M x P each, in the layer's own type, at least float32), batch by
            batch; empty once there is a Gram matrix.
        summed_GPP: That (float64), of more rows; None while the rows are held.
        rows: How many there were in all.
    """

    parts: tuple[Tensor, ...] = ()
    summed_GPP: Tensor | None = None
    rows: int = 0

    def plus(self, rows_GMP: Tensor) -> SecondMoment:
        """With these rows, which the caller must not change later.

        Products are taken in the rows' type, sums in float64.
        """
        rows = self.rows + rows_GMP.shape[1]
        if self.summed_GPP is not None:
            return SecondMoment((), self.summed_GPP + _gram(rows_GMP), rows)
        parts = (*self.parts, rows_GMP)
        if 2 * rows > rows_GMP.shape[2]:
            return SecondMoment((), _gram(torch.cat(parts, 1)), rows)
        return SecondMoment(parts, None, rows)

    @property
    def held(self) -> int:
        """Rows M that are held; 0 with a Gram matrix."""
        return 0 if self.summed_GPP is not None else self.rows

    @property
    def scarce(self) -> bool:
        """Whether there are fewer than two rows for each input."""
        each = self.parts[0] if self.summed_GPP is None else self.summed_GPP
        return self.rows < 2 * each.shape[2]

    @property
    def gram_GPP(self) -> Tensor:
        """Sum of p p^T (G x P x P, float64); made anew each time while the rows are held."""
        return _gram(torch.cat(self.parts, 1)) if self.summed_GPP is None else self.summed_GPP


def unit_of(largest: float, exponent: int = 126) -> float:
    """A power of 2 near a number, in which its square neither over- nor underflows.

    Args:
        largest: Of absolute values.
        exponent: The largest that may be needed of 2: 126 in float32.
    """
    return 2.0 ** min(exponent, max(-exponent, math.frexp(largest)[1]))


def largest_of(tensor: Tensor) -> float:
    """The largest absolute value; 0 of an empty tensor."""
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _gram(rows_GMP: Tensor) -> Tensor:
    unit = unit_of(largest_of(rows_GMP))
    scaled_GMP = rows_GMP * (1 / unit)
    return float64(scaled_GMP.transpose(1, 2) @ scaled_GMP) * unit**2
