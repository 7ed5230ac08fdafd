"""How much label noise there is, and from which class to which."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.errors import DataError


@dataclass(frozen=True, eq=False)
class Noise:
    """Estimated label noise, in the exclusive convention: wrong labels are other classes.

    Attributes:
        rate: Share of wrong labels, 0..1.
        transition_KK: T[z, y] = P(given y | true z); rows sum to 1.
    """

    rate: float
    transition_KK: Tensor


def anchor_noise(probabilities_NK: Tensor, given_N: Tensor, *, share: float = 0.1) -> Noise:
    """Noise read off at anchor points: where the prediction is surest, the truth is known.

    For each class z the `share` of the samples predicted as z with the highest probability
    are taken to be of class z, and T[z, :] is how often each label is given there (Liu & Tao
    2016; Patrini et al. 2017). The rate weighs the classes as they are predicted. A class
    that is never predicted counts as free of noise.

    Two biases: where even the surest predictions err, errors count as noise; where the
    network still remembers given labels, it agrees with wrong ones, and noise is missed.

    Args:
        probabilities_NK: Predicted without the sample's own label (held out or cross-fitted).
        given_N: Given labels.
        share: Of each predicted class used as anchors, at least 10 samples where there are.

    Raises:
        DataError: No samples.
    """
    n, classes = probabilities_NK.shape
    if n == 0:
        raise DataError("no samples", wanted="at least one", advice="Bring samples to judge")
    sureness_N, predicted_N = probabilities_NK.max(1)
    transition_KK = torch.eye(classes, dtype=torch.float64)
    for label in predicted_N.unique().tolist():
        here_N = torch.nonzero(predicted_N == label).flatten()
        most = max(10, round(share * len(here_N)))
        anchors_N = here_N[sureness_N[here_N].argsort(descending=True)[:most]]
        counts_K = torch.bincount(given_N[anchors_N], minlength=classes).double()
        transition_KK[label] = counts_K / counts_K.sum()
    shares_K = torch.bincount(predicted_N, minlength=classes).double() / n
    return Noise(float(1 - (shares_K * transition_KK.diagonal()).sum()), transition_KK)


def confident_joint(probabilities_NK: Tensor, given_N: Tensor) -> Tensor:
    """Counts C[given, likely true] of confidently predicted samples (K x K, int64).

    A sample counts for the class of highest probability among those above their own mean
    probability over the samples that carry their label (Northcutt, Jiang & Chuang 2021, eq.
    1), uncalibrated.
    """
    classes = probabilities_NK.shape[1]
    counts_K = torch.bincount(given_N, minlength=classes)
    own_N = probabilities_NK.gather(1, given_N[:, None])[:, 0].double()
    sums_K = torch.zeros(classes, dtype=torch.float64).index_add_(0, given_N, own_N)
    thresholds_K = torch.where(counts_K > 0, sums_K / counts_K.clamp(min=1), torch.inf)
    above_NK = probabilities_NK >= thresholds_K - 1e-6
    likely_N = torch.where(above_NK, probabilities_NK, -1).argmax(1)
    confident_N = above_NK.any(1)
    cells_N = given_N[confident_N] * classes + likely_N[confident_N]
    return torch.bincount(cells_N, minlength=classes**2).reshape(classes, classes)
