"""What tailcut is compared with on the same trained network, under its paper's name.

A baseline maps the features of a trained network to predictions, or changes its weights; none
trains the network again. A setting that a paper leaves open is chosen by the accuracy on the
noisy holdout. One is added by a function in a file of this package, below `@baseline(...)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tailcut.lab.baselines.subject import Subject
from tailcut.lab.registry import Registry

Method = Callable[[Subject], float]
"""Accuracy on the test samples after the trained network was seen once."""


@dataclass(frozen=True)
class Baseline:
    """A method and what tables must know of it.

    Attributes:
        method: See `Method`.
        folds: Whether it leaves a network of the same architecture.
        images_only: Whether it reads no text.
        place: In tables, 1 the first; those without one come last, by name.
    """

    method: Method
    folds: bool = True
    images_only: bool = False
    place: float = math.inf

    def __call__(self, subject: Subject) -> float:
        """Accuracy on the test samples, 0..1."""
        return self.method(subject)


def _place(entry: Baseline) -> float:
    return entry.place


BASELINES: Registry[Baseline] = Registry("tailcut.lab.baselines", "baseline", _place)
"""Methods that may help, by name."""

CONTROLS: Registry[Baseline] = Registry("tailcut.lab.baselines", "control", _place)
"""Changes to the network that must not help, by name."""


def baseline(
    name: str, *, folds: bool = True, images_only: bool = False, place: float = math.inf
) -> Callable[[Method], Method]:
    """A decorator that registers the function below it; see `Baseline`."""

    def registered(method: Method) -> Method:
        BASELINES[name] = Baseline(method, folds, images_only, place)
        return method

    return registered


def control(name: str, *, place: float = math.inf) -> Callable[[Method], Method]:
    """A decorator that registers the function below it as one that must not help."""

    def registered(method: Method) -> Method:
        CONTROLS[name] = Baseline(method, place=place)
        return method

    return registered
