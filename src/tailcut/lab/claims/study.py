"""A study: what is trained under which label noise, and when it is probed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from tailcut.errors import SpecError
from tailcut.lab.data.problems import Problem
from tailcut.lab.data.sources import SOURCES
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.training.recipe import DIGITS, Recipe


@dataclass(frozen=True)
class Study:
    """What is trained, on which labels, and when it is probed.

    Its fields are flat and plain because they are the axes of grids and name the files of runs;
    what they mean for a training, `Recipe` alone knows and checks.

    Attributes:
        data: Of the problem: digits, clutter or cifar10.
        network: As in `networks.build`: mlp-128, cnn, resnet-16, mlp/bottleneck-9.
        noise: Kind of label noise.
        rate: As the kind counts it.
        seed: Of samples, labels, weights and order.
        train: Training samples.
        holdout: Held-out samples, as noisy.
        test: Test images; all of them if not given, as always for digits.
        epochs: Passes over them.
        learning_rate: The largest; the data's usual recipe has the schedule.
        batch_size: Samples a step.
        weight_decay: On all parameters.
        augment: Flip and crop images.
        probes: How many states are probed, the untrained and the last among them, on a
            logarithmic scale of epochs; or which epochs, 0 for the untrained network; 0 for none.
        repair: Whether the last state is also repaired, with the noisy holdout.
    """

    data: str = "digits"
    network: str = "mlp"
    noise: str = "symmetric"
    rate: float = 0.4
    seed: int = 0
    train: int = 1100
    holdout: int = 200
    test: int | None = None
    epochs: int = DIGITS.epochs
    learning_rate: float = DIGITS.learning_rate
    batch_size: int = DIGITS.batch_size
    weight_decay: float = DIGITS.weight_decay
    augment: bool = False
    probes: int | tuple[int, ...] = 6
    repair: bool = False

    def __post_init__(self) -> None:
        noise_of(self.noise, self.rate)
        source = SOURCES.find(self.data)
        _ = self.recipe  # refuses what cannot be trained
        if source.rest_is_test and self.test is not None:
            raise SpecError(
                f"{self.test} test samples of {self.data}",
                wanted="no number: all that neither train nor are held out are tested on",
                advice="Leave it out",
            )
        if not isinstance(self.probes, int):
            object.__setattr__(self, "probes", tuple(self.probes))
            self._require_epochs(tuple(self.probes))
        elif self.probes == 1 or self.probes < 0:
            raise SpecError(
                f"{self.probes} probes",
                wanted="0, or at least 2: the untrained network and the last epoch",
                advice="Choose another number",
            )

    def _require_epochs(self, epochs: tuple[int, ...]) -> None:
        if not epochs or not all(0 <= epoch <= self.epochs for epoch in epochs):
            raise SpecError(
                f"probes at the epochs {list(epochs)}",
                wanted=f"some of 0..{self.epochs}",
                advice="Choose other epochs; 0 is the untrained network",
            )

    @classmethod
    def under(cls, recipe: Recipe, **about: Any) -> Study:
        """A study with the hyperparameters of a recipe, of those that studies name."""
        named = {each.name for each in fields(cls)}
        shared = {name: value for name, value in asdict(recipe).items() if name in named}
        return cls(**{**shared, **about})

    def problem(self) -> Problem:
        """The noisy data."""
        sizes = {"train": self.train, "holdout": self.holdout}
        if self.test is not None:
            sizes["test"] = self.test
        return SOURCES[self.data].make(rate=self.rate, seed=self.seed, kind=self.noise, **sizes)

    @property
    def recipe(self) -> Recipe:
        """The data's usual hyperparameters with those named here."""
        return SOURCES[self.data].recipe.varied(self)

    def probed_epochs(self) -> list[int]:
        """Those chosen; or 0, then on a logarithmic scale up to the last, `probes` at most."""
        if not isinstance(self.probes, int):
            return sorted(set(self.probes))
        if not self.probes:
            return []
        steps = max(1, self.probes - 2)
        later = (round(self.epochs ** (step / steps)) for step in range(steps + 1))
        return sorted({0, *later} if self.probes > 2 else {0, self.epochs})
