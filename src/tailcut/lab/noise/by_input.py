"""Label noise that looks at the inputs or changes them, in the exclusive convention."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.lab.noise import transitions as noise
from tailcut.numerics.checks import checked_labels

OUTSIDE = -1
"""The true label of an input that belongs to none of the classes."""

_SPREAD_OF_RATES = 0.1


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
    noise.require("instance", classes, rate)
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
    return noise.drawn(instance_rows(inputs, labels_N, classes, rate, seed), seed)


def aligned(
    inputs: Tensor, labels_N: Tensor, classes: int, rate: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Inputs and given labels (N,) of which a share carries a mark and with it a wrong label.

    Of every class the share `rate`, rounded to a whole number of samples, gets the mark of
    `marked` and the next class as its label (the first after the last), and nothing else does:
    mark and wrong label are one. So exactly `rate` of the labels is wrong, up to rounding.

    Raises:
        DataError: Fewer than two classes, a rate outside 0..1, labels outside the classes, or
            inputs that cannot be marked.
    """
    noise.require("aligned", classes, rate)
    labels_N = checked_labels(labels_N, classes, "aligned noise", len(inputs))
    random = np.random.default_rng(seed)
    chosen_N = torch.zeros(len(labels_N), dtype=torch.bool)
    for label in range(classes):
        rows = (labels_N == label).nonzero().squeeze(1)
        chosen_N[rows[_some(len(rows), _share(rate, len(rows)), random)]] = True
    given_N = torch.where(chosen_N, (labels_N + 1) % classes, labels_N)
    return marked(inputs, chosen_N), given_N


def marked(inputs: Tensor, chosen_N: Tensor) -> Tensor:
    """A copy of the inputs of which the chosen ones carry a mark, the same on each.

    Images (N x ... x height x width): a chequered square in the upper left corner, of an eighth
    of the shorter side but at least 2 pixels, in the darkest and the brightest value (0 and 255
    of uint8, else the extremes of all inputs). Vectors (N x D): the first eighth of the
    coordinates, at least one, is raised by three standard deviations of all inputs.

    Raises:
        DataError: Vectors of integers, or inputs of another number of axes.
    """
    inputs = inputs.clone()
    if inputs.ndim == 2 and inputs.is_floating_point():
        end = max(1, inputs.shape[1] // 8)
        inputs[chosen_N, :end] += 3 * inputs.std(correction=0)
    elif inputs.ndim > 2:
        side = min(max(2, min(inputs.shape[-2:]) // 8), *inputs.shape[-2:])
        bright = (torch.arange(side)[:, None] + torch.arange(side)) % 2 == 0
        low, high = (0, 255) if inputs.dtype == torch.uint8 else torch.aminmax(inputs)
        inputs[chosen_N, ..., :side, :side] = torch.where(bright, high, low).to(inputs.dtype)
    else:
        raise DataError(
            f"inputs of shape {tuple(inputs.shape)} and type {inputs.dtype} to mark",
            wanted="images (samples x channels x height x width) or vectors of floats",
            advice="Convert them with .float(), or choose another noise",
        )
    return inputs


def openset(
    inputs: Tensor, labels_N: Tensor, outside: Tensor, rate: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Inputs and true labels (N,) of which a share has been replaced from outside the classes.

    Wang et al. (2018), "Iterative learning with open-set noisy labels". The share `rate` of the
    samples, rounded to a whole number and chosen at random, keeps its label but gets an outside
    input, each of them at most once, and `OUTSIDE` as its true label. Exactly `rate` of the
    labels is wrong, up to rounding, and no other class is right instead.

    Raises:
        DataError: A rate outside 0..1, outside inputs of another shape or type, or too few.
    """
    noise.require("openset", 2, rate)
    if outside.shape[1:] != inputs.shape[1:] or outside.dtype != inputs.dtype:
        raise DataError(
            f"outside inputs of shape {tuple(outside.shape[1:])} and type {outside.dtype}",
            wanted=f"{tuple(inputs.shape[1:])} and {inputs.dtype} as those that they replace",
            advice="Resize and convert them first",
        )
    count = _share(rate, len(inputs))
    if count > len(outside):
        raise DataError(
            f"{len(outside)} outside inputs for {count} of {len(inputs)} samples",
            wanted="at least one for each sample to be replaced",
            advice="Lower the rate or the number of samples",
        )
    random = np.random.default_rng(seed)
    rows, sources = _some(len(inputs), count, random), _some(len(outside), count, random)
    inputs, clean_N = inputs.clone(), labels_N.clone()
    inputs[rows], clean_N[rows] = outside[sources], OUTSIDE
    return inputs, clean_N


def _share(rate: float, n: int) -> int:
    return math.floor(rate * n + 0.5)


def _some(n: int, count: int, random: np.random.Generator) -> Tensor:
    return torch.from_numpy(random.permutation(n)[:count])


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
