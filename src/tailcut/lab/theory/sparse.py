"""Fresh label noise finds the sparse truth; Gaussian noise on the parameters does not.

HaoChen, Wei, Lee & Ma (COLT 2021), "Shape Matters: Understanding the Implicit Bias of the Noise
Covariance" (arXiv 2006.08680), on the model f(x) = <v * v, x> of Woodworth et al. (2020).

The gradient's label noise on coordinate i is s x_i v_i: it vanishes with v_i. Each step multiplies
v_i by 1 - a s x_i (a the step size, s = ± the strength), so log |v_i| drifts by -a² strength² / 2
where the data do not hold it: small coordinates die out. Noise of one variance everywhere has no
such preference. The label noise here is drawn anew at every step and regularises; labels that
are wrong once and for all are memorised (`tailcut.lab.theory.benign`).

Legend: B seeds, N training samples, M held-out samples, D coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tailcut.errors import DataError, SpecError, TailcutError
from tailcut.lab.theory.seeds import SEEDS, below, generators, normal

Kind: TypeAlias = Literal["label", "gaussian", "none"]

HELD_OUT = 1000


@dataclass(frozen=True)
class Recovery:
    """Where the iteration ended, for each seed; every entry is relative to the truth's size.

    Attributes:
        kind: Which noise.
        distance_B: |v * v - truth| / |truth|.
        heldout_B: Root mean square error on fresh samples over the labels' root mean square.
        training_B: The same on the training samples: 0 where they are interpolated.
    """

    kind: Kind
    distance_B: Tensor
    heldout_B: Tensor
    training_B: Tensor


@dataclass(frozen=True)
class _Problem:
    """Noiseless sparse regression for each seed."""

    inputs_BND: Tensor
    labels_BN: Tensor
    generators: list[torch.Generator]
    setup: Setup


@dataclass(frozen=True)
class Setup:
    """Sizes of the regression, and the iteration that fits it.

    Attributes:
        n: Training samples, fewer than d.
        d: Coordinates.
        sparsity: Ones in the truth; the other coordinates are 0.
        steps: Of the iteration.
        step_size: At the start |v * x|² must stay below about 1 / step_size.
        strength: Of the noise; without effect for "none".
        start: Every coordinate of v at the start.
        quiet: The last share of the steps, plain gradient descent for every kind, so that
            what is compared are the solutions and not the noise around them.

    Raises:
        DataError: Sizes that leave nothing to recover.
    """

    n: int = 40
    d: int = 100
    sparsity: int = 5
    steps: int = 10_000
    step_size: float = 0.02
    strength: float = 2.0
    start: float = 0.5
    quiet: float = 0.2

    def __post_init__(self) -> None:
        if not (1 <= self.sparsity < self.n < self.d and self.steps >= 1):
            raise DataError(
                f"{self.sparsity} of {self.d} coordinates, {self.n} samples, {self.steps} steps",
                wanted="1 <= sparsity < n < d and at least one step",
                advice="Take more coordinates than samples, and more samples than nonzero "
                "coordinates",
            )


def recover(kind: Kind, setup: Setup | None = None, *, seeds: Sequence[int] = SEEDS) -> Recovery:
    """Fit <v * v, x> to n samples x ~ N(0, I_d) of a truth with `sparsity` ones, else zeros.

    The loss of a sample is (<v * v, x> - y)² / 4, with gradient residual * x * v.

    Args:
        kind: "label": stochastic gradient descent, one sample a step, its label moved by
            ± strength, drawn anew; "gaussian": full gradient descent, then strength *
            sqrt(step_size) * N(0, I) onto v (Langevin's scaling); "none": gradient descent.
        setup: That of `Setup()` if not given.
        seeds: Of inputs and noise.

    Raises:
        SpecError: Another kind.
        DataError: No seeds.
        TailcutError: The iteration diverged.
    """
    _require(kind)
    setup = setup or Setup()
    sources = generators(seeds)
    truth_D = torch.zeros(setup.d, dtype=torch.float64)
    truth_D[: setup.sparsity] = 1
    inputs_BND = normal((setup.n, setup.d), sources)
    fresh_BMD = normal((HELD_OUT, setup.d), sources)
    problem = _Problem(inputs_BND, inputs_BND @ truth_D, sources, setup)
    found_BD = _fitted(problem, kind).square()
    return Recovery(
        kind,
        (found_BD - truth_D).norm(dim=1) / truth_D.norm(),
        _error(found_BD, fresh_BMD, truth_D),
        _error(found_BD, inputs_BND, truth_D),
    )


def _fitted(problem: _Problem, kind: Kind) -> Tensor:
    """The parameters v (B x D) at the end."""
    setup = problem.setup
    size = (len(problem.inputs_BND), setup.d)
    parameters_BD = torch.full(size, setup.start, dtype=torch.float64)
    loud = round((1 - setup.quiet) * setup.steps)
    for step in range(setup.steps):
        move = _MOVES[kind] if step < loud else _descend
        parameters_BD = move(problem, parameters_BD)
    return _finite(parameters_BD, setup.step_size)


def _descend(problem: _Problem, parameters_BD: Tensor) -> Tensor:
    """One step down the full gradient."""
    inputs_BND = problem.inputs_BND
    outputs_BN1 = inputs_BND @ parameters_BD.square()[:, :, None]
    residual_B1N = (outputs_BN1 - problem.labels_BN[:, :, None]).mT
    slope_BD = (residual_B1N @ inputs_BND).squeeze(1) / inputs_BND.shape[1]
    return parameters_BD * (1 - problem.setup.step_size * slope_BD)


def _label(problem: _Problem, parameters_BD: Tensor) -> Tensor:
    """One step on one sample whose label is moved up or down."""
    seeds, n, _ = problem.inputs_BND.shape
    drawn_B = below(2 * n, (), problem.generators)
    rows_B, signs_B = drawn_B % n, drawn_B // n * 2 - 1
    inputs_BD = problem.inputs_BND[torch.arange(seeds), rows_B]
    labels_B = problem.labels_BN[torch.arange(seeds), rows_B] + problem.setup.strength * signs_B
    residual_B = (inputs_BD * parameters_BD.square()).sum(1) - labels_B
    return parameters_BD * (1 - problem.setup.step_size * residual_B[:, None] * inputs_BD)


def _gaussian(problem: _Problem, parameters_BD: Tensor) -> Tensor:
    """One step down the full gradient and one of Brownian motion."""
    kick_BD = normal((parameters_BD.shape[1],), problem.generators)
    strength = problem.setup.strength * problem.setup.step_size**0.5
    return _descend(problem, parameters_BD) + strength * kick_BD


_MOVES: dict[str, Callable[[_Problem, Tensor], Tensor]] = {
    "label": _label,
    "gaussian": _gaussian,
    "none": _descend,
}


def _error(found_BD: Tensor, inputs_BND: Tensor, truth_D: Tensor) -> Tensor:
    off_BN = (inputs_BND @ (found_BD - truth_D)[:, :, None]).squeeze(2)
    return off_BN.norm(dim=1) / (inputs_BND @ truth_D).norm(dim=1)


def _finite(parameters_BD: Tensor, step_size: float) -> Tensor:
    lost = int((~parameters_BD.isfinite()).any(1).sum())
    if lost:
        raise TailcutError(
            f"the iteration diverged for {lost} of {len(parameters_BD)} seeds "
            f"at step size {step_size}",
            wanted="finite parameters",
            advice="Lower step_size, start or strength",
        )
    return parameters_BD


def _require(kind: str) -> None:
    if kind not in _MOVES:
        raise SpecError(
            f"no noise {kind!r}", wanted=f"one of {', '.join(_MOVES)}", advice="Correct the name"
        )
