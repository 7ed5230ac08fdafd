"""Samples held in memory with their given and their true labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from tailcut.errors import DataError

OUTSIDE = -1
"""The true label of an input that belongs to none of the classes."""


@dataclass(frozen=True, eq=False)
class Samples(Dataset[Any]):
    """Inputs with their given labels and, where known, their true ones.

    Attributes:
        inputs: N x ...; uint8 pixels (0..255) or floats, which are passed on as they are.
        given: Labels (N,) as a network sees them.
        clean: True labels (N,), or None; `OUTSIDE` where no class is right.
    """

    inputs: Tensor
    given: Tensor
    clean: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: Any) -> tuple[Tensor, Tensor, Tensor]:
        """A batch (inputs as float32, pixels scaled to 0..1; given labels; row numbers)."""
        rows = torch.as_tensor(rows)
        inputs = self.inputs[rows]
        if inputs.dtype == torch.uint8:
            inputs = inputs.float() / 255
        return inputs, self.given[rows], rows

    def __or__(self, other: Samples) -> Samples:
        """These samples followed by others."""
        clean = None
        if self.clean is not None and other.clean is not None:
            clean = torch.cat([self.clean, other.clean])
        return Samples(
            torch.cat([self.inputs, other.inputs]), torch.cat([self.given, other.given]), clean
        )

    @property
    def classes(self) -> int:
        """K: one more than the largest label."""
        known = self.given if self.clean is None else torch.cat([self.given, self.clean])
        return int(known.max()) + 1

    @property
    def true_N(self) -> Tensor:
        """True labels; the given ones where no others are known."""
        return self.given if self.clean is None else self.clean

    def rows(self, rows: slice | Tensor) -> Samples:
        """Some of the samples."""
        clean = None if self.clean is None else self.clean[rows]
        return replace(self, inputs=self.inputs[rows], given=self.given[rows], clean=clean)

    def to(self, device: torch.device | str) -> Samples:
        """The same samples in the memory of a device."""
        clean = None if self.clean is None else self.clean.to(device)
        return replace(
            self, inputs=self.inputs.to(device), given=self.given.to(device), clean=clean
        )

    def apart(self, classes: int) -> tuple[Samples, Samples]:
        """The samples of all but the last classes, and those of the last ones."""
        last = self.true().given >= self.classes - classes
        return self.rows(~last), self.rows(last)

    def annotated(self, labels_N: Tensor, clean_N: Tensor | None = None) -> Samples:
        """The same samples with these given labels, in the same order; the old ones are true.

        Args:
            labels_N: Given labels.
            clean_N: What the annotation holds for the true labels, if anything; compared.

        Raises:
            DataError: Another number of labels, or others that should be true.
        """
        if len(labels_N) != len(self):
            raise DataError(
                f"{len(labels_N)} labels for {len(self)} samples",
                wanted="one for each sample, in the same order",
                advice="Take the file that belongs to these samples",
            )
        clean = self.true_N
        if clean_N is not None and not torch.equal(clean_N, clean):
            raise DataError(
                f"{int((clean_N != clean).sum())} of {len(self)} true labels of the annotation "
                "are not those of the samples",
                wanted="an annotation in the order of the samples",
                advice="Take the file of the same order: TensorFlow's CIFAR has another one",
            )
        return replace(self, given=labels_N, clean=clean)

    def true(self) -> Samples:
        """The samples that some class is right for, with their true labels as the given ones."""
        if self.clean is None:
            return self
        known = self.rows(self.clean >= 0)
        return replace(known, given=known.clean)

    def loader(
        self, batch_size: int = 256, *, shuffle: bool = False, seed: int = 0
    ) -> DataLoader[Any]:
        """Batches (inputs, given, row numbers); a shuffle is another one in every pass."""
        generator = torch.Generator().manual_seed(seed)
        order = RandomSampler(self, generator=generator) if shuffle else SequentialSampler(self)
        batches = BatchSampler(order, batch_size, drop_last=False)
        return DataLoader(self, sampler=batches, batch_size=None, generator=generator)
