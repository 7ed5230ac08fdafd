"""Readouts: linear classifiers whose logits at every kept rank are a prefix sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tailcut._typing import Ranks
from tailcut.errors import DataError
from tailcut.numerics.checks import float64
from tailcut.numerics.covariance import eye, shrunk, varying_within, whiten
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics

_CHUNK = 2**19
"""Running logits held at once: 4 MiB of float64, so that a chunk stays in cache."""


@dataclass(frozen=True, eq=False)
class Readout:
    """z = A (h - mean); logits at rank r = offsets_r + sum_{i<=r} z_i gains_i.

    Attributes:
        name: "project", or that of `tailcut.numerics.fits.FITS`.
        rotation_RD: A; row i needs only the leading i principal directions.
        gains_RK: What component i adds to each logit.
        offsets_RK: Row r - 1 is the constant at rank r.
        mean_D: What is subtracted from the features.
        constant_RD: For a head without bias, what stands in for the 1 that offsets are
            multiplied with: at rank r the sum of the first r rows times the features.
    """

    name: str
    rotation_RD: Tensor
    gains_RK: Tensor
    offsets_RK: Tensor
    mean_D: Tensor
    constant_RD: Tensor | None = None

    @classmethod
    def project(cls, spectrum: Spectrum, weight_KD: Tensor, bias_K: Tensor | None) -> Readout:
        """The network's own head behind P_r = V_r V_r^T: Explicit Spectral Truncation.

        logits = W (P_r (h - mean) + mean) + b (arXiv 2603.02293v1, later withdrawn, known by
        its abstract; Montavon, Braun & Mueller 2011 for kernels). No labels are used.

        Args:
            spectrum: Of the features that the head receives.
            weight_KD: Head weight, K x D.
            bias_K: Head bias; a head without one needs an uncentred spectrum, because
                W (I - P_r) mean would have to become a bias.

        Raises:
            DataError: No bias with a centred spectrum, a width that differs, or constant
                features.
        """
        weight_KD = float64(weight_KD.detach())
        if weight_KD.shape[1] != spectrum.width:
            raise DataError(
                f"a head that reads {weight_KD.shape[1]} features and a spectrum of "
                f"{spectrum.width}",
                wanted="the spectrum of the features that the head receives",
                advice="Take the moments at the input of this head",
            )
        if bias_K is None and spectrum.mean_D.any():
            raise DataError(
                "a head without bias and a centred spectrum",
                wanted="a bias, which takes up what the cut removes from the mean",
                advice="Use Spectrum.of(moments, centred=False), which keeps the head without bias",
            )
        basis_DR = spectrum.directions()
        weight_KD = weight_KD.to(basis_DR.device)
        constant_K = weight_KD @ spectrum.mean_D
        if bias_K is not None:
            constant_K = constant_K + float64(bias_K.detach()).to(basis_DR.device)
        gains_RK = (weight_KD @ basis_DR).T.contiguous()
        offsets_RK = constant_K.expand(len(gains_RK), -1)
        return cls("project", basis_DR.T, gains_RK, offsets_RK, spectrum.mean_D)

    @classmethod
    def ridge(
        cls,
        moments: Statistics,
        label_set: str = "given",
        *,
        spectrum: Spectrum | None = None,
        penalty: float = 1e-6,
    ) -> Readout:
        """Least squares on one-hot labels in the leading directions: the Spectral Linear Probe.

        Minimises 1/n |Y - prior - Z B|^2 + kappa |B|^2 with Z the centred features in the
        leading r directions and kappa = penalty x the mean variance; the intercept is free.

        Args:
            moments: Features and labels to fit.
            label_set: Which labels.
            spectrum: Directions to keep, if they come from other samples than the labels.
            penalty: kappa in units of the mean variance trace(scatter) / (n D).

        Raises:
            DataError: A class without a sample, a penalty below 0, or constant features.
        """
        counts_K = moments.require_classes(label_set)
        basis_DR = _spectrum_for(moments, spectrum).directions()
        covariance_DD = moments.scatter_DD / moments.n
        kappa = _at_least_zero("penalty", penalty) * covariance_DD.trace() / moments.width
        rotation_RD = whiten(basis_DR, covariance_DD + kappa * eye(covariance_DD))
        gains_RK = rotation_RD @ moments.deviations[label_set].T / moments.n
        offsets_RK = (counts_K / moments.n).expand(len(gains_RK), -1)
        return cls("ridge", rotation_RD, gains_RK, offsets_RK, moments.mean_D)

    @classmethod
    def centroid(
        cls, moments: Statistics, label_set: str = "given", *, spectrum: Spectrum | None = None
    ) -> Readout:
        """Nearest class mean, by Euclidean distance in the leading r directions.

        Raises:
            DataError: A class without a sample, or constant features.
        """
        means_KD = moments.means_KD(label_set) - moments.mean_D
        rotation_RD = _spectrum_for(moments, spectrum).directions().T
        gains_RK = rotation_RD @ means_KD.T
        offsets_RK = -0.5 * gains_RK.square().cumsum(0)
        return cls("centroid", rotation_RD, gains_RK, offsets_RK, moments.mean_D)

    @classmethod
    def lda(
        cls,
        moments: Statistics,
        label_set: str = "given",
        *,
        spectrum: Spectrum | None = None,
        shrinkage: float | None = None,
        rank: int | None = None,
    ) -> Readout:
        """Gaussian classes with one covariance, exact in the subspace of every rank.

        The covariance is within-class scatter / n, shrunk to (1 - s) S + s trace(S)/D I in
        the full space before any direction is cut. Whitening by its Cholesky factor L in the
        principal basis keeps prefixes exact: the leading block of L is the factor of the
        leading block.

        Args:
            moments: Features and labels to fit.
            label_set: Which labels.
            spectrum: Directions to keep, if they come from other samples than the labels.
            shrinkage: s in 0..1; the oracle approximating shrinkage of Chen et al. (2010)
                if not given.
            rank: The largest that will be asked for, which saves work; all if not given.

        Raises:
            DataError: A class without a sample, a shrinkage outside 0..1, or features that
                are constant, if only within each class.
        """
        counts_K = moments.require_classes(label_set)
        means_KD = moments.means_KD(label_set) - moments.mean_D
        basis_DR = _spectrum_for(moments, spectrum).directions()[:, :rank]
        within_DD = varying_within(moments, label_set) / moments.n
        rotation_RD = whiten(basis_DR, shrunk(within_DD, moments.n, shrinkage))
        gains_RK = rotation_RD @ means_KD.T
        offsets_RK = (counts_K / moments.n).log() - 0.5 * gains_RK.square().cumsum(0)
        return cls("lda", rotation_RD, gains_RK, offsets_RK, moments.mean_D)

    @property
    def max_rank(self) -> int:
        """The largest rank: directions in which the features vary at all."""
        return len(self.gains_RK)

    def ranks(self, ranks: Ranks = "all") -> list[int]:
        """Ranks as an ascending list.

        Raises:
            DataError: A rank outside 1..max_rank, or no rank at all.
        """
        if isinstance(ranks, str):
            return list(range(1, self.max_rank + 1))
        kept = sorted({self._checked(rank) for rank in ranks})
        if not kept:
            raise DataError(
                "no rank to look at",
                wanted=f"at least one of 1..{self.max_rank}",
                advice='Name some ranks, or pass "all"',
            )
        return kept

    def fold(self, rank: int) -> tuple[Tensor, Tensor]:
        """The readout at one rank as an ordinary Linear: weight (K x D) and bias (K,).

        W' = G_:r^T A_:r and b' = c_r - W' mean, float64. Without a bias c_r goes into W', times
        what stands in for 1, and b' is 0.

        Raises:
            DataError: A rank outside 1..max_rank.
        """
        rank = self._checked(rank)
        weight_KD = self.gains_RK[:rank].T @ self.rotation_RD[:rank]
        offset_K = self.offsets_RK[rank - 1]
        if self.constant_RD is not None:
            weight_KD = weight_KD + torch.outer(offset_K, self.constant_RD[:rank].sum(0))
            offset_K = torch.zeros_like(offset_K)
        return weight_KD, offset_K - weight_KD @ self.mean_D

    def scaled(self, factor: float) -> Readout:
        """The same predictions with logits times a factor (1 / temperature)."""
        gains_RK, offsets_RK = factor * self.gains_RK, factor * self.offsets_RK
        return replace(self, gains_RK=gains_RK, offsets_RK=offsets_RK)

    def logits(self, features_ND: Tensor, rank: int) -> Tensor:
        """Logits (N x K, float64) by the definition: project, then sum."""
        rank = self._checked(rank)
        centred_ND = float64(features_ND).to(self.mean_D.device) - self.mean_D
        scores_NR = centred_ND @ self.rotation_RD[:rank].T
        offsets_NRK = self._offsets(centred_ND, [rank])
        return offsets_NRK[:, 0] + scores_NR @ self.gains_RK[:rank]

    def predictions(self, features_ND: Tensor, ranks: Ranks = "all") -> Tensor:
        """Predicted class at every rank: int64, N x R, ranks ascending.

        One rotation and one running sum: N D^2 + N D K multiply-adds for all D ranks.
        """
        return torch.cat([part.argmax(2) for part in self.prefix_logits(features_ND, ranks)])

    def prefix_logits(self, features_ND: Tensor, ranks: Ranks = "all") -> Iterator[Tensor]:
        """Logits at every rank (n x R x K, float64) of successive chunks of n samples."""
        kept = self.ranks(ranks)
        dense = len(kept) == self.max_rank
        rows = max(1, _CHUNK // (len(kept) * self.offsets_RK.shape[1]))
        for chunk_ND in features_ND.split(rows):
            centred_ND = float64(chunk_ND).to(self.mean_D.device) - self.mean_D
            scores_NR = centred_ND @ self.rotation_RD[: kept[-1]].T
            if dense:
                steps_NRK = scores_NR[:, :, None] * self.gains_RK
            else:
                edges = zip([0, *kept], kept, strict=False)
                steps_NRK = torch.stack(
                    [scores_NR[:, a:b] @ self.gains_RK[a:b] for a, b in edges], 1
                )
            yield steps_NRK.cumsum(1).add_(self._offsets(centred_ND, kept))

    def _offsets(self, centred_ND: Tensor, kept: list[int]) -> Tensor:
        """What is added at each of these ranks: N (or 1, for all samples alike) x R x K."""
        places = [rank - 1 for rank in kept]
        if self.constant_RD is None:
            return self.offsets_RK[places][None]
        ones_NR = (centred_ND @ self.constant_RD[: kept[-1]].T).cumsum(1)[:, places]
        return ones_NR[:, :, None] * self.offsets_RK[places]

    def _checked(self, rank: int) -> int:
        if not 1 <= rank <= self.max_rank:
            raise DataError(
                f"rank {rank}",
                wanted=f"1..{self.max_rank}, the directions in which the features vary",
                advice="Choose a rank in that range; more samples than features give all of them",
            )
        return int(rank)


def _spectrum_for(moments: Statistics, spectrum: Spectrum | None) -> Spectrum:
    if spectrum is None:
        return Spectrum.of(moments)
    if spectrum.width != moments.width:
        raise DataError(
            f"a spectrum of {spectrum.width} and moments of {moments.width} features",
            wanted="one width",
            advice="Take both from the same features",
        )
    return spectrum


def _at_least_zero(name: str, value: float) -> float:
    if not value >= 0:
        raise DataError(
            f"{name} {value}",
            wanted="a number of at least 0",
            advice=f"Leave {name} out for its default",
        )
    return value
