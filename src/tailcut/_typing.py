"""The dimension legend, used as suffixes on every array, and the shared aliases.

| suffix | meaning |
|---|---|
| N | samples |
| D | feature width |
| K | classes |
| R | kept rank (or, as the size of an axis, the number of ranks looked at) |
| S | label sets |
| V | views |
| C | candidates |
| P | patch size of a convolution: in_channels / groups x kernel area |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor

Batches: TypeAlias = Iterable[Any]
"""Anything that yields `(inputs, labels)`, `(inputs, labels, index)` or a dict, again and again.

Every pass must be over the same samples with the same labels, in any order if an index says
which sample is which: its position in the data set, each once.
"""

Inputs: TypeAlias = Tensor | Mapping[str, Tensor]
"""What a network is called with: one tensor, or keyword tensors as Hugging Face yields them."""

LabelledFeatures: TypeAlias = Iterable[tuple[Tensor, Mapping[str, Tensor]]]
"""Yields `(features_ND, {"given": labels_N, ...})`."""

Ranks: TypeAlias = Sequence[int] | Literal["all"]
"""Kept ranks, ascending; `"all"` is 1..(the largest rank of the readout)."""
