"""Training data under views, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from tailcut._typing import Batches, Inputs
from tailcut.network.head import Head
from tailcut.network.stream import Batch, read
from tailcut.network.views import View
from tailcut.numerics.latent import FoldMoments

_DRAWN = 8192
"""View samples that readouts of small data sets are fitted on, by drawing views again."""


def draws(n: int, views: Sequence[View]) -> int:
    """How often to draw the views of n samples: 1 to 4 times."""
    return min(4, max(1, _DRAWN // (n * len(views)))) if views else 1


def through_views(
    train: Batches, views: Sequence[View], *, classes: int, repeats: int = 1, seed: int
) -> Iterator[tuple[Batch, Tensor, list[Inputs]]]:
    """Every batch with its samples' numbers (N,) and its inputs under every view.

    A sample's number is its index, or its place
    where the loader yields none.
    """
    generator = torch.Generator().manual_seed(seed)
    place = 0
    for batch in read(train, classes):
        numbers_N = torch.arange(place, place + len(batch))
        place += len(batch)
        if batch.index is not None:
            numbers_N = batch.index.cpu()
        drawn = [view(batch.inputs, generator) for _ in range(repeats) for view in views]
        yield batch, numbers_N, drawn


def fold_moments(
    model: nn.Module,
    head: Head,
    train: Batches,
    views: Sequence[View],
    *,
    n: int,
    seed: int,
    step: Callable[[str], None],
) -> tuple[FoldMoments, FoldMoments]:
    """Moments of all training samples under every view, and as they are: the same without views.

    Args:
        model: The network, perhaps truncated.
        head: Its head.
        train: Read once.
        views: Under which the labels are not remembered.
        n: Training samples; few are drawn several times.
        seed: Of the views.
        step: Told of every batch.
    """
    plain = FoldMoments(head.width, head.classes)
    moments = FoldMoments(head.width, head.classes) if views else plain
    for batch, numbers_N, inputs in through_views(
        train, views, classes=head.classes, repeats=draws(n, views), seed=seed
    ):
        step("views of the training data")
        if views:
            features = [head.features_and_logits(model, each)[0] for each in inputs]
            moments.update(torch.stack(features), batch.labels, numbers_N)
        features_ND = head.features_and_logits(model, batch.inputs)[0]
        plain.update(features_ND[None], batch.labels, numbers_N)
    return moments, plain


def viewed(batches: Sequence[Batch], view: View, seed: int) -> list[Batch]:
    """The batches under a view, the same perturbations for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return [Batch(view(batch.inputs, generator), batch.labels, batch.index) for batch in batches]
