"""Covariances: shrunk, factored, and what whitens by them."""

from __future__ import annotations

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.statistics import Statistics


def oas_shrinkage(covariance_DD: Tensor, n: int) -> float:
    """Oracle approximating shrinkage intensity of Chen, Wiesel, Eldar & Hero (2010), eq. 23.

    From trace(S) and trace(S^2) alone, so it comes from moments; 0..1.
    """
    width = len(covariance_DD)
    trace, square = covariance_DD.trace(), covariance_DD.square().sum()
    top = (1 - 2 / width) * square + trace**2
    bottom = (n + 1 - 2 / width) * (square - trace**2 / width)
    return float((top / bottom).clamp(0, 1)) if bottom > 0 else 1.0


def whiten(basis_DR: Tensor, covariance_DD: Tensor) -> Tensor:
    """L^-1 V^T with L the Cholesky factor of V^T S V: z then has unit covariance."""
    inside_RR = basis_DR.T @ covariance_DD @ basis_DR
    factor_RR = factor((inside_RR + inside_RR.T) / 2)
    return torch.linalg.solve_triangular(factor_RR, basis_DR.T, upper=False)


def factor(covariance_RR: Tensor) -> Tensor:
    """Its Cholesky factor.

    Raises:
        DataError: A singular covariance.
    """
    factor_RR, failed = torch.linalg.cholesky_ex(covariance_RR)
    if failed:
        raise DataError(
            f"the covariance in the leading {len(covariance_RR)} directions is singular at rank "
            f"{int(failed)}",
            wanted="a positive definite covariance",
            advice="Leave the shrinkage or penalty at its default, or raise it above 0",
        )
    return factor_RR


def varying_within(moments: Statistics, label_set: str) -> Tensor:
    """Within-class scatter (D x D), which must be more than rounding."""
    within_DD = moments.within_DD(label_set)
    floor = moments.width * torch.finfo(torch.float64).eps * moments.scatter_DD.trace()
    if within_DD.trace() <= floor:
        raise DataError(
            f"features that are the same for all samples of a class of {label_set!r}",
            wanted="features that vary within classes",
            advice='Use readout="centroid", which needs no spread',
        )
    return within_DD


def shrunk(within_DD: Tensor, n: int, shrinkage: float | None) -> Tensor:
    """(1 - s) S + s trace(S)/D I."""
    if shrinkage is None:
        shrinkage = oas_shrinkage(within_DD, n)
    if not 0 <= shrinkage <= 1:
        raise DataError(
            f"shrinkage {shrinkage}",
            wanted="a number from 0 to 1",
            advice="Leave it out for the oracle approximating shrinkage",
        )
    target = within_DD.trace() / len(within_DD)
    return (1 - shrinkage) * within_DD + shrinkage * target * eye(within_DD)


def eye(like_DD: Tensor) -> Tensor:
    """The identity, of the same size and kind."""
    return torch.eye(len(like_DD), dtype=like_DD.dtype, device=like_DD.device)
