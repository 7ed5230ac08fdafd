"""What a loader is, before anything is read from it: batches at all, in which order, by whom."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from tailcut.errors import DataError

_ARRAYS = (Tensor, np.ndarray, pd.DataFrame, pd.Series)
_SEVERAL_TIMES = "an iterable of batches that can be read several times"


def require_batches(loader: Any) -> None:
    """Refuse what cannot be batches, with what to pass instead.

    Raises:
        DataError: Arrays, a table, a path, a dict, an iterator, or nothing to iterate over.
    """
    if isinstance(loader, Iterator):
        raise DataError(
            f"an iterator ({type(loader).__name__}) that can be read only once",
            wanted=_SEVERAL_TIMES,
            advice="Pass a DataLoader, or list(batches)",
        )
    if isinstance(loader, (tuple, list)) and len(loader) in (2, 3):
        if all(isinstance(part, _ARRAYS) for part in loader):
            raise _no_batches(
                f"arrays ({', '.join(map(_sized, loader))})",
                "Pass [(inputs, labels)], or DataLoader(TensorDataset(inputs, labels), "
                "batch_size=256) of two tensors",
            )
    elif isinstance(loader, pd.DataFrame):
        raise _no_batches(
            f"a DataFrame with the columns {', '.join(map(str, loader.columns))}",
            "Pass [(inputs, labels)], a tensor of the columns that the network reads and one of "
            "the labels",
        )
    elif isinstance(loader, _ARRAYS):
        raise _no_batches(f"an array ({_sized(loader)})", "Pass [(inputs, labels)]")
    elif isinstance(loader, (str, bytes, os.PathLike)):
        raise _no_batches(
            f"the path {os.fsdecode(loader)!r}",
            "Read the file and pass a DataLoader; the command line takes files, as "
            "in tailcut repair MODEL --data DATA",
        )
    elif isinstance(loader, Mapping):
        raise _no_batches(described(loader), "Pass [batch] for one batch, or one of the values")
    elif not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise _no_batches(described(loader), "Pass a DataLoader, or a list of batches")


def single_samples(loader: Any, sample: Any) -> DataError:
    """Of a data set where its DataLoader was wanted."""
    advice = "Pass DataLoader(dataset, batch_size=256)"
    if hasattr(loader, "with_format"):  # a Dataset of Hugging Face
        advice = 'Pass DataLoader(dataset.with_format("torch"), batch_size=256)'
    elif isinstance(loader, DataLoader):
        advice = "Give the DataLoader a batch_size, such as 256"
    return DataError(
        f"a {type(loader).__name__} that yields single samples ({described(sample)})",
        wanted="batches (inputs, labels) of many samples",
        advice=advice,
    )


def is_scalar(value: Any) -> bool:
    """Whether it is one number or text, not many."""
    return isinstance(value, (str, Number)) or getattr(value, "ndim", 1) == 0


def shuffles(loader: Any) -> bool:
    """Whether any sampler of a DataLoader, or one inside it, is a random one."""
    while loader is not None:
        if isinstance(loader, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)):
            return True
        if getattr(loader, "shuffle", False) is True:  # as of a DistributedSampler
            return True
        inner = getattr(loader, "batch_sampler", None)  # may have a length, and none to tell
        loader = getattr(loader, "sampler", None) if inner is None else inner
    return False


def in_order(loader: Any) -> bool:
    """Whether a DataLoader takes the samples of its data set in order by its making."""
    return (
        isinstance(loader, DataLoader)
        and type(loader).__iter__ is DataLoader.__iter__
        and isinstance(loader.dataset, Dataset)
        and not isinstance(loader.dataset, IterableDataset)
        and type(loader.sampler) is SequentialSampler
        and type(loader.batch_sampler) in (BatchSampler, type(None))
    )


def workers(loader: Any) -> int:
    """How many workers each hold a copy of a stream; 1 where none do."""
    if isinstance(getattr(loader, "dataset", None), IterableDataset):
        return max(1, getattr(loader, "num_workers", 0))
    return 1


def dropped(loader: Any) -> int:
    """How many samples drop_last may leave out of a pass: others in each one, if it shuffles."""
    for part in (loader, getattr(loader, "batch_sampler", None), getattr(loader, "sampler", None)):
        size = getattr(part, "batch_size", None)
        if getattr(part, "drop_last", False) is True and isinstance(size, int):
            return size - 1
    return 0


def described(raw: Any) -> str:
    """A batch, or what stands in its place, for messages."""
    if isinstance(raw, Mapping):
        return f"a dict with the keys {sorted(map(str, raw))}"
    if isinstance(raw, (tuple, list)) and len(raw) > 4:
        return f"a {type(raw).__name__} of {len(raw)} items"
    if isinstance(raw, (tuple, list)):
        return f"a {type(raw).__name__} of {', '.join(type(part).__name__ for part in raw)}"
    return f"a {type(raw).__name__}"


def _no_batches(seen: str, advice: str) -> DataError:
    return DataError(f"{seen} instead of batches", wanted=_SEVERAL_TIMES, advice=advice)


def _sized(array: Any) -> str:
    return f"{type(array).__name__} of shape {tuple(array.shape)}"
