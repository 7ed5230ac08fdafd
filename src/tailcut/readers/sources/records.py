"""JSON: a list of records, or one record in each line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailcut.errors import SpecError
from tailcut.readers.cells import items
from tailcut.readers.columns import Columns
from tailcut.readers.found import Found
from tailcut.readers.registry import Reading, source
from tailcut.readers.words import existing, readable


@source("json", "FILE")
def _json(path: str, reading: Reading) -> Found:
    return records(path, reading.columns, "json")


@source("jsonl", "FILE")
def _lines(path: str, reading: Reading) -> Found:
    return records(path, reading.columns, "jsonl")


def records(path: str, columns: Columns, word: str = "json") -> Found:
    """Items and labels of a JSON file, as pandas or the Hugging Face library write it.

    A file that starts with a bracket is one list of records, and any other has one record in
    each line, whatever its name ends in. Values stay as they are written: no text becomes a
    number or a date. Images are paths from the folder of the file on.

    Raises:
        SpecError: Damaged, no records, or a name that stands twice in one of them.
        DataError: No such column, or several; cells that are no text or no image.
    """
    file = existing(Path(path))
    with readable(f"{word}:{path}"):
        text = file.read_bytes().decode("utf-8-sig")
        whole = text.lstrip()[:1] == "["
        rows = list(enumerate(_read(text, ""))) if whole else _by_line(text)
    place = _place("row" if whole else "line", [number for number, _ in rows], path)
    found = [record for _, record in rows]
    for row, record in enumerate(found):
        if not isinstance(record, dict):
            raise SpecError(
                f"{place(row)} is a {type(record).__name__}",
                wanted='records, such as {"text": "good film", "label": 1}',
                advice="Write it with pandas: frame.to_json(path, orient='records', lines=True)",
            )
    if not found:
        raise SpecError(f"{path} is empty", wanted="records", advice="Check the file")
    names = list(dict.fromkeys(name for record in found for name in record))
    item, kind, label = columns.chosen(names, path)
    return Found(
        where=path,
        items=items([record.get(item) for record in found], kind, place, file.parent),
        labels=[record.get(label) for record in found],
        kind=kind,
        keys=range(len(found)),
        place=place,
    )


def _by_line(text: str) -> list[tuple[int, Any]]:
    lines = enumerate(text.split("\n"), 1)
    return [(number, _read(line, f"line {number}: ")) for number, line in lines if line.strip()]


def _read(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError(f"{where}too many levels of brackets") from None
    except ValueError as cause:
        raise ValueError(f"{where}{cause}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A record whose names stand there once: of two values nobody knows which is meant."""
    record = dict(pairs)
    if len(record) < len(pairs):
        twice = next(name for n, (name, _) in enumerate(pairs) if name in dict(pairs[:n]))
        raise ValueError(f"the name {twice!r} stands twice in a record")
    return record


def _place(what: str, numbers: list[int], path: str) -> Callable[[int], str]:
    return lambda row: f"{what} {numbers[row]} of {path}"
