"""A bounded random sample of a stream of batches, and its fingerprints."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from tailcut._typing import Inputs
from tailcut.network.batches import Batch

_Kept: TypeAlias = tuple[float, int, Inputs, int]
"""(-priority, position in the stream, inputs, label): the first to go comes first."""


class RandomSample:
    """Up to `size` samples drawn evenly from a stream of unknown length.

    Every sample gets a random priority and the `size` lowest stay: one pass, and no harm
    from a loader sorted by class.

    Args:
        size: Samples kept.
        seed: Of the priorities.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size, self.seen = size, 0
        self._random = np.random.default_rng(seed)
        self._heap: list[_Kept] = []

    def update(self, batch: Batch) -> RandomSample:
        """Offer a batch and return self."""
        priorities_N = self._random.random(len(batch))
        for row, priority in enumerate(priorities_N.tolist()):
            if len(self._heap) < self.size or -priority > self._heap[0][0]:
                kept = (-priority, self.seen + row, _row(batch.inputs, row), int(batch.labels[row]))
                push = heapq.heappush if len(self._heap) < self.size else heapq.heappushpop
                push(self._heap, kept)
        self.seen += len(batch)
        return self

    def batches(self, batch_size: int = 256) -> list[Batch]:
        """The sample as batches, in random order; `index` is the position in the stream.

        Inputs of different shapes go into different batches.
        """
        drawn = sorted(self._heap, key=lambda kept: -kept[0])
        alike: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for place, kept in enumerate(drawn):
            alike.setdefault(_shape(kept[2]), []).append(place)
        parts = [
            places[start : start + batch_size]
            for places in alike.values()
            for start in range(0, len(places), batch_size)
        ]
        return [_batch([drawn[place] for place in part]) for part in sorted(parts)]

    def __len__(self) -> int:
        return len(self._heap)


def fingerprints(inputs: Inputs) -> Iterator[int]:
    """One number for each sample, equal for equal inputs and hardly ever otherwise.

    Padding of token inputs, where the attention mask is 0, does not count.
    """
    tensors = [inputs] if isinstance(inputs, Tensor) else _without_padding(inputs)
    columns = [_sketch(tensor) for tensor in tensors]
    return (hash(b"|".join(row)) for row in zip(*columns, strict=True))


def _without_padding(inputs: Mapping[str, Tensor]) -> list[Tensor]:
    mask = inputs.get("attention_mask")
    tensors = [inputs[key] for key in sorted(inputs)]
    if mask is None:
        return tensors
    return [each * mask if each.shape == mask.shape else each for each in tensors]


def _sketch(tensor: Tensor, most: int = 512) -> list[bytes]:
    """The bytes of up to `most` evenly spaced entries of every sample, without trailing zeros."""
    flat = tensor.reshape(len(tensor), -1)
    step = max(1, flat.shape[1] // most)
    return [row.tobytes().rstrip(b"\0") for row in flat[:, ::step].cpu().float().numpy()]


def _batch(rows: list[_Kept]) -> Batch:
    return Batch(
        _stack([inputs for _, _, inputs, _ in rows]),
        torch.tensor([label for _, _, _, label in rows]),
        torch.tensor([position for _, position, _, _ in rows]),
    )


def _row(inputs: Inputs, row: int) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs[row].detach().cpu().clone()
    return {key: value[row].detach().cpu().clone() for key, value in inputs.items()}


def _shape(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    tensors = [inputs] if isinstance(inputs, Tensor) else inputs.values()
    return tuple(tuple(tensor.shape) for tensor in tensors)


def _stack(rows: list[Inputs]) -> Inputs:
    first = rows[0]
    if isinstance(first, Tensor):
        return torch.stack([row for row in rows if isinstance(row, Tensor)])
    return {
        key: torch.stack([row[key] for row in rows if not isinstance(row, Tensor)]) for key in first
    }
