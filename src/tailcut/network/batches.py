"""Batches of any form in, one form out: inputs, labels, and perhaps the samples' numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from tailcut._typing import Batches, Inputs
from tailcut.errors import DataError
from tailcut.numerics.checks import checked_labels


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch: inputs, labels (N,) int64, and the samples' numbers (N,) where given."""

    inputs: Inputs
    labels: Tensor
    index: Tensor | None

    def __len__(self) -> int:
        return len(self.labels)


def read(loader: Batches, classes: int | None = None) -> Iterator[Batch]:
    """Batches of a loader, checked.

    Args:
        loader: Yields `(inputs, labels)`, `(inputs, labels, index)`, or a dict with `labels`
            or `label` (and perhaps `index`) among its tensors. Batches of no sample are
            passed over.
        classes: K, to check the labels against.

    Raises:
        DataError: No sample at all, no iterable, an iterator that can be read only once,
            batches of another form, labels that are not integers in 0..K-1, or an index
            that does not number the samples.
    """
    _require_repeatable(loader)
    empty = True
    for number, raw in enumerate(loader):
        batch = _parse(raw, classes, f"batch {number}")
        if len(batch):
            empty = False
            yield batch
    if empty:
        raise DataError(
            "a loader without a single batch",
            wanted="at least one batch (inputs, labels)",
            advice="Check the data set, and drop_last with fewer samples than a batch",
        )


def _require_repeatable(loader: Any) -> None:
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise DataError(
            f"{_described(loader)} instead of batches",
            wanted="an iterable of batches that can be read several times",
            advice="Pass a DataLoader, or a list of batches",
        )
    if isinstance(loader, Iterator):
        raise DataError(
            f"an iterator ({type(loader).__name__}) that can be read only once",
            wanted="an iterable of batches that can be read several times",
            advice="Pass a DataLoader, or list(batches)",
        )


def _parse(raw: Any, classes: int | None, where: str) -> Batch:
    inputs, labels, index = _parts(raw)
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    if labels is None or not tensors:
        raise DataError(
            f"{where} is {_described(raw)}",
            wanted="(inputs, labels), (inputs, labels, index), or a dict of tensors with 'labels'",
            advice="Adapt the loader or its collate function",
        )
    labels = checked_labels(labels, classes, where)
    rows = {len(tensor) if tensor.ndim else 1 for tensor in tensors}
    if rows != {len(labels)}:
        raise DataError(
            f"{where} has {' and '.join(map(str, sorted(rows)))} inputs but {len(labels)} labels",
            wanted="one label for each sample",
            advice="Check what the loader yields",
        )
    return Batch(inputs, labels, None if index is None else _checked_index(index, labels, where))


def _parts(raw: Any) -> tuple[Inputs, Any, Any]:
    """Inputs, labels and index of a batch; no inputs or no labels if it has another form."""
    if isinstance(raw, Mapping):
        inputs = dict(raw)
        label_key = next((key for key in ("labels", "label") if key in inputs), None)
        labels = None if label_key is None else inputs.pop(label_key)
        return _only_tensors(inputs), labels, inputs.get("index")
    if isinstance(raw, (tuple, list)) and len(raw) in (2, 3):
        return _only_tensors(raw[0]), raw[1], raw[2] if len(raw) == 3 else None
    return {}, None, None


def _only_tensors(inputs: Any) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs
    items = inputs.items() if isinstance(inputs, Mapping) else ()
    return {key: value for key, value in items if isinstance(value, Tensor) and key != "index"}


def _checked_index(index: Any, labels: Tensor, where: str) -> Tensor:
    """Positions in the data set as int64 (N,)."""
    try:
        return checked_labels(index, None, where).reshape(labels.shape)
    except (DataError, RuntimeError):
        raise DataError(
            f"{where} has a third item, or an 'index', that does not number its "
            f"{len(labels)} samples",
            wanted="the position of each sample in the data set, integers from 0",
            advice="Yield (inputs, labels) alone, or (inputs, labels, index)",
        ) from None


def _described(raw: Any) -> str:
    if isinstance(raw, Mapping):
        return f"a dict with the keys {sorted(map(str, raw))}"
    if isinstance(raw, (tuple, list)):
        return f"a {type(raw).__name__} of {', '.join(type(part).__name__ for part in raw)}"
    return f"a {type(raw).__name__}"


def require_order(loader: Batches) -> None:
    """Refuse a loader that shuffles without telling which sample is which.

    Raises:
        DataError: A random sampler, and batches without an index.
    """
    if _shuffles(loader) and next(read(loader)).index is None:
        raise DataError(
            "a loader that shuffles without telling which sample is which",
            wanted="batches in a fixed order, or (inputs, labels, index)",
            advice="Set shuffle=False, or yield each sample's position as a third item",
        )


def _shuffles(loader: Any) -> bool:
    """Whether any sampler of a DataLoader, or one inside it, is a random one."""
    while loader is not None:
        if isinstance(loader, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)):
            return True
        if getattr(loader, "shuffle", False) is True:  # as of a DistributedSampler
            return True
        loader = getattr(loader, "batch_sampler", None) or getattr(loader, "sampler", None)
    return False
