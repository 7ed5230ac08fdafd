"""What the commands take: plain dataclasses, which jsonargparse turns into options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tailcut.cli.checked import at_least, probability
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
        at_least("seed", self.seed, 0, "Choose another seed")
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
        at_least("batch_size", self.batch_size, 1, "Choose another number")
        at_least("classes", self.classes, 2, "Leave it out to count them in the data")


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
        backbone: MODEL as it was before it was fine-tuned, with the weights it is published with,
            such as hf:DIR_OR_ID or torchvision:resnet18: then what fine-tuning changed may be cut,
            too.
    """

    clean: str | None = None
    views: str = "auto"
    depth: Literal["auto", "head", "all"] = "auto"
    readout: str = "auto"
    rank: int | Literal["auto"] = "auto"
    backbone: str | None = None

    def __post_init__(self) -> None:
        known = ("auto", *fits.names())
        if self.readout not in known:
            wanted = f"one of {', '.join(known)}"
            raise SpecError(f"--readout {self.readout}", wanted=wanted, advice="Correct the name")
        if self.rank != "auto":
            at_least("rank", self.rank, 1, "Choose another rank, or auto")


@dataclass(frozen=True)
class Audited:
    """How to audit.

    Attributes:
        views: As for repair.
        depth: As for repair.
        backbone: MODEL that never saw these labels, with the weights it is published with, such as
            hf:DIR_OR_ID or torchvision:resnet18: its features stand in for the network's. It reads
            the inputs as MODEL does; --views and --depth are not used then.
        worst: Suspects that the report shows.
        export: A .csv or .jsonl file to list the corrected data set in: for each row whether it
            is kept, relabelled or dropped. No file of the data set is moved.
        drop: Probability of a wrong label from which on a row is dropped there.
        relabel: From which on it gets the suggested label instead.
    """

    views: str = "auto"
    depth: Literal["auto", "head", "all"] = "auto"
    backbone: str | None = None
    worst: int = 100
    export: str | None = None
    drop: float = 0.5
    relabel: float | None = None

    def __post_init__(self) -> None:
        at_least("worst", self.worst, 0, "Show none, or some")
        for name, threshold in (("drop", self.drop), ("relabel", self.relabel)):
            if threshold is not None:
                probability(name, threshold)
