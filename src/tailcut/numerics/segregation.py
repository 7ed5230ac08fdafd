"""Segregation: where the signal and where the label noise sit in the spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics


@dataclass(frozen=True)
class SegregationIndex:
    """Where the noise sits, in two numbers.

    Attributes:
        index: See `Segregation.index`, -1..1.
        p_value: See `Segregation.p_value`.
    """

    index: float
    p_value: float


@dataclass(frozen=True, eq=False)
class Segregation:
    """Label energy along the principal directions of the features.

    One-hot given labels Y~ split into signal S = E[Y~ | true class] - mean and noise
    N = Y~ - E[Y~ | true class]. With left singular vectors u_i of the centred features,
    energy_i(Y) = |u_i^T Y|^2 / |Y|^2: the share of Y that direction i explains linearly.

    Attributes:
        signal_R: energy_i(S) for each direction that varies.
        noise_R: energy_i(N).
        null_QR: energy_i(N) for Q permutations of the given labels within each true class.
        n: Samples.
    """

    signal_R: Tensor
    noise_R: Tensor
    null_QR: Tensor
    n: int

    @classmethod
    def of(
        cls,
        moments: Statistics,
        spectrum: Spectrum | None = None,
        *,
        given: str = "given",
        permuted: Sequence[str] = (),
    ) -> Segregation:
        """From moments whose first label set are the true labels.

        Args:
            moments: With the label sets (true labels, `given`, and all of `permuted`).
            spectrum: Of the same features, if already there.
            given: Name of the noisy labels.
            permuted: Names of label sets made by `permuted_within`, for the null.

        Raises:
            DataError: Label sets that were not counted against the true labels; given labels
                that the true ones decide, or have no part in; constant features.
        """
        _require_joint(moments, [given, *permuted])
        spectrum = Spectrum.of(moments) if spectrum is None else spectrum
        signal_R, noise_SR = _energies(moments, spectrum, [given, *permuted])
        return cls(signal_R, noise_SR[0], noise_SR[1:], moments.n)

    @property
    def index(self) -> float:
        """Area between the cumulative curves of signal and noise over log rank, -1..1.

        1/log(R + 1) integral of (E_r(S) - E_r(N)) d log r from 1 to R + 1; 0 where both sit
        alike.
        """
        return _log_area(self.signal_R.cumsum(0) - self.noise_R.cumsum(0))

    @property
    def depth(self) -> tuple[float, float]:
        """Where signal and noise sit on average, in log rank: 0 first, 1 behind the last.

        For each the part above its cumulative curve, scaled to end at 1. It asks for the place
        alone, where `index` also sees how much the features explain.
        """
        signal_R, noise_R = self.signal_R / self.signal_R.sum(), self.noise_R / self.noise_R.sum()
        return 1 - _log_area(signal_R.cumsum(0)), 1 - _log_area(noise_R.cumsum(0))

    @property
    def null_index(self) -> Tensor:
        """The same index with the noise permuted (Q,): as much of it, put where chance puts it.

        Each permutation is scaled to the noise's own total. Features that memorise noise
        explain far more of it than chance in any place; the question here is only where.
        """
        total = self.noise_R.sum()
        rows = [total / row_R.sum() * row_R for row_R in self.null_QR]
        areas = [_log_area(self.signal_R.cumsum(0) - row_R.cumsum(0)) for row_R in rows]
        return torch.tensor(areas, dtype=torch.float64)

    @property
    def p_value(self) -> float:
        """Share of permutations (counting the data) whose noise lies as far out as the data's.

        An exact permutation test of place. Small: the given labels' noise sits further down
        the spectrum than chance would put it. Large: it has been drawn into the leading
        directions. NaN without permutations.
        """
        if not len(self.null_QR):
            return float("nan")
        ties_count = self.null_index >= self.index - 1e-12
        return (1 + int(ties_count.sum())) / (1 + len(self.null_QR))

    @property
    def summary(self) -> SegregationIndex:
        """Index and p-value."""
        return SegregationIndex(self.index, self.p_value)

    def chance(self) -> Tensor:
        """Cumulative energy r / (n - 1) of labels independent of the features."""
        return torch.arange(1, len(self.noise_R) + 1, dtype=torch.float64) / (self.n - 1)


def permuted_within(given_N: Tensor, clean_N: Tensor, generator: torch.Generator) -> Tensor:
    """Given labels shuffled among the samples of one true class.

    Keeps how often each class is given for each true one, and breaks every other tie
    between given labels and features; batch by batch it is still a valid permutation.
    """
    shuffled_N = given_N.clone()
    for label in clean_N.unique():
        rows = torch.nonzero(clean_N == label).flatten()
        shuffled_N[rows] = given_N[rows[torch.randperm(len(rows), generator=generator)]]
    return shuffled_N


def _require_joint(moments: Statistics, names: Sequence[str]) -> None:
    for name in names:
        if name not in moments.joint:
            raise DataError(
                f"label set {name!r} is not among {sorted(moments.joint)}, which were counted "
                "against the first one",
                wanted="the true labels as the first label set, and the given ones after them",
                advice='Make them as Moments(..., label_sets=("clean", "given"))',
            )


def _energies(
    moments: Statistics, spectrum: Spectrum, names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """energy_i of the signal (R,) and of each label set's noise (S x R).

    From class sums and joint counts (true x given) alone. All label sets are as often given
    for each true class as the first: the signal is theirs, too.
    """
    joint_KK = moments.joint[names[0]].double()
    transition_KK = joint_KK / joint_KK.sum(1, keepdim=True).clamp(min=1)
    signal_norm, noise_norm = _norms(joint_KK, transition_KK, names[0])
    basis_DR = spectrum.directions()
    signal_DK = moments.deviations[moments.label_sets[0]].T @ transition_KK
    parts = [signal_DK, *(moments.deviations[name].T - signal_DK for name in names)]
    along_RSK = (basis_DR.T @ torch.cat(parts, 1)).unflatten(1, (len(parts), -1))
    variance_R = moments.n * spectrum.eigenvalues_D[: spectrum.rank]
    energy_SR = (along_RSK.square().sum(2) / variance_R[:, None]).T.cpu()
    return energy_SR[0] / signal_norm.cpu(), energy_SR[1:] / noise_norm.cpu()


def _norms(joint_KK: Tensor, transition_KK: Tensor, given: str) -> tuple[Tensor, Tensor]:
    """|S|^2 and |N|^2."""
    n, true_K1 = joint_KK.sum(), joint_KK.sum(1, keepdim=True)
    signal = (true_K1 * (transition_KK - joint_KK.sum(0) / n).square()).sum()
    noise = n - (true_K1 * transition_KK.square()).sum()
    if noise < 0.5:
        raise DataError(
            f"the label set {given!r} is a function of the true labels, without random noise",
            wanted="given labels of which some are wrong at random",
            advice="Segregation is only defined where there is noise to look for",
        )
    if signal < 1e-9:
        raise DataError(
            f"the label set {given!r} does not depend on the true labels",
            wanted="given labels of which some are right",
            advice="Segregation is only defined where there is a signal to look for",
        )
    return signal, noise


def _log_area(difference_R: Tensor) -> float:
    """Mean of a curve over log rank, its value at r taken from r to r + 1."""
    edges = torch.arange(1, len(difference_R) + 2, dtype=torch.float64).log()
    return float((difference_R * edges.diff()).sum() / edges[-1])
