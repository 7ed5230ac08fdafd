"""Wrong labels that follow from the input."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tailcut.lab.noise.drawing import drawn
from tailcut.lab.noise.kinds import KINDS, Noise, require
from tailcut.lab.samples import Samples
from tailcut.numerics.checks import checked_labels

_SPREAD_OF_RATES = 0.1


@KINDS.register("instance")
class Instance(Noise):
    """Another class by the input."""

    def corrupt(
        self, samples: Samples, seed: int, *, classes: int, outside: Samples | None = None
    ) -> Samples:
        """See `Noise.corrupt`."""
        true_N = samples.true_N
        return samples.annotated(instance(samples.inputs, true_N, classes, self.rate, seed))


def instance_rows(inputs: Tensor, labels_N: Tensor, classes: int, rate: float, seed: int) -> Tensor:
    """Probabilities (N x K) of the given labels that depend on each input.

    Xia et al. (2020), "Part-dependent label noise", Algorithm 2. Sample i of class z is wrong with
    probability q_i, drawn from a normal distribution of mean `rate` and standard deviation 0.1 cut
    to 0..1; which wrong label it gets has the probabilities softmax(x_i W_z) over the other
    classes, W_z (D x K) standard normal, and x_i flattened after standardisation along axis 1
    (channels of images, features of vectors; constant ones become 0).

    The share of wrong labels is `rate` for rates from 0.3 to 0.7; nearer to 0 or 1 the cut moves
    it inwards, by 0.006 at 0.2. Logits have a standard deviation of about sqrt(D), so nearly always
    one class takes all, and the wrong label is a function of the input. Deviation: a rate of 0
    leaves all labels as they are.

    Args:
        inputs: N x ..., any width.
        labels_N: True labels 0..K-1.
        classes: K.
        rate: See above.
        seed: Of the rates and projections.

    Raises:
        DataError: Fewer than two classes, a rate outside 0..1, or labels outside the classes.
    """
    require("instance", classes, rate)
    labels_N = checked_labels(labels_N, classes, "instance noise", len(inputs))
    random = np.random.default_rng((seed, 1))  # the labels themselves are drawn by another one
    wrong_N = _normal_within_unit(random.random(len(inputs)), rate)
    features_ND = _standardised(inputs)
    rows_NK = torch.zeros(len(inputs), classes, dtype=torch.float64)
    for label in range(classes):
        projection_DK = torch.from_numpy(
            random.standard_normal((features_ND.shape[1], classes), np.float32)
        )
        of_class_N = labels_N == label
        logits = (features_ND[of_class_N] @ projection_DK).double()
        logits[:, label] = -math.inf
        rows_NK[of_class_N] = wrong_N[of_class_N, None] * logits.softmax(1)
        rows_NK[of_class_N, label] = 1 - wrong_N[of_class_N]
    return rows_NK


def instance(inputs: Tensor, labels_N: Tensor, classes: int, rate: float, seed: int) -> Tensor:
    """Given labels (N,) drawn from `instance_rows`; arguments and errors are the same."""
    return drawn(instance_rows(inputs, labels_N, classes, rate, seed), seed)


def _normal_within_unit(uniform_N: np.ndarray, rate: float) -> Tensor:
    """Quantiles of the normal distribution of mean `rate` cut to 0..1; all 0 at rate 0."""
    if rate == 0:
        return torch.zeros(len(uniform_N), dtype=torch.float64)
    from scipy.stats import truncnorm

    low, high = (edge - rate for edge in (0, 1))
    quantiles_N = truncnorm.ppf(
        uniform_N, low / _SPREAD_OF_RATES, high / _SPREAD_OF_RATES, rate, _SPREAD_OF_RATES
    )
    return torch.from_numpy(quantiles_N).clamp(0, 1)


def _standardised(inputs: Tensor) -> Tensor:
    values = inputs.float().reshape(*inputs.shape[:2], -1)
    deviation, mean = torch.std_mean(values, (0, 2), correction=0, keepdim=True)
    return ((values - mean) / deviation.where(deviation > 0, 1)).flatten(1)
