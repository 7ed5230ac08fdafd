"""Label-free reference ranks: reported beside the chosen rank, never used to choose it.

They ask which directions stand out from white noise. Features of a trained network are so
strongly correlated that at N >> D nearly all of them do, so these ranks are upper marks.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tailcut.numerics.draws import numpy_generator
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics

_PARALLEL = 1024
"""The widest features for which parallel analysis takes seconds only."""


def reference_ranks(moments: Statistics, spectrum: Spectrum) -> dict[str, int]:
    """All of them by name; parallel analysis for features of up to 1 024 only."""
    ranks = {
        "Marchenko-Pastur": marchenko_pastur_rank(spectrum),
        "Gavish-Donoho": gavish_donoho_rank(spectrum),
    }
    if moments.width <= _PARALLEL:
        ranks["parallel analysis"] = parallel_analysis_rank(moments)
    return ranks


def marchenko_pastur_rank(spectrum: Spectrum) -> int:
    """Eigenvalues above the edge sigma^2 (1 + sqrt(beta))^2 of white noise.

    sigma^2 = median eigenvalue / median of the Marchenko-Pastur law (1967); beta is the
    aspect ratio, at most 1, of samples (n - 1) against directions that vary. The edge is an
    asymptotic one: the largest eigenvalue of white noise crosses it in one sample of six
    (Tracy & Widom 1996).
    """
    if not spectrum.rank:
        return 0
    values_R, beta = _nonzero(spectrum)
    edge = (1 + math.sqrt(beta)) ** 2 * values_R.quantile(0.5) / marchenko_pastur_median(beta)
    return int((values_R > edge).sum())


def gavish_donoho_rank(spectrum: Spectrum) -> int:
    """Singular values above lambda(beta) / sqrt(mu_beta) times their median.

    The optimal hard threshold for an unknown noise level (Gavish & Donoho 2014, eq. 4 and 11),
    with the exact lambda(beta) = sqrt(2 (beta + 1) + 8 beta / (beta + 1 + sqrt(beta^2 + 14
    beta + 1))) and mu_beta the Marchenko-Pastur median, not the cubic approximation.
    """
    if not spectrum.rank:
        return 0
    values_R, beta = _nonzero(spectrum)
    root = math.sqrt(beta**2 + 14 * beta + 1)
    threshold = math.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + root))
    threshold /= math.sqrt(marchenko_pastur_median(beta))
    singular_R = values_R.sqrt()
    return int((singular_R > threshold * singular_R.quantile(0.5)).sum())


def parallel_analysis_rank(
    moments: Statistics, *, draws: int = 20, quantile: float = 0.95, seed: int = 0
) -> int:
    """Leading eigenvalues that exceed those of independent features (Horn 1965).

    The null has the features' own variances, no correlation, and as many samples: a Wishart
    matrix, drawn from its Bartlett factor, so that no feature matrix is needed.

    Args:
        moments: Of the features.
        draws: Null matrices.
        quantile: Of the null eigenvalues at each place (0.95: Glorfeld 1995).
        seed: Of the draws.

    Raises:
        DataError: Fewer than two samples.
    """
    eigenvalues_D = Spectrum.of(moments).eigenvalues_D.cpu()
    scale_D1 = (moments.scatter_DD.diagonal() / moments.n).sqrt().cpu()[:, None]
    random, freedom = numpy_generator(seed, "parallel analysis"), moments.n - 1
    factors = (_wishart_factor(moments.width, freedom, random) for _ in range(draws))
    singular_QD = torch.stack([torch.linalg.svdvals(scale_D1 * factor) for factor in factors])
    floor_D = (singular_QD.square() / freedom).quantile(quantile, dim=0)
    below_D = eigenvalues_D[: len(floor_D)] <= floor_D
    return int(below_D.int().argmax()) if below_D.any() else len(floor_D)


def marchenko_pastur_median(beta: float) -> float:
    """Median of the Marchenko-Pastur law of aspect ratio beta in (0, 1] and variance 1."""
    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2
    angle = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)[1:-1]
    x = low + (high - low) * (1 - angle.cos()) / 2
    mass = ((high - x) * (x - low)).sqrt() / x * angle.sin()
    cumulative = mass.cumsum(0) / mass.sum()
    return float(x[torch.searchsorted(cumulative, torch.tensor(0.5, dtype=torch.float64))])


def _nonzero(spectrum: Spectrum) -> tuple[Tensor, float]:
    """Eigenvalues of the directions that vary, and their aspect ratio against the samples."""
    freedom, rank = spectrum.n - 1, spectrum.rank
    varying = rank if rank < freedom else spectrum.width
    return spectrum.eigenvalues_D[:rank], min(varying, freedom) / max(varying, freedom)


def _wishart_factor(width: int, freedom: int, random: np.random.Generator) -> Tensor:
    """A matrix F with F F^T ~ Wishart(freedom, I): Bartlett's factor, or plain Gaussians.

    Drawn by numpy, whose chi-squared takes a generator; torch's does not.
    """
    if freedom < width:
        return torch.from_numpy(random.standard_normal((width, freedom)))
    chi_squared_D = random.chisquare(np.arange(freedom, freedom - width, -1))
    lower_DD = np.tril(random.standard_normal((width, width)), -1)
    return torch.from_numpy(lower_DD + np.diag(np.sqrt(chi_squared_D)))
