"""The models of known theory beside the claims, and the threshold where theory has one."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from tailcut.lab.claims.findings import Finding, Test
from tailcut.lab.claims.results import difference
from tailcut.lab.theory import balance, benign, sparse
from tailcut.lab.theory.seeds import SEEDS


def known_models() -> list[Finding]:
    """Findings of the experiments whose theory is known, in seconds."""
    return [sparse_recovery(), balance_law(), benign_threshold()]


def sparse_recovery() -> Finding:
    """Label noise against Gaussian noise (HaoChen, Wei, Lee & Ma 2020)."""
    label = sparse.recover("label").distance_B
    gaussian = [
        sparse.recover("gaussian", sparse.Setup(strength=strength, steps=4000)).distance_B
        for strength in (0.01, 0.03, 0.1)
    ]
    best = min(gaussian, key=lambda each: float(each.mean()))
    none = sparse.recover("none", sparse.Setup(steps=4000)).distance_B
    small = sparse.recover("none", sparse.Setup(steps=4000, start=0.01)).distance_B
    return Finding(
        "T1",
        "Label noise lets SGD find the sparse truth of a quadratic regression, Gaussian noise of "
        "no strength tried and no noise do not",
        (
            Test("distance from the truth, label noise", _values(label), 0.1, below=True),
            Test("distance with the best Gaussian noise", _values(best), 0.5),
            Test("distance without noise", _values(none), 0.5),
            Test(
                "distance without noise, from a small start",
                _values(small),
                0.1,
                below=True,
                counts=False,
            ),
        ),
    )


def balance_law() -> Finding:
    """Rescaling symmetry under SGD (Ziyin et al. 2023)."""
    tests = []
    for activation in get_args(balance.Activation):
        setup = balance.Setup(activation)
        noisy = balance.imbalance("label", setup)
        still = balance.imbalance("descent", setup)
        ratio_B = (noisy.fitted_BH / noisy.predicted_BH).mean(1)
        tests += [
            Test(
                f"{activation}: relative error of the law's decay rate",
                _values((ratio_B - 1).abs()),
                0.15,
                below=True,
            ),
            Test(
                f"{activation}: share of the imbalance left by gradient descent, minus that left "
                "by SGD with label noise",
                _values(still.kept_B - noisy.kept_B),
                0.5,
            ),
        ]
    return Finding(
        "T2",
        "SGD with label noise balances layers at the predicted rate, gradient descent does not",
        tuple(tests),
    )


def benign_threshold() -> Finding:
    """Minimum-norm interpolation of a noisy mixture, d >> n."""
    rows = benign.accuracy_grid((0.0, 0.2, 0.4), (100,), (2000,), (1, 2, 3, 4, 6), SEEDS)
    errors = [abs(row.mean - (row.predicted or 0)) for row in rows]
    weak, strong = benign.two_layer_accuracy((0.4,), (50,), (1000,), (1, 4), SEEDS[:5])
    low, high = (next(r.mean for r in rows if r.rate == 0.4 and r.signal == s) for s in (1, 6))
    return Finding(
        "T3",
        "In a linear model interpolation turns from harmful to benign where theory puts it "
        f"(40 % noise: {100 * low:.0f} % right for a weak signal, {100 * high:.0f} % for a strong)",
        (
            Test("error of theory, at each of 15 points", tuple(errors), 0.03, below=True),
            Test(
                "two layers, 40 % noise: accuracy with signal 4 minus signal 1",
                difference(strong.accuracies, weak.accuracies),
                counts=False,
            ),
        ),
    )


def _values(values_B: Tensor) -> tuple[float, ...]:
    return tuple(values_B.tolist())
