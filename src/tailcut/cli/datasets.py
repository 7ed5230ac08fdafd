"""The DATA words of the command line: files, folders and factories become batches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tailcut._typing import Batches
from tailcut.cli.words import data
from tailcut.errors import SpecError
from tailcut.readers.classes import Classes
from tailcut.readers.found import Found
from tailcut.readers.numbering import numbered
from tailcut.readers.registry import Reading
from tailcut.readers.rows import Rows
from tailcut.readers.words import factory, forms, is_module, match, readable

__all__ = ["Reading", "Rows", "of_run", "rows"]


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
    match = re.fullmatch(r"(.*)\[(-?\d+)?:(-?\d+)?\]", word, re.DOTALL)
    plain = match.group(1) if match else word
    found = _read(plain, word, reading)
    if isinstance(found, Found):
        found = numbered(found, reading.classes, reading.network, first=first)
    if match is None:
        return found
    if not isinstance(found, Rows):
        raise SpecError(
            f"rows {word[len(plain) :]} of a factory's batches",
            wanted="a factory without [a:b], or one that returns a data set of single samples",
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
    words = data()
    found = match(words, plain)
    if found is not None:
        opens, rest = found
        return opens(rest, reading)
    kind, _, rest = plain.partition(":")
    if rest and is_module(kind):
        return _made(factory(plain), plain, reading)
    raise SpecError(
        f"no data called {word!r}",
        wanted=f"{forms(words)}, each perhaps with [a:b]",
        advice="Correct DATA",
    )


def _made(made: Any, word: str, reading: Reading) -> Found | Batches:
    """Data sets of single samples become rows; batches are passed on as they are."""
    from tailcut.readers.samples import holds_samples, samples
    from tailcut.readers.sources import hub

    if hub.is_loaded(made):
        with readable(word, wanted="a data set of rows", advice="Check what the factory returns"):
            return hub.loaded(made, word, reading.columns)
    return samples(made, word) if holds_samples(made) else made
