"""The law of balance: noise in the gradient evens out layers that rescaling leaves free.

Ziyin, Li & Ueda (2023), "Noise Balance and Stationary Distribution of Stochastic Gradient Descent"
(arXiv 2308.06671; first version "Law of Balance"). Where a loss depends on u and w through
products u_i w_j alone, gradient flow conserves |u|² - |w|², and in the diffusion limit of SGD

    d/dt (|u|² - |w|²) = -T (uᵀ C1 u - wᵀ C2 w),    T = step size / batch, t = step size * steps,

with C1 and C2 from the covariance of the gradient by the products. For one product, u w, both are
the variance C of g = d loss / d(u w). It needs no limit there: u <- u - a g w and w <- w - a g u
give u² - w² <- (u² - w²)(1 - a² g²) exactly. With residuals that are nothing but label noise of
variance δ², independent of the input x, g = ± δ x on the samples where the unit is active, so

    |u² - w²| ~ exp(-r t),    r = (step size / batch) δ² E[x² 1(active)].

The fit wanders around its minimum and adds to the residuals. For a linear network and a batch of
one its slope has variance a M δ² / 2, M = sum_h (u_h² + w_h²), so the rate exceeds r by the share
a M E[x⁴] / (2 E[x²]), of the order of the step size: about 3 % with the defaults. Full-batch
gradient descent loses a² g² a step, which ends with the fit; SGD without label noise also stops
when it interpolates. Both are the controls. ReLU units of either sign interpolate y = 2 |x|.

Legend: B seeds, N samples, M samples of a batch, H hidden units, T recorded times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from tailcut.errors import DataError, SpecError, TailcutError
from tailcut.lab.theory.seeds import SEEDS, below, generators, normal

Kind: TypeAlias = Literal["label", "sgd", "descent"]
Activation: TypeAlias = Literal["linear", "relu"]

SLOPE = 2.0
RECORDS = 50


@dataclass(frozen=True)
class Balance:
    """The difference u² - w² of each hidden unit while training, and how fast it went.

    Attributes:
        times_T: step size * steps, from 0.
        difference_TBH: u² - w².
        fitted_BH: Minus the least-squares slope of log |u² - w²| over time.
        predicted_BH: r of the law for SGD with label noise; 0 for the two controls, which
            have no noise at the minimum.
        training_B: Mean squared error on the labels without noise, at the end.
    """

    times_T: Tensor
    difference_TBH: Tensor
    fitted_BH: Tensor
    predicted_BH: Tensor
    training_B: Tensor

    @property
    def kept_B(self) -> Tensor:
        """Share of the difference that is left at the end, summed over units."""
        total_TB = self.difference_TBH.sum(2)
        return total_TB[-1] / total_TB[0]


@dataclass(frozen=True)
class Setup:
    """The network and the iteration.

    Attributes:
        activation: Linear units, or ReLU units with half of the w_h negative.
        width: Hidden units, even.
        n: Training inputs, standard normal.
        steps: Of the iteration.
        step_size: Small: the law's relative error is of its order times sum(u² + w²).
        noise: δ.
        batch: Samples of a step, drawn with replacement.

    Raises:
        SpecError: Another activation.
        DataError: An odd width, or sizes below 1.
    """

    activation: Activation = "linear"
    width: int = 4
    n: int = 32
    steps: int = 6000
    step_size: float = 0.004
    noise: float = 5.0
    batch: int = 1

    def __post_init__(self) -> None:
        _require_word(self.activation, get_args(Activation), "activation")
        if self.width < 2 or self.width % 2 or min(self.n, self.steps, self.batch) < 1:
            raise DataError(
                f"{self.width} hidden units, {self.n} samples, {self.steps} steps on batches of "
                f"{self.batch}",
                wanted="an even number of units, and at least one of each",
                advice="Take an even width, so that ReLU units see both signs of the input",
            )


def imbalance(kind: Kind, setup: Setup | None = None, *, seeds: Sequence[int] = SEEDS) -> Balance:
    """Train f(x) = sum_h u_h act(w_h x) on the loss (f - y)² / 2 from u = 1.2 and w = ± 0.4.

    Args:
        kind: "label": SGD, every drawn label moved by ± noise, anew; "sgd": the same without
            label noise; "descent": gradient descent on all samples, a stand-in for the flow.
        setup: That of `Setup()` if not given.
        seeds: Of inputs, batches and noise.

    Raises:
        SpecError: Another kind.
        DataError: No seeds.
        TailcutError: The iteration diverged.
    """
    _require_word(kind, get_args(Kind), "way to train")
    setup = setup or Setup()
    task, start = _begun(setup, seeds)
    network, every = start, max(1, setup.steps // RECORDS)
    differences = [network.difference_BH()]
    for step in range(1, setup.steps + 1):
        network = network.moved(*task.batch(kind, setup.noise, setup.batch), setup.step_size)
        if step % every == 0:
            differences.append(network.difference_BH())
    difference_TBH = _finite(torch.stack(differences), setup.step_size)
    times_T = setup.step_size * every * torch.arange(len(differences), dtype=torch.float64)
    scale = setup.step_size / setup.batch * setup.noise**2 if kind == "label" else 0.0
    return Balance(
        times_T,
        difference_TBH,
        _rate(times_T, difference_TBH),
        _law(task, start, scale),
        (network(task.inputs_BN) - task.labels_BN).square().mean(1),
    )


def _begun(setup: Setup, seeds: Sequence[int]) -> tuple[_Task, _Network]:
    sources, relu = generators(seeds), setup.activation == "relu"
    signs_H = torch.ones(setup.width, dtype=torch.float64)
    if relu:
        signs_H[1::2] = -1
    inputs_BN = normal((setup.n,), sources)
    task = _Task(inputs_BN, SLOPE * (inputs_BN.abs() if relu else inputs_BN), sources)
    outer_BH = torch.full((len(seeds), setup.width), 1.2, dtype=torch.float64)
    return task, _Network(outer_BH, 0.4 * signs_H.expand_as(outer_BH), setup.activation)


@dataclass(frozen=True)
class _Task:
    """Labels y = 2 x ("linear") or 2 |x| ("relu") for each seed."""

    inputs_BN: Tensor
    labels_BN: Tensor
    generators: list[torch.Generator]

    def batch(self, kind: Kind, noise: float, size: int) -> tuple[Tensor, Tensor]:
        """Inputs and labels of one step (B x M), or all of them (B x N)."""
        if kind == "descent":
            return self.inputs_BN, self.labels_BN
        n = self.inputs_BN.shape[1]
        drawn_BM = below(2 * n, (size,), self.generators)
        rows_BM, signs_BM = drawn_BM % n, drawn_BM // n * 2 - 1
        labels_BM = self.labels_BN.gather(1, rows_BM)
        moved_BM = labels_BM + noise * signs_BM if kind == "label" else labels_BM
        return self.inputs_BN.gather(1, rows_BM), moved_BM


@dataclass(frozen=True)
class _Network:
    """f(x) = sum_h u_h act(w_h x), one for each seed."""

    outer_BH: Tensor
    inner_BH: Tensor
    activation: Activation

    def active(self, inputs_BN: Tensor) -> Tensor:
        """What each unit sees of each input: x, or 0 where a ReLU is off (B x N x H)."""
        seen_BNH = inputs_BN[:, :, None].expand(-1, -1, self.inner_BH.shape[1])
        if self.activation == "linear":
            return seen_BNH
        return seen_BNH * (seen_BNH * self.inner_BH[:, None] > 0)

    def __call__(self, inputs_BN: Tensor) -> Tensor:
        products_BH1 = (self.outer_BH * self.inner_BH)[:, :, None]
        return (self.active(inputs_BN) @ products_BH1).squeeze(2)

    def moved(self, inputs_BM: Tensor, labels_BM: Tensor, step_size: float) -> _Network:
        """One step of gradient descent on (f - y)² / 2, both layers at once."""
        residual_BM1 = (self(inputs_BM) - labels_BM)[:, :, None]
        slope_BH = (residual_BM1 * self.active(inputs_BM)).mean(1)
        return _Network(
            self.outer_BH - step_size * slope_BH * self.inner_BH,
            self.inner_BH - step_size * slope_BH * self.outer_BH,
            self.activation,
        )

    def difference_BH(self) -> Tensor:
        """u² - w² of each unit."""
        return self.outer_BH**2 - self.inner_BH**2


def _law(task: _Task, network: _Network, scale: float) -> Tensor:
    """The law's rate (B x H): scale * E[x² 1(active)], while no w_h changes its sign."""
    return scale * network.active(task.inputs_BN).square().mean(1)


def _rate(times_T: Tensor, difference_TBH: Tensor) -> Tensor:
    """Minus the least-squares slope of log |difference| over time (B x H)."""
    centred_T = times_T - times_T.mean()
    logs_TBH = difference_TBH.abs().log()
    return -(centred_T[:, None, None] * logs_TBH).sum(0) / centred_T.square().sum()


def _finite(difference_TBH: Tensor, step_size: float) -> Tensor:
    lost = int((~difference_TBH[-1].isfinite()).any(1).sum())
    if lost:
        raise TailcutError(
            f"training diverged for {lost} of {difference_TBH.shape[1]} seeds "
            f"at step size {step_size}",
            wanted="finite parameters",
            advice="Lower step_size or noise",
        )
    return difference_TBH


def _require_word(word: str, known: tuple[str, ...], what: str) -> None:
    if word not in known:
        raise SpecError(
            f"no {what} {word!r}", wanted=f"one of {', '.join(known)}", advice="Correct the name"
        )
