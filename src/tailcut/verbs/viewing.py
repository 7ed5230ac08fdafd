"""Training data under views, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tailcut._typing import Batches, Inputs
from tailcut.network.stream import Batch, read
from tailcut.network.views import View

_DRAWN = 8192
"""View samples that readouts of small data sets are fitted on, by drawing views again."""


def draws(n: int, views: Sequence[View]) -> int:
    """How often to draw the views of n samples: 1 to 4 times."""
    return min(4, max(1, _DRAWN // (n * len(views)))) if views else 1


def through_views(
    train: Batches, views: Sequence[View], *, classes: int, repeats: int = 1, seed: int
) -> Iterator[tuple[Batch, Tensor, list[Inputs]]]:
    """Every batch with its samples' numbers (N,) and its inputs under every view.

    Without views the inputs are as they are. A sample's number is its index, or its place
    where the loader yields none.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(repeats):
        place = 0
        for batch in read(train, classes):
            numbers_N = torch.arange(place, place + len(batch))
            place += len(batch)
            if batch.index is not None:
                numbers_N = batch.index.cpu()
            inputs = [view(batch.inputs, generator) for view in views] or [batch.inputs]
            yield batch, numbers_N, inputs


def viewed(batches: Sequence[Batch], view: View | None, seed: int) -> list[Batch]:
    """The batches under a view, the same perturbations for the same seed."""
    if view is None:
        return list(batches)
    generator = torch.Generator().manual_seed(seed)
    return [Batch(view(batch.inputs, generator), batch.labels, batch.index) for batch in batches]
