"""What the commands of the lab and the demo take: plain dataclasses, as in `options`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from tailcut.cli.checked import at_least, finite, rate
from tailcut.errors import SpecError


@dataclass(frozen=True)
class Training:
    """A network and the noisy data it is trained on.

    Attributes:
        network: mlp, cnn, maxcnn (for clutter), resnet, vit or linear, perhaps with a width
            (resnet-16) or a constraint (mlp/bottleneck-9, mlp/nested-9).
        data: digits, clutter (digits at random places among fragments of others), or cifar10 from
            the parquet files under $TAILCUT_DATA/cifar10; a word that is none lists them all.
        noise: symmetric (every other class alike), pair (the next class), asymmetric (what a
            CIFAR-10 class is mistaken for), confusion (classes 3 and 5 for each other), instance
            (by the input), aligned (a mark in the image carries the next class), openset (inputs
            of the last three classes, which leave the problem), human (CIFAR-10N random1),
            human:FILE or human:FILE:KEY (.npy, or .pt of CIFAR-N), or matrix:FILE.npy (rows are
            true classes); a word that is none lists them all.
        rate: Probability that a label which the noise can make wrong is wrong; human labels and
            matrices have their own.
        train: Training rows.
        holdout: Held-out rows, as noisy.
        epochs: Passes over the training rows.
        batch_size: Rows a step.
        learning_rate: The largest: a cosine schedule falls from it, that of clutter first rises.
        weight_decay: On all parameters.
        augment: Flip and crop the images while training.
    """

    network: str = "mlp"
    data: str = "digits"
    noise: str = "symmetric"
    rate: float = 0.4
    train: int | None = None
    holdout: int | None = None
    epochs: int | None = None
    batch_size: int = 64
    learning_rate: float | None = None
    weight_decay: float = 5e-4
    augment: bool = False

    def __post_init__(self) -> None:
        rate(self.rate)
        at_least("train", self.train, 1, "Choose another number")
        at_least("holdout", self.holdout, 2, "Choose another number")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise SpecError(
                f"--learning_rate {self.learning_rate}",
                wanted="a number above 0",
                advice="Choose another rate",
            )
        finite("weight_decay", self.weight_decay)


@dataclass(frozen=True)
class Demo:
    """How much of the demo to run.

    Attributes:
        data: clutter (digits at random places among fragments of others), or digits, which a
            network need not be trained for: their pixels tell as much.
        seeds: Networks to train, from --seed on; of several, means and spread are printed.
        rate: Share of wrong training labels.
    """

    data: Literal["clutter", "digits"] = "clutter"
    seeds: int = 1
    rate: float = 0.4

    def __post_init__(self) -> None:
        at_least("seeds", self.seeds, 1, "Train at least one network")
        rate(self.rate)


@dataclass(frozen=True)
class Probing:
    """When to look.

    Attributes:
        probes: How many states are probed, the untrained network and the last epoch among them,
            on a logarithmic scale; or which epochs, as [0, 1, 10, 100].
        repair: Also repair the last state, by the noisy holdout.
    """

    probes: int | list[int] = 8
    repair: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.probes, int):
            why = "the untrained network and the last epoch"
            at_least("probes", self.probes, 2, "Choose another number", why)


@dataclass(frozen=True)
class Engine:
    """Where the trainings of a grid run.

    Attributes:
        engine: pool (processes of this machine) or ray (tasks on one or many machines).
        workers: Trainings at the same time; as many as there are cores if not given.
        address: Of a Ray cluster; a local one if not given.
        gpus: Share of a GPU that a training takes of Ray.
    """

    engine: Literal["pool", "ray"] = "pool"
    workers: int | None = None
    address: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        at_least("workers", self.workers, 1, "Leave it out for as many as there are cores")
        finite("gpus", self.gpus)


@dataclass(frozen=True)
class Claimed:
    """Which claims are tested on what.

    Attributes:
        preset: clutter (half an hour on two cores), digits (minutes), cifar (hours), gpu
            (ResNet-18); or scale and scale-gpu, C1, C3, C5 and C6 over the number of CIFAR-10
            images and over width (hours; ResNet-18).
        claims: Names with commas between them, such as C1,C3: no other trainings are run than
            these need, and networks are repaired for C5 alone; all if not given.
        seeds: Seeds of each training, from --seed on; as many as the preset has if not given.
        sizes: Of scale: numbers of training images to run, as [1000, 3000]; of the others what is
            finished is listed. All of them if not given.
        studies: Directory of finished trainings; studies/ in the run's own if not given.
    """

    preset: str = "clutter"
    claims: str | None = None
    seeds: int | None = None
    sizes: list[int] | None = None
    studies: str | None = None

    def __post_init__(self) -> None:
        at_least("seeds", self.seeds, 2, "Run more seeds", "an interval needs a spread")


@dataclass(frozen=True)
class Gridded:
    """What is combined.

    Attributes:
        axes: Lists of values by name, as YAML: {network: [mlp-64, mlp-256], rate: [0, 0.4]}.
            Names are those of a study: data, network, noise, rate, seed, train, holdout, test,
            epochs, learning_rate, batch_size, weight_decay, augment, probes, repair.
    """

    axes: dict[str, list[Any]] = field(default_factory=dict)
