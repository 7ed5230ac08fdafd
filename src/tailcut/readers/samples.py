"""Data sets of torch that hold single samples, as torchvision's do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

from tailcut.errors import DataError
from tailcut.readers.found import Found


def holds_samples(thing: Any) -> bool:
    """Whether it is a data set of (item, label), and no loader that yields batches of them."""
    from torch.utils.data import Dataset

    if not isinstance(thing, Dataset):
        return False
    first = next(iter(islice(_samples(thing), 1)), None)
    return (
        isinstance(first, (tuple, list))
        and len(first) == 2
        and (isinstance(first[1], (int, str)) or getattr(first[1], "ndim", 1) == 0)
    )


def samples(dataset: Any, where: str) -> Found:
    """Items and labels of a data set; of a stream the order is that of one pass over it.

    Items of a data set that can be asked for a row are asked for when it is their turn.

    Args:
        dataset: Yields (item, label): images, texts or tensors, and integers or names.
        where: For messages.

    Raises:
        DataError: Items that are no image, text or tensor, or of several kinds.
    """
    stream = not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__")
    items: list[Any] = []
    labels: list[Any] = []
    kinds: dict[str, int] = {}
    for row, (item, label) in enumerate(_samples(dataset)):
        kinds.setdefault(_kind(item), row)
        items.append(item if stream else partial(_item, dataset, row))
        labels.append(label if isinstance(label, str) else int(label))
    if len(kinds) > 1 or not kinds.keys() <= {"tensor", "image", "text"}:
        listed = ", ".join(f"{kind} (row {row})" for kind, row in kinds.items())
        raise DataError(
            f"{where} yields items of the kinds {listed}",
            wanted="tensors, PIL images or texts, and one kind of them",
            advice="Adapt the data set, or pass batches: a DataLoader with a collate function",
        )
    names = getattr(dataset, "classes", None)
    numbers = all(isinstance(label, int) for label in labels)
    named = numbers and isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names)
    return Found(
        where=where,
        items=items,
        labels=labels,
        kind=next(iter(kinds)),
        keys=_keys(dataset, len(labels)),
        names=tuple(names) if named and names else None,
    )


def _samples(dataset: Any) -> Iterator[Any]:
    """A data set that can be asked for rows need not say itself where it ends."""
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        return (dataset[row] for row in range(len(dataset)))
    return iter(dataset)


def _item(dataset: Any, row: int) -> Any:
    return dataset[row][0]


def _kind(item: Any) -> str:
    from torch import Tensor

    if isinstance(item, Tensor):
        return "tensor"
    if isinstance(item, str):
        return "text"
    return (
        "image" if hasattr(item, "convert") and hasattr(item, "getbands") else type(item).__name__
    )


def _keys(dataset: Any, rows: int) -> Any:
    """Paths, where it lists them as torchvision's folders do; else the numbers of the rows."""
    listed = getattr(dataset, "samples", None) or getattr(dataset, "imgs", None)
    if not isinstance(listed, list) or len(listed) != rows:
        return range(rows)
    paths = [each[0] for each in listed if isinstance(each, tuple) and isinstance(each[0], str)]
    return paths if len(paths) == rows else range(rows)
