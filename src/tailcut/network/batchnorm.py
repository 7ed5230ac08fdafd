"""BatchNorm statistics, taken anew over all samples of a loader, however they are batched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tailcut._typing import Batches, Inputs
from tailcut.errors import DataError
from tailcut.network.batches import read
from tailcut.network.inputs import count, joined, rows, shapes_of
from tailcut.network.stream import logits_of, on_input
from tailcut.numerics.checks import float64

BatchNorm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm

_LEAST = 256
"""Samples that go through the network at once, if there are as many."""

_BYTES = 2**28
"""And as many more as the widest BatchNorm may receive at once."""


@torch.no_grad()
def reestimate_batchnorm(model: nn.Module, loader: Batches) -> bool:
    """Replace, in place, BatchNorm's running statistics by those of all samples of a loader.

    Each is the mean and the unbiased variance, over all samples, of what the BatchNorm
    receives when those before it use theirs: a sum over samples, which depends on no batch.
    It is exact where all samples go through the network at once, and each BatchNorm runs once.
    Where they are too many, they go in groups of 256 or more, whatever the loader's batches:
    then each group is normalised by its own statistics, of which the pooled ones are the sums.
    Everything stays in evaluation mode (no dropout). A BatchNorm that never runs keeps its
    statistics.

    Args:
        model: In evaluation mode.
        loader: Training inputs; their labels are not used.

    Returns:
        Whether there was any BatchNorm with running statistics.

    Raises:
        DataError: No two samples or positions to have a variance.
    """
    norms = [each for each in model.modules() if isinstance(each, BatchNorm)]
    pools = {norm: _Pool(norm) for norm in norms if norm.running_mean is not None}
    if not pools:
        return False
    size = _at_once(model, list(pools), next(read(loader)).inputs)
    with on_input({norm: pool.add for norm, pool in pools.items()}):
        for inputs in _groups(loader, size):
            logits_of(model, inputs)
    for pool in pools.values():
        pool.finish()
    if any(pool.n == 1 for pool in pools.values()):
        raise DataError(
            "a single sample for BatchNorm statistics",
            wanted="two samples or more, to have a variance",
            advice="Bring more training samples",
        )
    return True


class _Pool:
    """Mean and scatter of all that a BatchNorm receives, group by group.

    Args:
        norm: While a group goes through it, it has the statistics of that group.
    """

    def __init__(self, norm: BatchNorm) -> None:
        self.norm, self.n, self.calls = norm, 0, 0
        self.mean_C = self.scatter_C = torch.zeros((), dtype=torch.float64)

    def add(self, received: Tensor) -> None:
        """Chan, Golub & LeVeque's pairwise update, before the BatchNorm runs."""
        n = received.numel() // max(1, received.shape[1])
        if not n:
            return
        mean_C, variance_C = (float64(each) for each in _moments(received, n))
        whole, gap_C = self.n + n, mean_C - self.mean_C.to(mean_C)
        self.scatter_C = self.scatter_C.to(mean_C) + variance_C * (n - 1)
        self.scatter_C = self.scatter_C + gap_C.square() * (self.n * n / whole)
        self.mean_C = mean_C - gap_C * (self.n / whole)
        self.n, self.calls = whole, self.calls + 1
        if n > 1:
            self._set(mean_C, variance_C)
        else:  # a single value has no variance, and makes do with that of the pool
            self.finish()

    def finish(self) -> None:
        """Give the BatchNorm the statistics of the whole; its own if it never ran."""
        if self.n:
            self._set(self.mean_C, self.scatter_C / max(1, self.n - 1))

    def _set(self, mean_C: Tensor, variance_C: Tensor) -> None:
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean_C)
        norm.running_var.copy_(variance_C)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.fill_(self.calls)


def _moments(received: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of every channel, over n values each."""
    exact = received.to(torch.promote_types(received.dtype, torch.float32)).contiguous()
    axes = [axis for axis in range(exact.ndim) if axis != 1]
    variance_C, mean_C = torch.var_mean(exact, axes, correction=0)
    return mean_C, variance_C * (n / max(1, n - 1))


def _groups(loader: Batches, size: int) -> Iterator[Inputs]:
    """The loader's inputs in groups of one shape that do not depend on its batches.

    Each holds `size` samples, the last of each shape less than twice as many.
    """
    waiting: dict[tuple[tuple[int, ...], ...], list[Inputs]] = defaultdict(list)
    for batch in read(loader):
        held = waiting[tuple(shape[1:] for shape in shapes_of(batch.inputs))]
        held.append(batch.inputs)
        if sum(map(count, held)) >= 2 * size:
            held[:] = yield from _full(joined(held), size)
    yield from sorted(map(joined, waiting.values()), key=count, reverse=True)


def _full(inputs: Inputs, size: int) -> Generator[Inputs, None, list[Inputs]]:
    """Groups of a size, as long as as many are left; returns what is left."""
    while count(inputs) >= 2 * size:
        yield rows(inputs, slice(size))
        inputs = rows(inputs, slice(size, None))
    return [inputs]


def _at_once(model: nn.Module, norms: Iterable[BatchNorm], inputs: Inputs) -> int:
    """How many samples may go through the network at once."""
    widest = 1

    def measure(received: Tensor) -> None:
        nonlocal widest
        widest = max(widest, received.nbytes)

    with on_input(dict.fromkeys(norms, measure)):
        logits_of(model, rows(inputs, slice(1)))
    return max(_LEAST, _BYTES // widest)
