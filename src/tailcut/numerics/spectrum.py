"""Spectrum: the eigenvalues and directions of the feature covariance, and its scalars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.moments import Moments
from tailcut.numerics.statistics import Statistics


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and principal directions of features.

    Attributes:
        eigenvalues_D: Variance along each direction, descending, never negative; divided by
            n (not n - 1), in squared feature units.
        basis_DD: Orthonormal directions as columns; the entry of largest magnitude of each
            is positive, which makes them unique where eigenvalues are distinct.
        mean_D: What is subtracted before rotating: the feature mean, or zero if uncentred.
        n: Samples behind it.
    """

    eigenvalues_D: Tensor
    basis_DD: Tensor
    mean_D: Tensor
    n: int

    @classmethod
    def of(cls, moments: Statistics, *, centred: bool = True) -> Spectrum:
        """Eigendecomposition of scatter / n (`centred`) or of 1/n sum h h^T (not `centred`).

        Raises:
            DataError: Fewer than two samples.
        """
        if moments.n < 2:
            raise DataError(
                f"moments of {moments.n} samples",
                wanted="at least 2 samples",
                advice="Check that the loader is not empty",
            )
        second_DD = moments.scatter_DD / moments.n
        mean_D = moments.mean_D
        if not centred:
            second_DD = second_DD + torch.outer(mean_D, mean_D)
            mean_D = torch.zeros_like(mean_D)
        eigenvalues_D, basis_DD = torch.linalg.eigh(second_DD)
        basis_DD = basis_DD.flip(1)
        largest_1D = basis_DD.abs().argmax(0, keepdim=True)
        basis_DD = basis_DD * basis_DD.gather(0, largest_1D).sign()
        return cls(eigenvalues_D.flip(0).clamp(min=0), basis_DD.contiguous(), mean_D, moments.n)

    @property
    def width(self) -> int:
        """D."""
        return len(self.eigenvalues_D)

    @cached_property
    def rank(self) -> int:
        """Place of the last direction that carries variance: above D eps times the largest.

        Never more than n - 1 for centred features: with fewer samples than features the
        other directions were never seen. 0 where the features are constant, whose variance
        is only the rounding of their mean.
        """
        largest = max(float(self.eigenvalues_D.max()), 1e-12 * float(self.mean_D.square().sum()))
        floor = self.width * torch.finfo(torch.float64).eps * largest
        varying = torch.nonzero(self.eigenvalues_D > floor)
        return int(varying[-1]) + 1 if len(varying) else 0

    def directions(self) -> Tensor:
        """The directions up to `rank`, as columns (D x R).

        Raises:
            DataError: Constant features, which have none.
        """
        if not self.rank:
            raise DataError(
                f"features that are the same for all {self.n} samples",
                wanted="features that vary",
                advice="Check that the inputs differ and that the layer before the head is alive",
            )
        return self.basis_DD[:, : self.rank]

    @cached_property
    def shares_D(self) -> Tensor:
        """Share of the total variance in each direction; sums to 1."""
        return self.eigenvalues_D / self.eigenvalues_D.sum()

    @property
    def effective_rank(self) -> float:
        """exp(-sum p log p), p the shares of the *eigenvalues*; 1..D.

        Roy & Vetterli (2007) take p from singular values; RankMe does too. Ours weights the
        tail less: see `entropy_rank_of_singular_values` for theirs.
        """
        return float(torch.exp(torch.special.entr(self.shares_D).sum()))

    @property
    def entropy_rank_of_singular_values(self) -> float:
        """exp(-sum p log p), p the shares of the singular values sqrt(l): Roy & Vetterli (2007)."""
        shares_D = self.eigenvalues_D.sqrt() / self.eigenvalues_D.sqrt().sum()
        return float(torch.exp(torch.special.entr(shares_D).sum()))

    @property
    def participation_ratio(self) -> float:
        """(sum l)^2 / sum l^2; 1..D."""
        return float(self.eigenvalues_D.sum() ** 2 / self.eigenvalues_D.square().sum())

    @property
    def stable_rank(self) -> float:
        """sum l / l_1: squared Frobenius over squared spectral norm of the features; 1..D."""
        return float(self.eigenvalues_D.sum() / self.eigenvalues_D.max())

    def tail_exponent(self, top: int | None = None) -> float:
        """Hill's estimate of alpha in p(l) ~ l^-alpha over the `top` largest eigenvalues.

        alpha = 1 + top / sum_{i<=top} log(l_i / l_{top+1}) (Hill 1975). Eigenvalues that
        fall as i^-a give about 1 + 1/a. Infinite where the top eigenvalues are all equal.

        Args:
            top: Eigenvalues used; a tenth of the rank, at least 5, if not given.
        """
        top = min(max(5, self.rank // 10) if top is None else top, self.rank - 1)
        if top < 1:
            return float("nan")
        logs = (self.eigenvalues_D[:top] / self.eigenvalues_D[top]).log().sum()
        return float(1 + top / logs)

    def gap(self, rank: int) -> float:
        """Relative gap (l_r - l_{r+1}) / l_r at a cut after `rank` directions; 0..1.

        At 0 the cut goes through tied eigenvalues: the kept subspace is then not unique.
        """
        if rank >= self.width:
            return 1.0
        here, below = self.eigenvalues_D[rank - 1], self.eigenvalues_D[rank]
        return float((here - below) / here) if here > 0 else 0.0

    def coding_rate(self, distortion: float = 0.5) -> float:
        """1/2 logdet(I + D / (n eps^2) scatter), in nats (Yu et al. 2020, eq. 1).

        It depends on the scale of the features: compare only features on one scale.
        """
        scaled_R = self.width / distortion**2 * self.eigenvalues_D[: self.rank]
        return 0.5 * float(torch.log1p(scaled_R).sum())

    def rebased(self, basis_DD: Tensor) -> Spectrum:
        """The same features seen along other orthonormal directions, in that order.

        Eigenvalues become the variances along them: a control such as a random subspace
        (`torch.linalg.qr` of a Gaussian) or the tail first (`basis_DD.flip(1)`).
        """
        variances_D = self.eigenvalues_D @ (self.basis_DD.T @ basis_DD).square()
        return Spectrum(variances_D, basis_DD, self.mean_D, self.n)


def random_basis(width: int, seed: int) -> Tensor:
    """Orthonormal directions (columns of D x D, float64) that owe nothing to any features.

    Those of a Gaussian matrix: the control for what the leading directions do.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))[0]


def nc1(moments: Statistics, label_set: str = "given") -> float:
    """Within-class variability collapse tr(S_w pinv(S_b)) / K (Papyan, Han & Donoho 2020).

    0 is full collapse. S_w is within-class scatter / n, S_b the class-balanced covariance
    of the class means, of rank K - 1.
    """
    means_KD = moments.means_KD(label_set)
    centred_KD = means_KD - means_KD.mean(0)
    between_DD = centred_KD.T @ centred_KD / moments.classes
    within_DD = moments.within_DD(label_set) / moments.n
    inverse_DD = torch.linalg.pinv(between_DD, hermitian=True, rtol=1e-9)
    return float((within_DD * inverse_DD).sum() / moments.classes)


def coding_rate_reduction(class_moments: Sequence[Statistics], distortion: float = 0.5) -> float:
    """Delta R = R(all) - sum_k n_k/n R(class k), in nats (Yu et al. 2020, eq. 5).

    Args:
        class_moments: The moments of each class on its own: the one scalar here that the
            pooled moments do not hold. All rates are centred on their own mean.
        distortion: eps, in feature units.
    """
    whole = Moments.merged(class_moments)
    parts = sum(part.n / whole.n * _coding_rate(part, distortion) for part in class_moments)
    return _coding_rate(whole, distortion) - parts


def _coding_rate(moments: Statistics, distortion: float) -> float:
    """`Spectrum.coding_rate` by one Cholesky factor instead of all eigenvalues.

    Of n samples in as many directions or more, that would count rounding as variance: they
    span n - 1 directions.
    """
    scaled_DD = moments.width / (moments.n * distortion**2) * moments.scatter_DD
    if moments.n <= moments.width:
        spanned_R = torch.linalg.eigvalsh(scaled_DD).flip(0)[: moments.n - 1].clamp(min=0)
        return 0.5 * float(torch.log1p(spanned_R).sum())
    eye_DD = torch.eye(moments.width, dtype=scaled_DD.dtype, device=scaled_DD.device)
    return float(torch.linalg.cholesky(eye_DD + scaled_DD).diagonal().log().sum())
