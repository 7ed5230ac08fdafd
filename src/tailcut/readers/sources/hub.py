"""Data sets of the Hugging Face hub, or in a folder that its library reads."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tailcut.readers.columns import Columns
from tailcut.readers.found import Found
from tailcut.readers.images import pictures
from tailcut.readers.registry import Reading, source
from tailcut.readers.sources.parquet import encoded, texts, unequivocal
from tailcut.readers.words import extra, readable


@source("hf", "NAME")
def _word(name: str, reading: Reading) -> Found:
    return hub(name, reading.columns)


def hub(name: str, columns: Columns) -> Found:
    """A data set of the hub or a local folder; `NAME:split` takes another split than train.

    Raises:
        SpecError: What the library cannot load.
        DataError: No such column, or several; cells that are no encoded image or no text.
    """
    datasets = extra("datasets", "hf")
    path, _, split = name.partition(":")
    with readable(f"hf:{name}", advice="Check the name, the split and the network connection"):
        table = datasets.load_dataset(path, split=split or "train")
        item, kind, label = columns.chosen(table.column_names, f"the data set {path}")
        named = getattr(table.features[label], "names", None)
        names = None if named is None else unequivocal(named)
        labels = list(table[label])
        cells = table.select_columns([item])
        if kind == "image":
            cells = cells.cast_column(item, datasets.Image(decode=False))
            numbers = range(len(labels))
            items = pictures(
                [partial(_encoded, cells, item, row) for row in numbers],
                [f"row {row} of {name}" for row in numbers],
            )
        else:
            items = texts(list(cells[item]), name)
    return Found(
        where=name,
        items=items,
        labels=labels,
        kind=kind,
        keys=range(len(labels)),
        names=names,
        sorted_here=table.info.builder_name == "imagefolder",
    )


def _encoded(cells: Any, item: str, row: int) -> bytes:
    """The bytes of an image, from the table or from a file of its own."""
    cell = cells[row][item] or {}
    if cell.get("bytes") is None and cell.get("path"):
        return Path(cell["path"]).read_bytes()
    return encoded(cell)
