"""The slow, obvious twin of every fast algorithm, and data with a planted answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tailcut.numerics.moments import Moments


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    """Every helper here draws from seeds of its own: one stream read twice is correlated."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_of(n: int, classes: int, seed: int = 0) -> Tensor:
    """Random labels in which every class occurs, if there are samples enough."""
    generator = torch.Generator().manual_seed(seed + 1_000_000)
    labels_N = torch.arange(n) % classes
    return labels_N[torch.randperm(n, generator=generator)]


def blobs(labels_N: Tensor, width: int, *, apart: float = 2.0, seed: int = 0) -> Tensor:
    """Gaussian classes of one random covariance, `apart` within-class spreads from another.

    Class means and covariance do not depend on the seed, so that two seeds give two samples
    of the same problem.
    """
    classes = int(labels_N.max()) + 1
    mixing_DD = gaussian(width, width, seed=1000) / math.sqrt(width) + torch.eye(width)
    means_KD = apart * gaussian(classes, width, seed=1001) + 3
    return means_KD[labels_N] + gaussian(len(labels_N), width, seed=seed) @ mixing_DD


def features_with(
    eigenvalues_D: Tensor, n: int, *, mean_D: Tensor | float = 0.0, seed: int = 0
) -> Tensor:
    """Features whose covariance (divided by n) has exactly these eigenvalues."""
    width = len(eigenvalues_D)
    centred_ND = gaussian(n, width, seed=seed)
    orthonormal_ND, _ = torch.linalg.qr(centred_ND - centred_ND.mean(0))
    basis_DD, _ = torch.linalg.qr(gaussian(width, width, seed=seed + 1))
    return math.sqrt(n) * orthonormal_ND * eigenvalues_D.sqrt() @ basis_DD.T + mean_D


def flipped(labels_N: Tensor, classes: int, rate: float, seed: int = 0) -> Tensor:
    """Each label replaced by another class with probability `rate`."""
    generator = torch.Generator().manual_seed(seed + 2_000_000)
    shift_N = torch.randint(1, classes, labels_N.shape, generator=generator)
    wrong_N = torch.rand(labels_N.shape, generator=generator) < rate
    return torch.where(wrong_N, (labels_N + shift_N) % classes, labels_N)


def moments_of(features_ND: Tensor, classes: int, **labels: Tensor) -> Moments:
    """All samples in one batch."""
    return Moments(features_ND.shape[1], classes, tuple(labels)).update(features_ND, **labels)


def one_hot(labels_N: Tensor, classes: int) -> Tensor:
    return torch.eye(classes, dtype=torch.float64)[labels_N]


@dataclass
class TwoPass:
    """Moments by their definition, one label set at a time."""

    mean_D: np.ndarray
    scatter_DD: np.ndarray
    counts_K: np.ndarray
    means_KD: np.ndarray
    deviations_KD: np.ndarray
    within_DD: np.ndarray

    @classmethod
    def of(cls, features_ND: Tensor, labels_N: Tensor, classes: int) -> TwoPass:
        x_ND, y_N = features_ND.double().numpy(), labels_N.numpy()
        mean_D = x_ND.mean(0)
        members = [x_ND[y_N == k] for k in range(classes)]
        means_KD = np.stack([x.mean(0) if len(x) else mean_D for x in members])
        return cls(
            mean_D,
            (x_ND - mean_D).T @ (x_ND - mean_D),
            np.array([len(x) for x in members]),
            means_KD,
            np.stack([(x - mean_D).sum(0) for x in members]),
            sum((x - m).T @ (x - m) for x, m in zip(members, means_KD, strict=True)),
        )


def joint_counts(true_N: Tensor, given_N: Tensor, classes: int) -> Tensor:
    joint_KK = torch.zeros(classes, classes, dtype=torch.int64)
    for true, given in zip(true_N.tolist(), given_N.tolist(), strict=True):
        joint_KK[true, given] += 1
    return joint_KK


def principal_basis(features_ND: Tensor, rank: int) -> Tensor:
    """scikit-learn's leading principal directions as columns."""
    from sklearn.decomposition import PCA

    found = PCA(rank, svd_solver="full").fit(features_ND.numpy())
    return torch.from_numpy(found.components_.T.copy())


@dataclass
class Refit:
    """A readout fitted anew in the leading directions of one rank, by scikit-learn.

    Logits may differ from ours by what is the same for all classes of a sample: compare
    them with `centred`.
    """

    features_ND: Tensor
    labels_N: Tensor
    basis_DR: Tensor

    def scores(self, features_ND: Tensor) -> np.ndarray:
        return ((features_ND - self.features_ND.mean(0)) @ self.basis_DR).numpy()

    def ridge(self, asked_ND: Tensor, penalty: float = 1e-6) -> Tensor:
        from sklearn.linear_model import Ridge

        n, width = self.features_ND.shape
        alpha = n * penalty * float(self.features_ND.var(0, correction=0).sum()) / width
        onehot_NK = one_hot(self.labels_N, int(self.labels_N.max()) + 1).numpy()
        fitted = Ridge(alpha).fit(self.scores(self.features_ND), onehot_NK)
        return torch.from_numpy(fitted.predict(self.scores(asked_ND)))

    def lda(self, asked_ND: Tensor, shrinkage: float = 0.1) -> Tensor:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        whole = TwoPass.of(self.features_ND, self.labels_N, int(self.labels_N.max()) + 1)
        target = np.trace(whole.within_DD) / self.features_ND.numel()
        covariance = ShrunkTo(shrinkage, target)
        fitted = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=covariance)
        fitted.fit(self.scores(self.features_ND), self.labels_N.numpy())
        return torch.from_numpy(fitted.decision_function(self.scores(asked_ND)))

    def centroid(self, asked_ND: Tensor) -> Tensor:
        """Minus half the squared distance to the class means that scikit-learn finds."""
        from sklearn.neighbors import NearestCentroid

        fitted = NearestCentroid().fit(self.scores(self.features_ND), self.labels_N.numpy())
        gaps_NKR = self.scores(asked_ND)[:, None] - fitted.centroids_
        return torch.from_numpy(-0.5 * (gaps_NKR**2).sum(2))


class ShrunkTo:
    """A covariance estimator for scikit-learn: (1 - s) S + s target I, with target given.

    The target is the mean variance of the full space, so that shrinking and then cutting is
    what a refit in the leading directions does too.
    """

    def __init__(self, shrinkage: float, target: float) -> None:
        self.shrinkage, self.target = shrinkage, target

    def fit(self, x_NR: np.ndarray) -> ShrunkTo:
        empirical_RR = np.cov(x_NR.T, bias=True).reshape(x_NR.shape[1], -1)
        target_RR = self.target * np.eye(len(empirical_RR))
        self.covariance_ = (1 - self.shrinkage) * empirical_RR + self.shrinkage * target_RR
        return self


def projected_logits(
    features_ND: Tensor, basis_DR: Tensor, mean_D: Tensor, weight_KD: Tensor, bias_K: Tensor
) -> Tensor:
    """The head on features that have been projected explicitly."""
    projector_DD = basis_DR @ basis_DR.T
    return ((features_ND - mean_D) @ projector_DD + mean_D) @ weight_KD.T + bias_K


def without_bias(
    features_ND: Tensor, logits_NK: Tensor, basis_DR: Tensor, weight_KD: Tensor, shrinkage: float
) -> Tensor:
    """The weight (K x D) without a bias whose logits are nearest to W h + b, by least squares.

    Only u in W + b u^T is fitted, in the leading directions, so that u.h is nearly 1; b is what
    W h leaves of the logits, up to what is the same for all classes. Shrinkage adds samples.
    """
    n, width = features_ND.shape
    bias_K = (logits_NK - features_ND @ weight_KD.T).mean(0)
    bias_K = bias_K - bias_K.mean()
    inside_NR = features_ND @ basis_DR
    extra = n * shrinkage / (1 - shrinkage) * features_ND.square().sum() / n / width
    rows_MR = torch.cat([inside_NR, extra.sqrt() * torch.eye(inside_NR.shape[1]).double()])
    ones_M = torch.cat(
        [torch.full((n,), 1 / (1 - shrinkage), dtype=torch.float64), torch.zeros(len(rows_MR) - n)]
    )
    direction_R = torch.linalg.lstsq(rows_MR, ones_M[:, None]).solution[:, 0]
    return weight_KD + torch.outer(bias_K, basis_DR @ direction_R)


def centred(logits_NK: Tensor) -> Tensor:
    return logits_NK - logits_NK.mean(1, keepdim=True)


def label_energies(
    features_ND: Tensor, true_N: Tensor, given_N: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Energies of signal and noise along every left singular vector of the features."""
    onehot_NK = one_hot(given_N, classes)
    expected_NK = torch.stack([onehot_NK[true_N == label].mean(0) for label in true_N])
    centred_ND = features_ND - features_ND.mean(0)
    left_NR, singular_R, _ = torch.linalg.svd(centred_ND, full_matrices=False)
    left_NR = left_NR[:, singular_R > 1e-9 * singular_R[0]]
    parts = expected_NK - onehot_NK.mean(0), onehot_NK - expected_NK
    signal_R, noise_R = ((left_NR.T @ y).square().sum(1) / y.square().sum() for y in parts)
    return signal_R, noise_R


def marchenko_pastur_median(beta: float) -> float:
    """By quadrature of the density and bisection."""
    from scipy.integrate import quad
    from scipy.optimize import brentq

    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2

    def density(x: float) -> float:
        return math.sqrt(max((high - x) * (x - low), 0)) / (2 * math.pi * beta * x)

    return brentq(lambda x: quad(density, low, x)[0] - 0.5, low + 1e-9, high)


def true_label_loss(logits_K: list[float], chance_K: list[float], temperature: float) -> float:
    """-log sum_z softmax(logits / t)_z P(given | z)."""
    scaled = [math.exp((logit - max(logits_K)) / temperature) for logit in logits_K]
    told = sum(s * chance for s, chance in zip(scaled, chance_K, strict=True))
    return -math.log(told / sum(scaled))


def log_loss(logits_K: list[float], label: int, temperature: float) -> float:
    scaled = [logit / temperature for logit in logits_K]
    return math.log(sum(math.exp(s - max(scaled)) for s in scaled)) + max(scaled) - scaled[label]


def banded_ridge_without(
    features_ND: Tensor, labels_N: Tensor, row: int, band: tuple[int, int], penalty: float
) -> Tensor:
    """Ridge refitted without one sample, in directions of all: its logits for that sample."""
    classes = int(labels_N.max()) + 1
    n, width = features_ND.shape
    mean_D = features_ND.double().mean(0)
    centred_ND = features_ND.double() - mean_D
    kappa = penalty * centred_ND.square().sum() / n / width
    basis_DB = principal_basis(features_ND, width)[:, band[0] : band[1]]
    others = [i for i in range(n) if i != row]
    z_NB, y_NK = centred_ND @ basis_DB, one_hot(labels_N, classes)
    z_mean_B, y_mean_K = z_NB[others].mean(0), y_NK[others].mean(0)
    left, right = z_NB[others] - z_mean_B, y_NK[others] - y_mean_K
    weight_BK = torch.linalg.solve(
        left.T @ left + n * kappa * torch.eye(left.shape[1], dtype=torch.float64), left.T @ right
    )
    return y_mean_K + (z_NB[row] - z_mean_B) @ weight_BK


def told_by_refits(features_ND: Tensor, labels_N: Tensor, band: tuple[int, int]) -> Tensor:
    """What the probe of a band says of every sample when refitted without it: class (N,)."""
    rows = range(len(features_ND))
    logits = [banded_ridge_without(features_ND, labels_N, row, band, 1e-6) for row in rows]
    return torch.stack(logits).argmax(1)


def truncated_change(start_GOP: Tensor, end_GOP: Tensor, rank: int) -> Tensor:
    """Start and the leading singular directions of each group's change, by plain SVDs."""
    kept = []
    for start_OP, end_OP in zip(start_GOP, end_GOP, strict=True):
        left, values, right = torch.linalg.svd((end_OP - start_OP).double(), full_matrices=False)
        change_OP = left[:, :rank] @ torch.diag(values[:rank]) @ right[:rank]
        kept.append((start_OP.double() + change_OP).to(end_OP.dtype))
    return torch.stack(kept)
