"""What the commands take: plain dataclasses, which jsonargparse turns into options."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from tailcut.errors import SpecError
from tailcut.numerics import fits

LARGEST_SEED = 2**63 - 1
"""Of any generator of torch, and of 64 bits in any file."""


@dataclass(frozen=True)
class Run:
    """Where and how to run.

    Attributes:
        out: Directory to write to; a new one under runs/ if not given.
        seed: Of every random choice.
        device: To work on: auto, cpu, cuda, cuda:1, mps.
        quiet: Print nothing but errors.
        json: Print the result as JSON.
    """

    out: str | None = None
    seed: int = 0
    device: str = "auto"
    quiet: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        _at_least("seed", self.seed, 0, "Choose another seed")
        if self.seed > LARGEST_SEED:
            wanted = f"{LARGEST_SEED} or less"
            raise SpecError(f"--seed {self.seed}", wanted=wanted, advice="Choose another seed")
        if self.out is not None and not self.out.strip("\0 "):
            raise SpecError(
                f"--out {self.out!r}",
                wanted="a directory, which may be new",
                advice="Name one, or leave it out for a new one under runs/",
            )


@dataclass(frozen=True)
class Inputs:
    """What to look at.

    Attributes:
        data: DATA the network was trained on, with those labels, noisy or not.
        holdout: DATA it was not trained on; noisy labels will do, 500 rows are enough.
        weights: File of weights for MODEL: safetensors, or a torch file of tensors only; FILE:KEY
            names one of several dicts of weights in it, such as last.pt:model_ema.
        batch_size: Rows a batch.
        classes: Of the network, if the data does not hold all of them.
        force: Go on although the network does not predict its training labels.
        class_map: File that numbers the class names, as the network was trained on them: .json
            or .yaml {name: number}, .csv with name and number, .txt with one name in each line.
        text_column: Of the texts in tables, hf data and shards (txt); else text or sentence.
        image_column: Of the images in all these, or their paths (jpg, png); else img or image.
        label_column: Of the labels in all these (cls, json.NAME); else label, labels, fine_label.
    """

    data: str
    holdout: str | None = None
    weights: str | None = None
    batch_size: int = 256
    classes: int | None = None
    force: bool = False
    class_map: str | None = None
    text_column: str | None = None
    image_column: str | None = None
    label_column: str | None = None

    def __post_init__(self) -> None:
        _at_least("batch_size", self.batch_size, 1, "Choose another number")
        _at_least("classes", self.classes, 2, "Leave it out to count them in the data")


@dataclass(frozen=True)
class Cutting:
    """What may be tried.

    Attributes:
        clean: DATA with true labels, to report on and never to choose by.
        views: auto, or names with commas between them: flip, shift, flip+shift, rotate,
            noise/4, noise/2, noise*3/4, swap/4, swap/2; tokens/4, tokens/2, tokens*3/4, span/2,
            embedding, embedding*2, embedding*4, dropout; none for none.
        depth: head (the penultimate features only), all (every layer) or auto.
        readout: READOUT, how classes are read off the kept directions.
        rank: Directions to keep, or auto.
    """

    clean: str | None = None
    views: str = "auto"
    depth: Literal["auto", "head", "all"] = "auto"
    readout: str = "auto"
    rank: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        known = ("auto", *fits.names())
        if self.readout not in known:
            wanted = f"one of {', '.join(known)}"
            raise SpecError(f"--readout {self.readout}", wanted=wanted, advice="Correct the name")
        if self.rank != "auto":
            _at_least("rank", self.rank, 1, "Choose another rank, or auto")


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
        _rate(self.rate)
        _at_least("train", self.train, 1, "Choose another number")
        _at_least("holdout", self.holdout, 2, "Choose another number")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise SpecError(
                f"--learning_rate {self.learning_rate}",
                wanted="a number above 0",
                advice="Choose another rate",
            )
        _finite("weight_decay", self.weight_decay)


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
        _at_least("seeds", self.seeds, 1, "Train at least one network")
        _rate(self.rate)


@dataclass(frozen=True)
class Audited:
    """How to audit.

    Attributes:
        views: As for repair.
        depth: As for repair.
        worst: Suspects that the report shows.
        export: A .csv or .jsonl file to list the corrected data set in: for each row whether it
            is kept, relabelled or dropped. No file of the data set is moved.
        drop: Probability of a wrong label from which on a row is dropped there.
        relabel: From which on it gets the suggested label instead.
    """

    views: str = "auto"
    depth: Literal["auto", "head", "all"] = "auto"
    worst: int = 100
    export: str | None = None
    drop: float = 0.5
    relabel: float | None = None

    def __post_init__(self) -> None:
        _at_least("worst", self.worst, 0, "Show none, or some")
        for name, threshold in (("drop", self.drop), ("relabel", self.relabel)):
            if threshold is not None:
                _probability(name, threshold)


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
            _at_least("probes", self.probes, 2, "Choose another number", why)


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
        _at_least("workers", self.workers, 1, "Leave it out for as many as there are cores")
        _finite("gpus", self.gpus)


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
        _at_least("seeds", self.seeds, 2, "Run more seeds", "an interval needs a spread")


@dataclass(frozen=True)
class Gridded:
    """What is combined.

    Attributes:
        axes: Lists of values by name, as YAML: {network: [mlp-64, mlp-256], rate: [0, 0.4]}.
            Names are those of a study: data, network, noise, rate, seed, train, holdout, test,
            epochs, learning_rate, batch_size, weight_decay, augment, probes, repair.
    """

    axes: dict[str, list[Any]] = field(default_factory=dict)


def _at_least(
    option: str, value: int | None, least: int, advice: str, why: str | None = None
) -> None:
    """Refuse a number that is too small; one that is not given is not refused."""
    if value is not None and value < least:
        wanted = f"{least} or more" + (f": {why}" if why else "")
        raise SpecError(f"--{option} {value}", wanted=wanted, advice=advice)


def _rate(rate: float) -> None:
    """Refuse what is no share."""
    if not 0 <= rate <= 1:
        raise SpecError(
            f"--rate {rate}",
            wanted="a number from 0 to 1",
            advice="Rates are fractions of wrong labels: 0.4, not 40",
        )


def _probability(option: str, value: float) -> None:
    """Refuse what is none."""
    if not 0 <= value <= 1:
        raise SpecError(
            f"--{option} {value}", wanted="a probability, 0 to 1", advice=f"Correct --{option}"
        )


def _finite(option: str, value: float) -> None:
    """Refuse numbers below 0, infinity and NaN."""
    if not 0 <= value < math.inf:
        raise SpecError(
            f"--{option} {value}", wanted="a number of at least 0", advice="Choose another number"
        )
