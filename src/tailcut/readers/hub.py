"""Data sets of the Hugging Face hub, or in a folder that its library reads."""

from __future__ import annotations

from typing import Any

from tailcut.readers.columns import Columns
from tailcut.readers.found import Found
from tailcut.readers.tables import items, unequivocal
from tailcut.words import extra, readable


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
        if isinstance(table.features[item], datasets.Image):
            table = table.cast_column(item, datasets.Image(decode=False))
        cells, labels = [_loaded(cell) for cell in table[item]], list(table[label])
    return Found(
        where=name,
        items=items(cells, kind, name),
        labels=labels,
        kind=kind,
        keys=range(len(labels)),
        names=names,
    )


def _loaded(cell: Any) -> Any:
    """An image that lies in a file of its own: its bytes."""
    if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
        with open(cell["path"], "rb") as file:  # noqa: PTH123 a path of the library's cache
            return file.read()
    return cell
