"""When interpolating wrong labels is benign, and when it does harm.

Two Gaussian classes, true label y = ±1, x = y μ + z, z ~ N(0, I_d), n < d samples of which a share
η has the wrong label; w = X⁺ ỹ, the minimum-norm interpolator of the given labels. Its accuracy on
true labels is exactly Φ(w·μ / |w|). Bounds for classifiers of this kind are in Chatterji & Long
(2021) and, for two layers, in Cao et al. (2022) and Kou et al. (2023, arXiv 2303.04145); the
formula below is derived here, and a test compares it with what is measured.

Theory. Multiply each sample by its given label: w solves R w = 1 with R = a eᵀ + Z, e = μ / |μ|, Z
standard normal in the d - 1 directions orthogonal to e, a = |μ| s + N(0, I_n), s_i = ±1 for right
and wrong labels. With K = Z Zᵀ, R Rᵀ = K + a aᵀ, so by Sherman & Morrison

    w·μ = |μ| aᵀK⁻¹1 / (1 + aᵀK⁻¹a),    |w|² = 1ᵀK⁻¹1 - (aᵀK⁻¹1)² / (1 + aᵀK⁻¹a).

K is Wishart and independent of a: E K⁻¹ = I / κ, κ = d - n - 2. With aᵀ1 -> n ρ |μ|, ρ = 1 - 2 η,
and aᵀa -> n (|μ|² + 1), put q = κ + n (|μ|² + 1):

    accuracy = Φ(t),    t = ρ |μ|² sqrt(n κ / (q (q - n ρ² |μ|²))).

It holds for n >> 1 and d - n >> 1, at any ratio below 1, and for every signal (close to n = d it
is too low). Where n |μ|² << d, t is sqrt(n) ρ |μ|² / sqrt(d): the threshold between harmful and
benign is n ρ² |μ|⁴ = d. The mean of the signed samples, Xᵀ ỹ / n, instead has
t = sqrt(n) ρ |μ|² / sqrt(d + n ρ² |μ|²) (`averaging_accuracy`). For n << d the two agree without
wrong labels or with weak signals. With wrong labels and n |μ|² of the order of d they part: t of
the interpolator stops at ρ sqrt(κ / (n (1 - ρ²))) however strong the signal, the price of fitting
the wrong labels.

Legend: B seeds, N samples, D inputs, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tailcut.errors import TailcutError
from tailcut.lab.theory.gaussians import Data, Row, fresh, points, require, row

FRESH = 2000
START = 0.3
WIDTH, MARGIN = 40, 1.0


def predicted_accuracy(rate: float, n: int, d: int, signal: float) -> float:
    """Accuracy of the minimum-norm interpolator by theory (see the module).

    Raises:
        DataError: See `accuracy_grid`.
    """
    require(rate, n, d, signal)
    rho, kappa, power = 1 - 2 * rate, d - n - 2, signal**2
    q = kappa + n * (power + 1)
    return _normal(rho * power * math.sqrt(n * kappa / (q * (q - n * rho**2 * power))))


def averaging_accuracy(rate: float, n: int, d: int, signal: float) -> float:
    """Accuracy by theory of the mean of the signed samples, which interpolates nothing.

    Raises:
        DataError: See `accuracy_grid`.
    """
    require(rate, n, d, signal)
    rho, power = 1 - 2 * rate, signal**2
    return _normal(math.sqrt(n) * rho * power / math.sqrt(d + n * rho**2 * power))


def accuracy_grid(
    rates: Sequence[float],
    samples: Sequence[int],
    dimensions: Sequence[int],
    signal: Sequence[float],
    seeds: Sequence[int],
) -> list[Row]:
    """The minimum-norm interpolator at every point of a grid, measured and by theory.

    Exactly round(rate * n) labels are wrong, so that the share does not differ between seeds.

    Args:
        rates: Shares of wrong labels, 0 to 1/2.
        samples: Numbers of training samples n.
        dimensions: Numbers of inputs d, each above every n + 2.
        signal: Lengths of μ.
        seeds: Of samples and flips.

    Raises:
        DataError: A point outside these ranges; no seeds.
    """
    rows = []
    for rate, n, d, length in points(rates, samples, dimensions, signal):
        exact = round(rate * n) / n
        theory = predicted_accuracy(exact, n, d, length)
        rows.append(row((rate, n, d, length), theory, seeds, _interpolator))
    return rows


def two_layer_accuracy(
    rates: Sequence[float],
    samples: Sequence[int],
    dimensions: Sequence[int],
    signal: Sequence[float],
    seeds: Sequence[int],
    *,
    steps: int = 2000,
) -> list[Row]:
    """The same grid for sum_h a_h relu(w_h·x), a_h = ±1 / sqrt(40) fixed, the 40 w_h trained.

    From w_h ~ 0.3 N(0, I / d), gradient descent on the summed logistic loss of the given labels
    with step size 1 / d, until ỹ f(x) >= 1 on every training sample: all of them, right or
    wrong, are learned. Measured on 2000 fresh samples. There is no theory value.

    Raises:
        DataError: A point outside the ranges of `accuracy_grid`; no seeds.
        TailcutError: Labels that are not learned within `steps`.
    """

    def measure(data: Data) -> float:
        return _two_layer(data, steps)

    return [
        row(point, None, seeds, measure) for point in points(rates, samples, dimensions, signal)
    ]


def _interpolator(data: Data) -> float:
    """Exact accuracy of X⁺ ỹ."""
    gram_NN = data.inputs_ND @ data.inputs_ND.T
    weight_D = data.inputs_ND.T @ torch.linalg.solve(gram_NN, data.given_N)
    return _normal(data.signal * float(weight_D[0] / weight_D.norm()))


def _two_layer(data: Data, steps: int) -> float:
    d = data.inputs_ND.shape[1]
    start_HD = torch.randn(WIDTH, d, generator=data.generator, dtype=torch.float64)
    inner_HD = start_HD * START / d**0.5
    outer_H = torch.ones(WIDTH, dtype=torch.float64) / WIDTH**0.5
    outer_H[1::2] *= -1
    for _ in range(steps):
        hidden_NH = data.inputs_ND @ inner_HD.T
        margins_N = data.given_N * (hidden_NH.relu() @ outer_H)
        if margins_N.min() >= MARGIN:
            inputs_ND, true_N = fresh(FRESH, d, data.signal, data.generator)
            outputs_N = (inputs_ND @ inner_HD.T).relu() @ outer_H
            return float((outputs_N * true_N > 0).double().mean())
        pull_N = data.given_N * torch.sigmoid(-margins_N)
        pull_NH = pull_N[:, None] * (hidden_NH > 0) * outer_H
        inner_HD = inner_HD + pull_NH.T @ data.inputs_ND / d
    raise TailcutError(
        f"{len(data.given_N)} labels were not all learned with margin {MARGIN} in {steps} steps",
        wanted="an interpolating network",
        advice="Raise steps, or take fewer samples",
    )


def _normal(t: float) -> float:
    """Φ, the standard normal distribution function."""
    return (1 + math.erf(t / math.sqrt(2))) / 2
