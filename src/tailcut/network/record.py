"""What is kept of a pass over a loader, to compare the next one with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tailcut.network.batches import Batch
from tailcut.network.sample import fingerprints

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

TELLING = 20
"""Different inputs, or changes of the label, that hardly ever repeat themselves by chance."""


@dataclass(frozen=True, eq=False)
class Record:
    """One batch or more.

    Attributes:
        labels_N: Given labels.
        marks_N: Fingerprints of the inputs.
        index_N: The samples' numbers; None without any.
        index_name: Where they were found, for messages.
        sizes: Samples of each batch.
    """

    labels_N: Array
    marks_N: Array
    index_N: Array | None
    index_name: str
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, batch: Batch) -> Record:
        """Of one batch."""
        index_N = None if batch.index is None else batch.index.numpy()
        labels_N, marks_N = batch.labels.cpu().numpy(), fingerprints(batch.inputs)
        return cls(labels_N, marks_N, index_N, batch.index_name, (len(batch),))

    @classmethod
    def joined(cls, parts: Sequence[Record]) -> Record:
        """Of at least one, of which all that hold samples have an index, or none."""
        held = [(part.index_N, part.index_name) for part in parts if part.index_N is not None]
        return cls(
            np.concatenate([part.labels_N for part in parts]),
            np.concatenate([part.marks_N for part in parts]),
            np.concatenate([index_n for index_n, _ in held]) if held else None,
            held[0][1] if held else "",
            tuple(size for part in parts for size in part.sizes),
        )

    def __len__(self) -> int:
        return len(self.labels_N)

    def batch_of(self, row: int) -> int:
        """The batch that a row belongs to, from 0."""
        return int(np.searchsorted(np.cumsum(self.sizes), row, side="right"))

    def by_index(self) -> Record:
        """The same samples, the least number first; as they stand where there are none."""
        if self.index_N is None:
            return self
        order = np.argsort(self.index_N)
        labels_N, marks_N, index_N = (x[order] for x in (self.labels_N, self.marks_N, self.index_N))
        return Record(labels_N, marks_N, index_N, self.index_name, (len(self),))

    def rows_of(self, index_n: Array) -> tuple[Array, Array]:
        """The rows of samples with these numbers, and which of them there are.

        Only of a record by index.
        """
        assert self.index_N is not None
        rows_n = np.searchsorted(self.index_N, index_n).clip(max=len(self) - 1)
        return rows_n, self.index_N[rows_n] == index_n

    @property
    def counts(self) -> Array:
        """How often each different input comes."""
        return np.unique(self.marks_N, return_counts=True)[1]

    @property
    def once(self) -> Array:
        """Rows whose input comes once."""
        _, rows_n, counts_n = np.unique(self.marks_N, return_index=True, return_counts=True)
        return rows_n[counts_n == 1]

    def in_turns(self, workers: int) -> bool:
        """Whether all workers yield the same labels, as far as their changes can tell."""
        if len(self.sizes) % workers:
            return False
        batches = np.split(self.labels_N, np.cumsum(self.sizes)[:-1])
        one, *others = (batches[number::workers] for number in range(workers))
        changes = np.count_nonzero(np.diff(np.concatenate(one)))
        same = all(all(map(np.array_equal, one, other)) for other in others)
        return bool(changes >= TELLING) and same
