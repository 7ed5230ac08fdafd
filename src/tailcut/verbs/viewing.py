"""Training data under views, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.network.batches import Batch, read
from tailcut.network.head import Head
from tailcut.network.views import View
from tailcut.numerics.crossfit import FoldMoments
from tailcut.numerics.draws import torch_generator

_DRAWN = 8192
"""View samples that readouts of small data sets are fitted on, by drawing views again."""


def draws(n: int, views: Sequence[View]) -> int:
    """How often to draw the views of n samples: 1 to 4 times."""
    return min(4, max(1, _DRAWN // (n * len(views)))) if views else 1


def numbered(train: Batches, classes: int) -> Iterator[tuple[Batch, Tensor]]:
    """Every batch with its samples' numbers (N,): their index, or place where none is yielded."""
    place = 0
    for batch in read(train, classes):
        numbers_N = torch.arange(place, place + len(batch))
        place += len(batch)
        yield batch, numbers_N if batch.index is None else batch.index.cpu()


def fold_moments(
    model: nn.Module,
    head: Head,
    train: Batches,
    views: Sequence[View],
    *,
    n: int,
    seed: int,
    step: Callable[[str], None],
) -> FoldMoments:
    """Moments of all training samples under the views; as they are, without any.

    Args:
        model: The network, perhaps truncated.
        head: Its head.
        train: Read once.
        views: To see them under.
        n: Training samples; few are drawn several times.
        seed: Of the views.
        step: Called with every batch.
    """
    generator = torch_generator(seed, "views")
    moments = FoldMoments(head.width, head.classes)
    drawn = [view for _ in range(draws(n, views)) for view in views]
    with ExitStack() as stack:
        under = [stack.enter_context(view.on(model, generator)) for view in drawn]
        for batch, numbers_N in numbered(train, head.classes):
            step("views of the training data")
            seen = [see(batch.inputs) for see in under] or [batch.inputs]
            features = [head.features_and_logits(model, inputs)[0] for inputs in seen]
            moments.update(torch.stack(features), batch.labels, numbers_N)
    return moments
