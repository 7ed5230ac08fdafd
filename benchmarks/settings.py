"""What is trained and measured: development settings, and validation settings told apart.

Rules and numbers of tailcut may be made with the development settings in view. The validation
settings are run only to report, and each look at them is a line in docs/LOG.md: a rule that was
fitted to a network proves nothing about that network. So no network with its noise is in both:

* development: digits in clutter (a CNN with a global maximum; symmetric and pair noise, and
  two classes confused), CIFAR-10
  with symmetric noise (the five-layer CNN that the first rules were made with, without and with
  flips and crops), movie reviews (MiniLM; symmetric noise, and the worst of three raters), and
  digits, which are easy: a linear classifier of the pixels comes near, so nothing that happens
  there speaks for trained features;
* validation: labels that people gave to CIFAR-10, and noise between its like classes, on a
  residual network, without and with flips and crops; ResNet-18 on all of CIFAR-10; a network
  pretrained on ImageNet (not with noise between like classes: it was looked at before it was
  measured); newspaper text.

Two things come back in validation with another companion: the CNN with the labels of people, and
MiniLM with other texts. So do CIFAR-10's images, because no other data with labels of people fits
a laptop: what is unseen there is network and noise.

One setting is a problem, its noise, a network and a recipe; every seed of it is one training.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from tailcut.lab.training.recipe import CLUTTER, DIGITS, Recipe

Role = Literal["development", "validation"]


@dataclass(frozen=True)
class Setting:
    """A problem with its noise, and the network trained on it.

    Attributes:
        role: Whether rules may be made with it in view.
        problem: As in `sources.SOURCES` once `foreign` is imported.
        network: As in `networks.build` once `foreign` is imported.
        recipe: Hyperparameters.
        noise: Kind, as the problem takes it.
        rate: As the kind counts it; labels of people have the rate that they have.
        seeds: Of samples, labels, weights and order: one training each.
        sizes: Samples to train on, to hold out and to test on, where not the problem's own.
        batch: Samples a batch when measured.
        easy: Whether a linear classifier of the raw inputs is known to come near; the table of
            `study.py` measures it for the others.
    """

    role: Role
    problem: str
    network: str
    recipe: Recipe
    noise: str
    rate: float
    seeds: tuple[int, ...]
    sizes: dict[str, int] = field(default_factory=dict)
    batch: int = 256
    easy: bool = False

    @property
    def name(self) -> str:
        """Of its files, but for the seed."""
        parts = [self.problem, self.network.replace("/", "_")]
        parts += ["augmented"] if self.recipe.augment else []
        clean = self.noise == "symmetric" and not self.rate
        parts.append("clean" if clean else self.noise)
        return "-".join([*parts, *([f"{100 * self.rate:.0f}"] if self.rate else [])])

    @property
    def data(self) -> str:
        """Of the noisy data, whatever is trained on it, but for the seed."""
        parts = [self.problem, self.noise, f"{100 * self.rate:.0f}", *map(str, self.sizes.values())]
        return "-".join(parts)


_CNN = Recipe(epochs=20, learning_rate=0.02)
_RESNET = Recipe(epochs=25, learning_rate=0.02)
_RESNET18 = Recipe(epochs=25, batch_size=128, learning_rate=0.05, precision="bfloat16")
_RESNET18_AUGMENTED = replace(_RESNET18, epochs=120, augment=True)
_AUGMENTED = Recipe(epochs=160, learning_rate=0.02, augment=True)
_TEXT = Recipe(
    epochs=12,
    batch_size=32,
    learning_rate=2e-4,
    weight_decay=0.01,
    schedule="one-cycle",
    optimiser="adamw",
)
_VISION = Recipe(epochs=20, batch_size=64, learning_rate=1e-3, weight_decay=1e-4, optimiser="adamw")

_ALL_IMAGES = {"train": 45_000, "holdout": 5_000}
_LARGE = {"train": 30_000, "holdout": 2_000}
_MIDDLE = {"train": 15_000, "holdout": 1_500, "test": 5_000}
_SMALL = {"train": 5_000, "holdout": 1_000, "test": 5_000}
_FEW = {"train": 6_000, "holdout": 1_000, "test": 2_000}


def _clutter(noise: str, rate: float, seeds: int) -> Setting:
    return Setting("development", "clutter", "maxcnn", CLUTTER, noise, rate, tuple(range(seeds)))


def _cifar(
    role: Role, network: str, recipe: Recipe, noise: str, rate: float, sizes: dict[str, int]
) -> Setting:
    return Setting(role, "cifar10", network, recipe, noise, rate, (0, 1, 2), sizes)


def _text(role: Role, problem: str, noise: str, rate: float) -> Setting:
    return Setting(role, problem, "minilm", _TEXT, noise, rate, (0, 1), batch=64)


def _vision(role: Role, noise: str, rate: float) -> Setting:
    return Setting(role, "cifar10", "efficientnet", _VISION, noise, rate, (0,), _FEW, batch=100)


_DIGITS = Setting("development", "digits", "mlp", DIGITS, "symmetric", 0.4, (0, 1, 2), easy=True)

_ALL = (
    _clutter("symmetric", 0.4, 10),
    _cifar("development", "cnn", _CNN, "symmetric", 0.4, _LARGE),
    _cifar("validation", "cnn", _CNN, "human", 0.0, _LARGE),
    _text("development", "movies", "symmetric", 0.3),
    _vision("validation", "human", 0.0),
    _vision("validation", "symmetric", 0.4),
    _vision("development", "asymmetric", 0.4),
    _cifar("validation", "resnet-16", _RESNET, "human", 0.0, _MIDDLE),
    _cifar("development", "cnn", _AUGMENTED, "symmetric", 0.4, _SMALL),
    _text("validation", "news", "symmetric", 0.3),
    _clutter("pair", 0.4, 3),
    _clutter("symmetric", 0.2, 3),
    _clutter("symmetric", 0.0, 3),
    _DIGITS,
    _text("development", "movies", "worst", 0.0),
    _text("validation", "news", "rater", 0.0),
    _cifar("validation", "resnet-16", _AUGMENTED, "human", 0.0, _SMALL),
    _cifar("validation", "resnet-16", _RESNET, "asymmetric", 0.4, _MIDDLE),
    _clutter("symmetric", 0.6, 3),
    _clutter("confusion", 0.4, 3),
    _clutter("confusion", 0.5, 3),
    _cifar("development", "cnn", _CNN, "symmetric", 0.0, _LARGE),
    *(
        _cifar("validation", "resnet", recipe, noise, rate, _ALL_IMAGES)
        for recipe in (_RESNET18, _RESNET18_AUGMENTED)
        for noise, rate in (("human", 0.0), ("symmetric", 0.4), ("symmetric", 0.2))
    ),  # for a GPU: see gpu.py
)

SETTINGS = {each.name: each for each in _ALL}
"""By name, in the order in which they are trained."""


def of_role(role: Role) -> dict[str, Setting]:
    """The settings that rules may be made with, or those that only tell how good they are."""
    return {name: each for name, each in SETTINGS.items() if each.role == role}
