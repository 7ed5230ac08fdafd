"""The network and the data of a command."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from tailcut._typing import Batches
from tailcut.cli import datasets as sources
from tailcut.cli import models
from tailcut.cli.options import Inputs
from tailcut.cli.pictures import Steps
from tailcut.errors import TailcutWarning
from tailcut.network.batches import read
from tailcut.readers.class_map import class_map
from tailcut.readers.columns import Columns


@dataclass(frozen=True, eq=False)
class Opened:
    """A network and its batches.

    Attributes:
        rows: The training rows; None where a factory made the batches.
        steps: How images are prepared, if there are any.
        code: Python that builds the network, where it is known.
        changed: The options that say how images are read.
    """

    model: nn.Module
    train: Batches
    holdout: Batches | None
    clean: Any
    rows: sources.Rows | None
    steps: Steps | None
    code: str
    changed: list[str]


def open_run(options: Mapping[str, Any], clean: str | None) -> Opened:
    """The network and the data that the words of a command name."""
    inputs: Inputs = options["inputs"]
    model = models.network(options["model"], options["preprocessing"], inputs.weights)
    reading = sources.Reading(
        Columns(inputs.text_column, inputs.image_column, inputs.label_column),
        None if inputs.class_map is None else class_map(inputs.class_map),
        model.names,
    )
    rows, held, true = sources.of_run([inputs.data, inputs.holdout, clean], reading)

    def batches(found: Any) -> Any:
        if isinstance(found, sources.Rows):
            return found.batches(model.collate, inputs.batch_size)
        return found

    train, holdout = batches(rows), batches(held)
    if clean == inputs.data and isinstance(rows, sources.Rows) and rows.clean_N is not None:
        true = rows.clean_N
    else:
        true = batches(true.true() if isinstance(true, sources.Rows) else true)
    classes = inputs.classes
    if classes is None and isinstance(rows, sources.Rows):
        classes = rows.class_count
    elif classes is None:
        classes = 1 + max(int(batch.labels.max()) for batch in read(train))
    built = models.weighted(model, next(read(train)).inputs, classes, inputs.weights)
    known = rows if isinstance(rows, sources.Rows) else None
    steps = model.steps if known is not None and known.kind == "image" else None
    code = model.code(None if inputs.weights is None else classes) if model.code else ""
    changed = [f"--{each.replace('_', '-')}" for each in options["preprocessing"].of_images]
    return Opened(built, train, holdout, true, known, steps, code, changed)


def views_of(word: str) -> Any:
    """Of --views: "auto", or names in a list."""
    if word == "auto":
        return "auto"
    return [each for each in word.split(",") if each not in {"", "none"}]


def note(text: str) -> None:
    """Warn the person at the terminal."""
    warnings.warn(text, TailcutWarning, stacklevel=2)
