"""Inputs of a network, one tensor or a dict of them: the same operations for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tailcut._typing import Inputs


def tensors_of(inputs: Inputs) -> list[Tensor]:
    """The tensor, or those of the dict in its order."""
    return [inputs] if isinstance(inputs, Tensor) else list(inputs.values())


def mapped(change: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Every tensor changed; keys stay."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    return {key: change(each) for key, each in inputs.items()}


def count(inputs: Inputs) -> int:
    """Samples of a batch."""
    return len(tensors_of(inputs)[0])


def rows(inputs: Inputs, kept: slice | int) -> Inputs:
    """Some samples of a batch, or one without the axis of samples."""
    return mapped(lambda each: each[kept], inputs)


def joined(parts: Sequence[Inputs], join: Callable[[list[Tensor]], Tensor] = torch.cat) -> Inputs:
    """Inputs of one form put together: batches by torch.cat, samples by torch.stack."""
    lists = zip(*map(tensors_of, parts), strict=True)
    tensors = [join(list(each)) for each in lists]
    first = parts[0]
    return tensors[0] if isinstance(first, Tensor) else dict(zip(first, tensors, strict=True))


def shapes_of(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    """Of every tensor."""
    return tuple(tuple(each.shape) for each in tensors_of(inputs))
