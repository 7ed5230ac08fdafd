"""The Spectral Linear Probe in any band of directions, with every sample left out exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.checks import float64
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum

Band = tuple[int, int]
"""Directions start < i <= stop: (0, r) are the leading r, (r, R) the tail behind them."""

_CHUNK = 2**19


@dataclass(frozen=True, eq=False)
class BandProbe:
    """Least squares on one-hot labels in a band of the principal directions.

    The directions are uncorrelated, so the fit in a band is the sum of what each direction adds
    to the class priors, and the leverage of a sample in it is h = 1/n + sum z_i^2 / n over the
    band. What a fit without the sample would say of it is (f - h y) / (1 - h) (Allen 1974;
    exact with the directions and the sum of squares' penalty held).

    Attributes:
        readout: Ridge in the directions of its own features.
        n: Samples that it was fitted on.
    """

    readout: Readout
    n: int

    @classmethod
    def of(
        cls,
        moments: Moments,
        label_set: str = "given",
        *,
        spectrum: Spectrum | None = None,
        penalty: float = 1e-6,
    ) -> BandProbe:
        """Fitted on one label set.

        Args:
            moments: Features and labels to fit.
            label_set: Which labels.
            spectrum: Of these very features, if it is already there.
            penalty: See `Readout.ridge`.

        Raises:
            DataError: See `Readout.ridge`.
        """
        readout = Readout.ridge(moments, label_set, spectrum=spectrum, penalty=penalty)
        return cls(readout, moments.n)

    @property
    def max_rank(self) -> int:
        """R: directions in which the features vary."""
        return self.readout.max_rank

    def predictions(
        self, features_ND: Tensor, bands: Sequence[Band], fitted_N: Tensor | None = None
    ) -> Tensor:
        """Predicted class in every band: int64, N x B.

        Args:
            features_ND: Any samples, or those fitted on.
            bands: B of them, each with at least one direction.
            fitted_N: The labels that were fitted, if the samples are those: each is then left
                out of its own prediction.

        Raises:
            DataError: A band that is empty or reaches beyond the rank.
        """
        self._require(bands)
        rows = max(1, _CHUNK // (self.max_rank * self.readout.gains_RK.shape[1]))
        chunks = torch.arange(len(features_ND)).split(rows)
        parts = [
            self._logits(features_ND[rows_n], bands, None if fitted_N is None else fitted_N[rows_n])
            for rows_n in chunks
        ]
        return torch.cat([part_NBK.argmax(2) for part_NBK in parts])

    def _logits(
        self, features_ND: Tensor, bands: Sequence[Band], fitted_N: Tensor | None
    ) -> Tensor:
        readout = self.readout
        scores_NR = (float64(features_ND) - readout.mean_D) @ readout.rotation_RD.T
        starts_B, stops_B = torch.tensor(list(bands)).T
        sums_NRK = _from_zero(scores_NR[:, :, None] * readout.gains_RK)
        logits_NBK = readout.offsets_RK[0] + sums_NRK[:, stops_B] - sums_NRK[:, starts_B]
        if fitted_N is None:
            return logits_NBK
        squares_NR = _from_zero(scores_NR.square())
        leverage_NB = (1 + squares_NR[:, stops_B] - squares_NR[:, starts_B]) / self.n
        leverage_NB1 = leverage_NB.clamp(max=1 - 1e-9)[:, :, None]
        target_N1K = torch.nn.functional.one_hot(fitted_N.long(), logits_NBK.shape[2])[:, None]
        return (logits_NBK - leverage_NB1 * target_N1K) / (1 - leverage_NB1)

    def _require(self, bands: Sequence[Band]) -> None:
        for start, stop in bands:
            if not 0 <= start < stop <= self.max_rank:
                raise DataError(
                    f"the band of directions {start + 1}..{stop}",
                    wanted=f"at least one of 1..{self.max_rank}",
                    advice="Choose 0 <= start < stop <= max_rank",
                )


def _from_zero(steps: Tensor) -> Tensor:
    """Running sums along axis 1, with a leading 0."""
    zero = steps.new_zeros((len(steps), 1, *steps.shape[2:]))
    return torch.cat([zero, steps.cumsum(1)], 1)
