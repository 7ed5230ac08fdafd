"""How many of the patches that a layer receives are drawn, and the draw."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

_PER_INPUT = 16
"""Patches drawn for each layer, in multiples of the numbers P in a patch; at most `_MANY`."""

_MANY = 8192
"""Patches that P x P products are taken of."""

_ROWS = 512
"""Patches that are held of a wide layer, at most (docs/LOG.md)."""

_FEWEST, _STEP = 64, 64
"""At least, and between what is tried."""

_WIDE = 4
"""A layer is wide with more inputs than so many times the rows that are held of it."""

_BYTES = 2**30
"""Of what is held of all layers; more layers, or wider ones, have fewer rows each."""


def patches_wanted(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """How many patches to draw of what each layer receives, all samples together.

    Args:
        weights: G x O x P, by name.
    """
    shapes = {name: (each.shape[0], each.shape[2]) for name, each in weights.items()}
    sizes = range(_ROWS, _FEWEST, -_STEP)
    rows = next((size for size in sizes if _bytes(shapes.values(), size) <= _BYTES), _FEWEST)
    return {
        name: rows if width > _WIDE * rows else min(_PER_INPUT * width, _MANY)
        for name, (_, width) in shapes.items()
    }


def _bytes(shapes: Collection[tuple[int, int]], rows: int) -> int:
    """Inputs and changes: rows in float32 and their products in float64, or P x P ones."""
    wide = sum(
        groups * (8 * rows * width + 40 * rows**2)
        for groups, width in shapes
        if width > _WIDE * rows
    )
    return wide + sum(16 * groups * width**2 for groups, width in shapes if width <= _WIDE * rows)


def draw(among: Tensor, wanted: int, generator: torch.Generator, axes: int = 1) -> Tensor:
    """Rows along the leading axes: all of them, or `wanted` drawn at random.

    Without replacement where that is a part of them worth mentioning.
    """
    count = int(torch.Size(among.shape[:axes]).numel())
    if count <= wanted:
        return among.reshape(count, *among.shape[axes:])
    if count <= _PER_INPUT * wanted:
        picked = torch.randperm(count, generator=generator)[:wanted]
    else:
        picked = torch.randint(count, (wanted,), generator=generator)
    places = torch.unravel_index(picked.to(among.device), among.shape[:axes])
    return among[places]
