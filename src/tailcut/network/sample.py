"""A bounded random sample of a stream of batches, and its fingerprints."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from tailcut._typing import Inputs
from tailcut.network.batches import Batch
from tailcut.network.inputs import joined, mapped, rows, shapes_of
from tailcut.numerics.draws import numpy_generator

_Kept: TypeAlias = tuple[float, int, Inputs, int]
"""(-priority, position in the stream, inputs, label): the first to go comes first."""

_WEIGHTS = np.random.default_rng(0).integers(2**64, size=509, dtype=np.uint64) | np.uint64(1)
"""Odd, of the hash; a prime number of them, so that no shift of an image hides."""


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
        self._random = numpy_generator(seed, "sample")
        self._heap: list[_Kept] = []

    def update(self, batch: Batch) -> RandomSample:
        """Offer a batch and return self."""
        priorities_N = self._random.random(len(batch))
        for row, priority in enumerate(priorities_N.tolist()):
            if len(self._heap) < self.size or -priority > self._heap[0][0]:
                kept = (
                    -priority,
                    self.seen + row,
                    _held(rows(batch.inputs, row)),
                    int(batch.labels[row]),
                )
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
            alike.setdefault(shapes_of(kept[2]), []).append(place)
        parts = [
            places[start : start + batch_size]
            for places in alike.values()
            for start in range(0, len(places), batch_size)
        ]
        return [_batch([drawn[place] for place in part]) for part in sorted(parts)]

    def __len__(self) -> int:
        return len(self._heap)


def fingerprints(inputs: Inputs) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """One number for each sample (N,), equal for equal inputs and hardly ever otherwise.

    A multilinear hash of all entries, in single precision. Padding of token inputs, where the
    attention mask is 0, does not count.
    """
    tensors = [inputs] if isinstance(inputs, Tensor) else _without_padding(inputs)
    marks_N = np.zeros(len(tensors[0]), np.uint64)
    for tensor in tensors:
        marks_N = _mixed(marks_N + _hashed(tensor))
    return marks_N


def _without_padding(inputs: Mapping[str, Tensor]) -> list[Tensor]:
    mask = inputs.get("attention_mask")
    tensors = [inputs[key] for key in sorted(inputs)]
    if mask is None:
        return tensors
    return [
        each.masked_fill(mask == 0, 0) if each.shape == mask.shape else each for each in tensors
    ]


def _hashed(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """sum_p w_(p mod 509) x_p mod 2^64 over the bits of the entries; zeros add nothing."""
    tensor = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    flat = tensor.float().reshape(len(tensor), math.prod(tensor.shape[1:])).contiguous()
    bits, width = flat.view(torch.int32), max(1, min(len(_WEIGHTS), flat.shape[1]))
    whole, rest = divmod(flat.shape[1], width)
    folded = bits.new_zeros(len(bits), width)
    folded[:, :rest] = bits[:, whole * width :]
    rows = bits[:, : whole * width].reshape(len(bits), whole, width)
    folded += rows.sum(1, dtype=torch.int32)  # which wraps around
    return folded.cpu().numpy().view(np.uint32).astype(np.uint64) @ _WEIGHTS[:width]


def _mixed(marks_N: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Sums that differ in high bits alone differ everywhere: the finaliser of SplitMix64."""
    marks_N = (marks_N ^ (marks_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    marks_N = (marks_N ^ (marks_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return marks_N ^ (marks_N >> np.uint64(31))


def _held(inputs: Inputs) -> Inputs:
    return mapped(lambda each: each.detach().cpu().clone(), inputs)


def _batch(kept: list[_Kept]) -> Batch:
    return Batch(
        joined([inputs for _, _, inputs, _ in kept], torch.stack),
        torch.tensor([label for _, _, _, label in kept]),
        torch.tensor([position for _, position, _, _ in kept]),
    )
