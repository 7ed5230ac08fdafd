"""Parquet files of images or texts."""

from __future__ import annotations

import json
from pathlib import Path

from tailcut.readers.cells import items, unequivocal
from tailcut.readers.columns import Columns, Usual
from tailcut.readers.found import Found
from tailcut.readers.registry import Reading, source
from tailcut.readers.words import existing, extra, readable


@source("parquet", "FILE")
def _word(path: str, reading: Reading) -> Found:
    return parquet(path, reading.columns)


def parquet(path: str, columns: Columns, usual: Usual | None = None) -> Found:
    """Images or texts of a parquet file, as the Hugging Face hub lays it out.

    Args:
        path: Of the file.
        columns: Which to take.
        usual: Names of columns that need no option, for each kind that is wanted.

    Raises:
        SpecError: Damaged, or no such file.
        DataError: No such column, or several; cells that are no encoded image or no text.
    """
    file, arrow = existing(Path(path)), extra("pyarrow.parquet", "images")
    with readable(f"parquet:{path}"):
        schema = arrow.read_schema(file)
        item, kind, label = columns.chosen(schema.names, file.name, usual)
        table = arrow.read_table(file, columns=[item, label])
        table.validate(full=True)
        cells, labels = table[item].to_pylist(), table[label].to_pylist()
        names = _names(schema.metadata or {}, label)
    return Found(
        where=file.name,
        items=items(cells, kind, lambda row: f"row {row} of {file.name}", file.parent),
        labels=labels,
        kind=kind,
        keys=range(len(labels)),
        names=names,
    )


def _names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Of the classes, as the hub writes them beside the columns."""
    about = json.loads(metadata.get(b"huggingface", b"{}"))
    features = about.get("info", {}).get("features") or {}
    names = (features.get(label) or {}).get("names")
    return None if names is None else unequivocal(names)
