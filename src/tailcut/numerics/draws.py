"""Random numbers of a seed and a purpose, so that no two purposes draw the same ones.

Whoever makes noisy labels draws them from a seed, too, and 0 is a common one. A sample that is
drawn by the very same numbers is not random: the lowest draws are the labels that were flipped.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    """Of its own for each purpose; not that of `np.random.default_rng(seed)`."""
    return np.random.default_rng(_entropy(seed, purpose))


def torch_generator(seed: int, purpose: str) -> torch.Generator:
    """Of its own for each purpose, on the CPU; not that of `manual_seed(seed)`."""
    (state,) = np.random.SeedSequence(_entropy(seed, purpose)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state) >> 1)


def _entropy(seed: int, purpose: str) -> tuple[int, int]:
    return seed, zlib.crc32(purpose.encode())
