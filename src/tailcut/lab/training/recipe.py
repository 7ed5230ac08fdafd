"""How a network is trained: the hyperparameters, and what their words stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from tailcut.errors import DataError, SpecError


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples a step.
        learning_rate: The largest.
        momentum: Nesterov; AdamW has its own.
        weight_decay: On all parameters.
        augment: Flip images by chance and crop them at random from a border of zeros.
        schedule: Of the learning rate: "cosine", from the start down to zero, or "one-cycle", up
            in the first 30 % of the steps and down to almost zero (Smith & Topin 2019).
        optimiser: "sgd" or "adamw" (Loshchilov & Hutter 2019).
        precision: "float32", or "bfloat16" (torch.autocast: weights stay float32).
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augment: bool = False
    schedule: str = "cosine"
    optimiser: str = "sgd"
    precision: str = "float32"

    def varied(self, said: object) -> Recipe:
        """The same with what `said` has under the names of these fields, None for as it is."""
        values = {each.name: getattr(said, each.name, None) for each in fields(self)}
        return replace(self, **{name: each for name, each in values.items() if each is not None})

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES or self.optimiser not in OPTIMISERS:
            raise SpecError(
                f"the schedule {self.schedule!r} and the optimiser {self.optimiser!r}",
                wanted=f"{' or '.join(SCHEDULES)}, and {' or '.join(OPTIMISERS)}",
                advice="Correct the recipe",
            )
        if self.epochs < 1 or self.batch_size < 1:
            raise DataError(
                f"{self.epochs} epochs of batches of {self.batch_size}",
                wanted="at least 1 of each",
                advice="Correct the recipe",
            )


def _sgd(parameters: Any, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )


def _adamw(parameters: Any, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _cosine(optimiser: torch.optim.Optimizer, _recipe: Recipe, steps: int) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)


def _one_cycle(optimiser: torch.optim.Optimizer, recipe: Recipe, steps: int) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps + 1, cycle_momentum=False
    )


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": _sgd, "adamw": _adamw}
SCHEDULES: dict[str, Callable[..., Any]] = {"cosine": _cosine, "one-cycle": _one_cycle}

CLUTTER = Recipe(epochs=20, learning_rate=0.2, schedule="one-cycle")
"""Takes the CNN for digits in clutter to 99 % on labels of which 40 % are wrong."""

DIGITS = Recipe(epochs=100, learning_rate=0.02)
"""Takes the digits MLP to 100 % on labels of which 40 % are wrong."""
