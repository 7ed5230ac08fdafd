"""Data sets of the Hugging Face library: on the hub, in a folder, or already in memory."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tailcut.errors import SpecError
from tailcut.readers.cells import encoded, items, unequivocal
from tailcut.readers.columns import USUAL, Columns
from tailcut.readers.found import Found
from tailcut.readers.images import Source, pictures
from tailcut.readers.registry import Reading, source
from tailcut.readers.words import extra, readable

_ADVICE = "Check the name, the split and the network connection"


@source("hf", "NAME")
def _word(name: str, reading: Reading) -> Found:
    return hub(name, reading.columns)


def hub(name: str, columns: Columns) -> Found:
    """A data set of the hub, a local folder that its library reads, or one of `save_to_disk`.

    Args:
        name: NAME, NAME:SPLIT for another split than train, or NAME:CONFIG:SPLIT for one of
            several configurations, such as nyu-mll/glue:sst2:train.
        columns: Which to take.

    Raises:
        SpecError: What the library cannot load, or a split that is not there.
        DataError: No such column, or several; cells that are no encoded image or no text.
    """
    datasets = extra("datasets", "hf")
    path, *rest = name.split(":")
    config, split = (rest[0] or None, rest[1]) if len(rest) == 2 else (None, ":".join(rest))
    with readable(f"hf:{name}", advice=_ADVICE):
        if _is_saved(Path(path)):
            return loaded(datasets.load_from_disk(path), path, columns, split)
        table = datasets.load_dataset(path, config, split=split or "train")
        return loaded(table, path, columns)


def is_loaded(thing: Any) -> bool:
    """Whether it is a data set of that library, and not one that yields batches."""
    names = {"Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict"}
    ours = any(
        each.__module__.startswith("datasets.") and each.__name__ in names
        for each in type(thing).__mro__
    )
    if not ours or isinstance(thing, dict):
        return ours
    first = next(iter(islice(thing, 1)), {})
    labels = [first[name] for name in USUAL["label"] if name in first]
    return all(isinstance(each, str) or not hasattr(each, "__len__") for each in labels)


def loaded(table: Any, where: str, columns: Columns, split: str = "") -> Found:
    """A data set in memory or on disk; a stream is read once, and its order holds from then on.

    Args:
        table: A Dataset or an IterableDataset, or a DatasetDict of them.
        where: For messages.
        columns: Which to take.
        split: Of a DatasetDict; else its train split, or its only one.
    """
    if isinstance(table, dict):
        only = next(iter(table)) if len(table) == 1 else "train"
        if (split or only) not in table:
            raise SpecError(
                f"{where} has the splits {', '.join(table)}",
                wanted=f"the split {split or only!r}",
                advice="Name one of them behind a colon, hf:NAME:SPLIT",
            )
        table = table[split or only]
    elif split:
        raise SpecError(
            f"{where} is one data set without splits",
            wanted=f"the split {split!r}",
            advice="Leave the split out",
        )
    if hasattr(table, "with_format"):
        table = table.with_format(None)
    whole = hasattr(table, "__len__")
    return _table(table, where, columns) if whole else _stream(table, where, columns)


def _is_saved(path: Path) -> bool:
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _table(table: Any, where: str, columns: Columns) -> Found:
    """Images stay where they are until it is their turn."""
    from datasets import Image

    item, kind, label = columns.chosen(table.column_names, f"the data set {where}")
    cells = table.select_columns([item])
    names = range(len(table))
    if kind == "image":
        cells = cells.cast_column(item, Image(decode=False))
        home = Path(where) if Path(where).is_dir() else Path()
        found: Any = pictures(
            [partial(_image, cells, item, home, row) for row in names],
            [f"row {row} of {where}" for row in names],
        )
    else:
        found = items(list(cells[item]), kind, lambda row: f"row {row} of {where}", Path())
    return Found(
        where=where,
        items=found,
        labels=list(table[label]),
        kind=kind,
        keys=names,
        names=_names(table.features, label),
        sorted_here=getattr(table.info, "builder_name", None) == "imagefolder",
    )


def _image(cells: Any, item: str, home: Path, row: int) -> Source:
    found = encoded(cells[row][item], home)
    return b"" if found is None else found


def _stream(table: Any, where: str, columns: Columns) -> Found:
    """All rows, in the order in which they come; images stay encoded, which takes less memory."""
    from datasets import Image

    first = next(iter(islice(table, 1)), None)
    if first is None:
        raise SpecError(f"the data set {where} holds no row", wanted="rows", advice=_ADVICE)
    item, kind, label = columns.chosen(list(first), f"the data set {where}")
    features = table.features or {}
    if isinstance(features.get(item), Image):
        table = table.cast_column(item, Image(decode=False))
    rows = [(row.get(item), row.get(label)) for row in table]
    return Found(
        where=where,
        items=items([cell for cell, _ in rows], kind, lambda row: f"row {row} of {where}", Path()),
        labels=[label for _, label in rows],
        kind=kind,
        keys=range(len(rows)),
        names=_names(features, label),
    )


def _names(features: Any, label: str) -> tuple[str, ...] | None:
    named = getattr(features.get(label), "names", None) if features else None
    return None if named is None else unequivocal(named)
