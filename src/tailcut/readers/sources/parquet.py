"""Parquet files, and what the cells of their columns hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailcut.errors import DataError
from tailcut.readers.columns import Columns
from tailcut.readers.found import Found
from tailcut.readers.images import Picture, pictures
from tailcut.readers.registry import Reading, source
from tailcut.readers.words import existing, extra, readable


@source("parquet", "FILE")
def _word(path: str, reading: Reading) -> Found:
    return parquet(path, reading.columns)


def parquet(path: str, columns: Columns, kinds: Sequence[str] = ("image", "text")) -> Found:
    """Images or texts of a parquet file, as the Hugging Face hub lays it out.

    Args:
        path: Of the file.
        columns: Which to take.
        kinds: Of items that are wanted.

    Raises:
        SpecError: Damaged, or no such file.
        DataError: No such column, or several; cells that are no encoded image or no text.
    """
    file, arrow = existing(Path(path)), extra("pyarrow.parquet", "images")
    with readable(f"parquet:{path}"):
        schema = arrow.read_schema(file)
        item, kind, label = columns.chosen(schema.names, file.name, kinds)
        table = arrow.read_table(file, columns=[item, label])
        table.validate(full=True)
        cells, labels = table[item].to_pylist(), table[label].to_pylist()
        names = _names(schema.metadata or {}, label)
    return Found(
        where=file.name,
        items=texts(cells, file.name) if kind == "text" else _images(cells, file.name),
        labels=labels,
        kind=kind,
        keys=range(len(labels)),
        names=names,
    )


def texts(cells: Sequence[Any], where: str) -> Sequence[str]:
    """The cells of a column of texts.

    Raises:
        DataError: A cell that is none.
    """
    _refuse(cells, [isinstance(cell, str) for cell in cells], "text", where)
    return cells


def _images(cells: Sequence[Any], where: str) -> Sequence[Picture]:
    contents = [encoded(cell) for cell in cells]
    _refuse(cells, contents, "image", where)
    return pictures(contents, [f"row {row} of {where}" for row in range(len(contents))])


def encoded(cell: Any) -> bytes:
    """The bytes of an image, alone or as the hub has them: {"bytes": ..., "path": ...}.

    Empty where there are none.
    """
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return content if isinstance(content, bytes) else b""


def _refuse(cells: Sequence[Any], usable: Sequence[Any], kind: str, where: str) -> None:
    """The first cell that is not usable."""
    row = next((row for row, each in enumerate(usable) if not each), None)
    if row is not None:
        raise DataError(
            f"row {row} of {where} holds {_type(cells[row])} in the column of the {kind}s",
            wanted={"text": "a text", "image": "the bytes of an encoded image"}[kind],
            advice="Remove that row, or choose another column",
        )


def _type(cell: Any) -> str:
    if isinstance(cell, dict):
        return f"a record of {', '.join(cell)} without bytes"
    return "nothing" if cell is None else f"a {type(cell).__name__}"


def _names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Of the classes, as the hub writes them beside the columns."""
    about = json.loads(metadata.get(b"huggingface", b"{}"))
    features = about.get("info", {}).get("features") or {}
    names = (features.get(label) or {}).get("names")
    return None if names is None else unequivocal(names)


def unequivocal(names: Any) -> tuple[str, ...]:
    """Names of classes, if each is a text and stands there once."""
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"the names of the classes are {names}")
    return tuple(names)
