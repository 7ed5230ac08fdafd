"""Rows of a data set with numbered classes, and their batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tailcut._typing import Batches
from tailcut.errors import DataError, SpecError
from tailcut.readers.words import Collate


@dataclass(frozen=True, eq=False)
class Rows(Dataset[Any]):
    """Raw items with their labels.

    Attributes:
        items: Tensors, PIL images (or what opens them), or texts.
        labels_N: Given labels.
        kind: "tensor", "image" or "text".
        clean_N: True labels where the file holds them.
        class_names: Of the classes, in the order of their numbers, where they are known.
        keys: What identifies each row for a person: a path, or its number in the file; by default
            the number of the row.
    """

    items: Any
    labels_N: Tensor
    kind: str
    clean_N: Tensor | None = None
    class_names: tuple[str, ...] | None = None
    keys: Sequence[str | int] | None = None

    def __post_init__(self) -> None:
        if self.keys is None:
            object.__setattr__(self, "keys", range(len(self.labels_N)))

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, row: int) -> tuple[Any, int, int]:
        item = self.items[row]
        if callable(item):
            try:
                item = item()
            except DataError as error:
                raise DataError(
                    f"row {row} cannot be opened: {error.seen}",
                    wanted=error.wanted,
                    advice=error.advice,
                ) from None
        return item, int(self.labels_N[row]), row

    @property
    def class_count(self) -> int:
        """K, as far as the data shows: one more than the largest label, or all that have a name."""
        return max(1 + int(self.labels_N.max()), len(self.class_names or ()))

    def true(self) -> Rows:
        """With the true labels as labels, where they are known."""
        return self if self.clean_N is None else replace(self, labels_N=self.clean_N)

    def between(self, rows: slice) -> Rows:
        """Some consecutive rows."""
        return replace(
            self,
            items=self.items[rows],
            labels_N=self.labels_N[rows],
            clean_N=None if self.clean_N is None else self.clean_N[rows],
            keys=None if self.keys is None else self.keys[rows],
        )

    def batches(self, collate: Mapping[str, Collate], batch_size: int) -> Batches:
        """In order, with the row numbers.

        Raises:
            SpecError: A network that cannot read items of this kind.
        """
        if self.kind not in collate:
            raise SpecError(
                f"{self.kind} data for a network that reads {' or '.join(collate)}",
                wanted="data of that kind",
                advice="Check MODEL and DATA, or pass a factory package.module:function for either",
            )

        def together(rows: list[tuple[Any, int, int]]) -> Any:
            items, labels, numbers = zip(*rows, strict=True)
            inputs = collate[self.kind](list(items))
            labels, numbers = torch.tensor(labels), torch.tensor(numbers)
            if isinstance(inputs, Mapping):
                return {**inputs, "labels": labels, "index": numbers}
            return inputs, labels, numbers

        return DataLoader(self, batch_size, collate_fn=together)
