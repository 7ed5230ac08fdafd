"""Label scores of others: how much each training label is suspected, from one trained network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tailcut.lab.baselines.subject import Subject

_PROJECTIONS = 10
"""Of ALED: its default number of ensembles."""


def aled(subject: Subject) -> Tensor:
    """ALED: adaptive label error detection (Chaudhry et al., 2601.10084), on penultimate features.

    Returns:
        See `probability_wrong`.
    """
    return probability_wrong(*subject.train_features, subject.head.classes)


def probability_wrong(features_ND: Tensor, given_N: Tensor, classes: int) -> Tensor:
    """Probability (N,) that a label is wrong, by Gaussian classes in few directions.

    Features are projected on what the class means differ in and on one random direction; each
    class is a Gaussian there, its mean and covariance by the minimum covariance determinant, so
    that its wrong labels do not widen it. 1 - p_y N_y / sum_k p_k N_k with the densities averaged
    over ten random directions, p the shares of the given labels.

    Deviations: the paper and its package `statlab` know two classes, whose means differ in one
    direction; here are the K - 1 directions that all class means span, orthonormal, which is the
    paper's for K = 2. Features are those that the head receives, after their activation. The
    package's licence admits no commercial use, so it is not called.

    Args:
        features_ND: Of the training samples.
        given_N: Their labels 0..K-1, each with more than K + 1 samples.
        classes: K.
    """
    features_ND = features_ND.double()
    spanned_DR = _between(features_ND, given_N, classes)
    generator = torch.Generator().manual_seed(0)
    total_NK = torch.full((len(given_N), classes), -math.inf, dtype=torch.float64)
    for _ in range(_PROJECTIONS):
        random_D1 = torch.randn(len(spanned_DR), 1, generator=generator, dtype=torch.float64)
        projected_NR = features_ND @ torch.cat([spanned_DR, random_D1], 1)
        density_NK = torch.stack(
            [_log_density(projected_NR, given_N == k) for k in range(classes)], 1
        )
        total_NK = torch.logaddexp(total_NK, density_NK)
    prior_K = given_N.bincount(minlength=classes).double() / len(given_N)
    posterior_NK = (total_NK + prior_K.log()).softmax(1)
    return 1 - posterior_NK.gather(1, given_N[:, None])[:, 0]


def _between(features_ND: Tensor, given_N: Tensor, classes: int) -> Tensor:
    """Orthonormal directions (D x R, R <= K - 1) that the class means differ in."""
    means_KD = torch.stack([features_ND[given_N == k].mean(0) for k in range(classes)])
    centred_KD = means_KD - means_KD.mean(0)
    _, lengths_R, right_RD = torch.linalg.svd(centred_KD, full_matrices=False)
    return right_RD[lengths_R > 1e-9 * lengths_R[0]].T


def _log_density(projected_NR: Tensor, of_class_N: Tensor) -> Tensor:
    """Of every sample under the Gaussian of one class, log, (N,)."""
    from sklearn.covariance import MinCovDet

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a determinant that rises by rounding
        warnings.simplefilter("ignore", UserWarning)  # a covariance of less than full rank
        fit: Any = MinCovDet(random_state=0).fit(projected_NR[of_class_N].numpy())
    distance_N = torch.from_numpy(fit.mahalanobis(projected_NR.numpy()))
    spread = torch.linalg.slogdet(torch.from_numpy(fit.covariance_)).logabsdet
    return -0.5 * (distance_N + spread + projected_NR.shape[1] * math.log(2 * math.pi))


SCORES: dict[str, Callable[[Subject], Tensor]] = {"ALED": aled}
"""Scores (N,) of the training labels, larger is worse, by name."""
