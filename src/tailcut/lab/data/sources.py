"""Data words: each names a function that makes noisy problems, registered where it is defined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tailcut.lab.data.problems import Problem
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.registry import Registry
from tailcut.lab.training.recipe import Recipe

Make = TypeVar("Make", bound=Callable[..., Problem])


@dataclass(frozen=True)
class Source:
    """What a data word stands for.

    Attributes:
        make: Of the keywords rate, kind and seed, and of sizes: train, holdout and test.
        recipe: How a network is usually trained on it.
        train: Usual number of training samples.
        holdout: Usual number of held-out samples.
        train_apart: The number of training samples if the noise holds classes apart.
        rest_is_test: Whether all other samples are the test, so that `make` takes no `test`.
    """

    make: Callable[..., Problem]
    recipe: Recipe = Recipe()  # noqa: RUF009 it is frozen
    train: int = 1_000
    holdout: int = 500
    train_apart: int | None = None
    rest_is_test: bool = False

    def train_under(self, kind: str) -> int:
        """Usual number of training samples under a kind of noise.

        Raises:
            SpecError: No such kind.
        """
        apart = noise_of(kind, 0.0).apart
        return self.train_apart if apart and self.train_apart is not None else self.train


SOURCES: Registry[Source] = Registry("tailcut.lab.data", "data")
"""By data word."""


def source(name: str, **about: Any) -> Callable[[Make], Make]:
    """A decorator that registers the function below it as a data word.

    Args:
        name: The word.
        about: Of `Source`.
    """

    def registered(make: Make) -> Make:
        SOURCES[name] = Source(make, **about)
        return make

    return registered
