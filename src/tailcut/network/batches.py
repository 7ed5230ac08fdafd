"""Batches of any form in, one form out: inputs, labels, and perhaps the samples' numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tailcut._typing import Batches, Inputs
from tailcut.errors import DataError
from tailcut.network.inputs import tensors_of
from tailcut.network.loaders import (
    described,
    is_scalar,
    require_batches,
    shuffles,
    single_samples,
)
from tailcut.numerics.checks import checked_labels

_LABELS, _INDICES = ("labels", "label"), ("index", "idx")


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch.

    Attributes:
        inputs: What the network is called with.
        labels: (N,) int64; the loader may overwrite its own.
        index: The samples' numbers (N,) int64; None where none are given.
        index_name: Where they were found, for messages.
    """

    inputs: Inputs
    labels: Tensor
    index: Tensor | None
    index_name: str = "index"

    def __len__(self) -> int:
        return len(self.labels)


def read(loader: Batches, classes: int | None = None) -> Iterator[Batch]:
    """Batches of a loader, checked.

    Args:
        loader: Yields `(inputs, labels)`, `(inputs, labels, index)`, or a dict with `labels`
            or `label` (and perhaps `index` or `idx`) among its tensors. NumPy arrays become
            tensors, those in double precision floats of the default type. Batches of no sample
            are passed over.
        classes: K, to check the labels against.

    Raises:
        DataError: No sample at all, no batches, an iterator that can be read only once,
            batches of another form, labels that are not integers in 0..K-1, or an index
            that does not number the samples.
    """
    empty = True
    for batch in parsed(loader, classes):
        if len(batch):
            empty = False
            yield batch
    if empty:
        raise DataError(
            "a loader without a single batch",
            wanted="at least one batch (inputs, labels)",
            advice="Check the data set, and drop_last with fewer samples than a batch",
        )


def parsed(loader: Batches, classes: int | None = None) -> Iterator[Batch]:
    """What `read` yields, empty batches too."""
    require_batches(loader)
    for number, raw in enumerate(_iterated(loader)):
        yield _parse(raw, classes, f"batch {number}", loader)


def _iterated(loader: Any) -> Iterable[Any]:
    """A sequence of batches may slice its data, and so never say that it has ended."""
    if hasattr(loader, "__iter__") or not hasattr(loader, "__len__"):
        return loader
    return (loader[number] for number in range(len(loader)))


def _parse(raw: Any, classes: int | None, where: str, loader: Any) -> Batch:
    if isinstance(raw, Batch):
        checked_labels(raw.labels, classes, where)
        return raw
    inputs, labels, index, index_name = _parts(raw)
    if is_scalar(labels):
        raise single_samples(loader, raw)
    _require_stacked(raw, where)
    tensors = tensors_of(inputs)
    if labels is None or not tensors:
        raise DataError(
            f"{where} is {described(raw)}",
            wanted="(inputs, labels), (inputs, labels, index), or a dict of tensors with 'labels'",
            advice="Adapt the loader or its collate function",
        )
    labels = checked_labels(labels, classes, where).clone()
    rows = {len(tensor) if tensor.ndim else 1 for tensor in tensors}
    if rows != {len(labels)}:
        raise DataError(
            f"{where} has {' and '.join(map(str, sorted(rows)))} inputs but {len(labels)} labels",
            wanted="one label for each sample",
            advice="Check what the loader yields",
        )
    if index is not None:
        index = _checked_index(index, len(labels), where, index_name)
    return Batch(inputs, labels, index, index_name)


def _require_stacked(raw: Any, where: str) -> None:
    """Refuse what torch makes of samples that are lists: a list of tensors, one for each place."""
    for key, value in raw.items() if isinstance(raw, Mapping) else ():
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
            raise DataError(
                f"{where} has {key!r} as a list of {len(value)} tensors",
                wanted="one tensor for all samples of a batch",
                advice='Format a Hugging Face data set with dataset.with_format("torch"), or '
                "stack them in the collate function",
            )


def _parts(raw: Any) -> tuple[Inputs, Any, Any, str]:
    """Inputs, labels, index and its name; no inputs or no labels if it has another form."""
    if isinstance(raw, Mapping):
        label_key = next((key for key in _LABELS if key in raw), None)
        labels = None if label_key is None else raw[label_key]
        rest = {key: value for key, value in raw.items() if key != label_key}
        return _tensors(rest), labels, *_index_in(rest)
    if isinstance(raw, (tuple, list)) and len(raw) == 3:
        return _tensors(raw[0]), raw[1], raw[2], "a third item"
    if isinstance(raw, (tuple, list)) and len(raw) == 2:
        return _tensors(raw[0]), raw[1], *_index_in(raw[0])
    return {}, None, None, ""


def _index_in(inputs: Any) -> tuple[Any, str]:
    held = inputs if isinstance(inputs, Mapping) else {}
    name = next((key for key in _INDICES if key in held), "")
    return held.get(name), f"the column {name!r}"


def _tensors(inputs: Any) -> Inputs:
    """The tensors among the inputs, without an index."""
    if isinstance(inputs, Mapping):
        found = {key: _tensor(each) for key, each in inputs.items() if key not in _INDICES}
        return {key: each for key, each in found.items() if each is not None}
    tensor = _tensor(inputs)
    return {} if tensor is None else tensor


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        tensor = torch.from_numpy(value if value.flags.writeable else value.copy())
        return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor
    return value if isinstance(value, Tensor) else None


def _checked_index(index: Any, samples: int, where: str, name: str) -> Tensor:
    """Positions in the data set as int64 (N,), on the CPU."""
    try:
        return checked_labels(index, None, where, samples).cpu().clone()
    except DataError:
        raise DataError(
            f"{where} has {name} ({_shown(index)}) that does not number its {samples} samples",
            wanted="the position of each sample in the data set, integers from 0",
            advice="Leave it out, or yield that position",
        ) from None


def _shown(values: Any) -> str:
    """The first few of them, for messages."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, (list, tuple)):
        return described(values)
    shown = ", ".join(str(each) for each in values[:3])
    return f"{shown}, ..." if len(values) > 3 else shown


def require_order(loader: Batches) -> None:
    """Refuse a loader that shuffles without telling which sample is which.

    Raises:
        DataError: A random sampler, and batches without an index.
    """
    if shuffles(loader) and next(read(loader)).index is None:
        raise DataError(
            "a loader that shuffles without telling which sample is which",
            wanted="batches in a fixed order, or (inputs, labels, index)",
            advice="Set shuffle=False, or yield each sample's position as a third item",
        )
