"""The DATA words of the command line: files, folders and factories become batches."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tailcut._typing import Batches
from tailcut.errors import SpecError
from tailcut.lab.data.digits import digits
from tailcut.readers.arrays import npz
from tailcut.readers.classes import Classes
from tailcut.readers.columns import Columns
from tailcut.readers.folders import folder
from tailcut.readers.found import Found
from tailcut.readers.hub import hub
from tailcut.readers.numbering import numbered
from tailcut.readers.parquet import parquet
from tailcut.readers.rows import Rows
from tailcut.readers.separated import separated
from tailcut.readers.words import factory, is_module

__all__ = ["Reading", "Rows", "of_run", "rows"]


@dataclass(frozen=True)
class Reading:
    """How the DATA words of a run are read.

    Attributes:
        columns: Of tables.
        classes: Numbers of the class names: of a class map, or as in the training data.
        network: The names a network has for its own classes; asked where nothing else says
            which number a name has.
    """

    columns: Columns = field(default_factory=Columns)
    classes: Classes | None = None
    network: Classes | None = None


def of_run(words: Sequence[Any], reading: Reading) -> list[Any]:
    """The data of a run, the training data first: one numbering of the classes holds for all.

    Args:
        words: DATA words; what is no text (None, or batches) stays as it is.
        reading: With the classes of a class map, if there is one.

    Raises:
        SpecError: Words that name nothing, rows that are not there, a class that the training
            data does not have, or class folders beside training data without names.
    """
    found: list[Any] = []
    for word in words:
        if not isinstance(word, str):
            found.append(word)
            continue
        found.append(rows(word, reading, first=not found))
        if len(found) == 1 and reading.classes is None and isinstance(found[0], Rows):
            names = found[0].class_names
            classes = names and Classes.ordered(names, f"the training data {word}")
            reading = replace(reading, classes=classes or None)
    return found


def rows(word: str, reading: Reading | None = None, *, first: bool = True) -> Rows | Batches:
    """DATA: rows of a file or folder; a factory's batches are passed on as they are.

    Args:
        word: The DATA.
        reading: How to read it.
        first: The training data, whose class folders may be numbered by their own names.

    Raises:
        SpecError: A word that names nothing, rows that are not there, or classes that nobody
            has numbered.
        DataError: Rows that cannot be used.
    """
    reading = reading or Reading()
    match = re.fullmatch(r"(.*)\[(\d*):(\d*)\]", word, re.DOTALL)
    plain = match.group(1) if match else word
    found = _read(plain, word, reading)
    if isinstance(found, Found):
        found = numbered(found, reading.classes, reading.network, first=first)
    if match is None:
        return found
    if not isinstance(found, Rows):
        raise SpecError(
            f"rows {word[len(plain) :]} of a factory's batches",
            wanted="a factory without [a:b]",
            advice="Let the factory choose its rows",
        )
    chosen = found.between(slice(*(int(edge) if edge else None for edge in match.groups()[1:])))
    if not len(chosen):
        raise SpecError(
            f"{word!r} has no rows: there are {len(found)}",
            wanted="a range inside the data",
            advice="Correct [a:b]",
        )
    return chosen


def _read(plain: str, word: str, reading: Reading) -> Found | Rows | Batches:
    kind, _, rest = plain.partition(":")
    if plain == "digits":
        samples = digits()
        return Rows(samples.inputs, samples.given, "tensor")
    if kind in _DATA and rest:
        return _DATA[kind](rest, reading)
    if rest and is_module(kind):
        return factory(plain)
    raise SpecError(
        f"no data called {word!r}",
        wanted=f"digits, {', '.join(f'{each}:{_FORMS[each]}' for each in _DATA)} or "
        "package.module:factory, each perhaps with [a:b]",
        advice="Correct DATA",
    )


def _separated(path: str, reading: Reading, *, tabs: bool) -> Found:
    return separated(path, reading.columns, reading.classes or reading.network, tabs=tabs)


_DATA: dict[str, Callable[[str, Reading], Found]] = {
    "imagefolder": lambda root, _reading: folder(root),
    "parquet": lambda path, reading: parquet(path, reading.columns),
    "csv": partial(_separated, tabs=False),
    "tsv": partial(_separated, tabs=True),
    "npz": lambda path, _reading: npz(path),
    "hf": lambda name, reading: hub(name, reading.columns),
}
_FORMS = {kind: {"imagefolder": "DIR", "hf": "NAME"}.get(kind, "FILE") for kind in _DATA}
