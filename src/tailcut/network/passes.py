"""A loader that is read several times, and held to the same samples with the same labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.network import loaders
from tailcut.network.batches import Batch, parsed, read, require_order
from tailcut.network.comparing import (
    compare_inputs,
    compare_labels,
    compare_places,
    compare_samples,
    other_number,
    require_an_end,
    require_no_copies,
    require_unique,
)
from tailcut.network.record import Record


class Passes:
    """A loader, each pass of which must be over the samples of the first, with their labels.

    It is read like the loader itself. Samples are compared by their index where there is one;
    else by their place, if that has to tell which sample is which; else labels are counted, and
    compared for equal inputs. Inputs may change, as by augmentation. Memory: 16 bytes for each
    sample, 24 with an index.

    Args:
        loader: See `tailcut.network.batches.read`.
        ordered: Whether the place must tell which sample is which where no index does.
        name: Of the samples, for messages.

    Raises:
        DataError: No batches, or a sampler that shuffles where the place must tell. During a
            pass: an index that is not unique, copies of every sample, other samples than in the
            first pass, or other labels.
    """

    def __init__(
        self, loader: Batches, *, ordered: bool = False, name: str = "training samples"
    ) -> None:
        loaders.require_batches(loader)
        if ordered:
            require_order(loader)
        self.loader, self.ordered, self.name = loader, ordered, name
        self._begun: Record | None = None
        self._first: Record | None = None

    def __iter__(self) -> Iterator[Batch]:
        """One pass, checked batch by batch and at its end."""
        parts: list[Record] = []
        place = 0
        for number, batch in enumerate(parsed(self.loader)):
            part = Record.of(batch)
            self._check_batch(part, place, f"batch {number} of the {self.name}")
            parts.append(part)
            place += len(part)
            if not number & (number - 1):  # the 1st, 2nd, 3rd, 5th, 9th ...: soon, yet cheap
                self._check_beginning(Record.joined(parts))
            yield batch
        if place:
            self._check_pass(Record.joined(parts))
        elif self._begun is not None:
            raise other_number(len(self._first or self._begun), 0, self.name)

    def _check_batch(self, part: Record, place: int, where: str) -> None:
        known = self._first or self._begun
        if not len(part):
            return
        if known is None:
            self._begun = part.by_index()
            return
        if (part.index_N is None) != (known.index_N is None):
            raise DataError(
                f"{where} has {'no index' if part.index_N is None else 'an index'}, unlike others",
                wanted="an index in all batches or in none",
                advice="Check the collate function",
            )
        if known is self._begun and place:
            return
        if part.index_N is not None:
            compare_labels(known, part, *known.rows_of(part.index_N), where)
        elif self.ordered:
            rows_n = np.arange(place, place + len(part))
            compare_labels(known, part, rows_n, rows_n < len(known), where)

    def _check_beginning(self, so_far: Record) -> None:
        require_unique(so_far, self.name, loaders.workers(self.loader))
        if self._first is None and len(so_far):
            require_an_end(so_far, self.name)

    def _check_pass(self, whole: Record) -> None:
        workers = loaders.workers(self.loader)
        require_unique(whole, self.name, workers)
        if self._first is None:
            require_no_copies(whole, self.name, workers)
            self._first = whole.by_index()
            return
        whole = whole.by_index()
        aligned = self.ordered or whole.index_N is not None
        if not aligned:
            compare_inputs(self._first, whole, self.name)
        compare_samples(self._first, whole, self.name, loaders.dropped(self.loader))
        if aligned:
            fixed = loaders.in_order(self.loader)
            compare_places(self._first, whole, self.name, fixed=fixed)


def opened(loader: Batches | None, name: str) -> Passes | None:
    """What stands beside the training samples, its first batch checked before any work is done."""
    if loader is None:
        return None
    passes = Passes(loader, name=name)
    next(read(passes))
    return passes
