"""Digits in clutter: embedded images that need trained features.

A linear classifier of the pixels is at chance here even with true labels, because a digit may
stand anywhere among fragments of others; a network must learn what a digit is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tailcut.lab.data.digits import digits
from tailcut.lab.data.problems import Problem, never_annotated
from tailcut.lab.data.sources import source
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.samples import Samples
from tailcut.lab.training.recipe import CLUTTER

_TRAIN, _HOLDOUT = 4_000, 500

SIDE = 24
"""Pixels of a canvas, three times those of a digit."""

_FRAGMENTS, _FRAGMENT = 6, 4
_BRIGHTNESS = 0.8
"""Of the fragments: a network can tell that they are not what is asked for."""
_DIMMED = 0.3
"""What is left of the fragments under the digit."""
_KNOWN = 1300
"""Digits that training and holdout draw from; the other 497 are for the test."""


@source("clutter", recipe=CLUTTER, train=_TRAIN, holdout=_HOLDOUT)
def clutter_problem(
    *,
    rate: float,
    seed: int,
    train: int = _TRAIN,
    holdout: int = _HOLDOUT,
    test: int = 1_000,
    kind: str = "symmetric",
) -> Problem:
    """scikit-learn's digits at random places among fragments: 1 x 24 x 24 floats in 0..1.

    Training and holdout show 1 300 of the digits, each several times with other fragments and
    labels that are wrong independently; the test shows the other 497. Open-set noise takes the
    digits 7, 8 and 9 for its outside.

    Args:
        rate: As the kind of noise counts it.
        seed: Of the digits, their places and fragments, and the wrong labels.
        train: Training images.
        holdout: Held-out images, as noisy.
        test: Test images.
        kind: A word of label noise, but human labels.

    Raises:
        SpecError: No such kind.
        DataError: Human labels, or see `Problem.of`.
    """
    noise, outside = noise_of(kind, rate), None
    if noise.by_people:
        raise never_annotated("digits in clutter")
    draw, whole = np.random.default_rng(seed), digits()
    whole = whole.rows(torch.from_numpy(draw.permutation(len(whole))))
    known, asked = whole.rows(slice(_KNOWN)), whole.rows(slice(_KNOWN, None))
    shown = max(train + holdout, 0)
    if noise.apart:
        (known, others), asked = known.apart(noise.apart), asked.apart(noise.apart)[0]
        outside = canvases(others, shown, draw)
    pool, tested = canvases(known, shown, draw), canvases(asked, max(test, 0), draw)
    sizes = {"train": train, "holdout": holdout}
    return Problem.of(pool, tested, noise=noise, seed=seed, outside=outside, **sizes)


def canvases(whole: Samples, count: int, draw: np.random.Generator) -> Samples:
    """Digits drawn with replacement, each at a random place among six fragments of others.

    Args:
        whole: Digits: N x 1 x 8 x 8 in 0..1.
        count: Images to make.
        draw: Digits, places and fragments come from it.

    Returns:
        count x 1 x 24 x 24 with the labels of the digits.
    """
    chosen_n = draw.integers(len(whole), size=count)
    digits_nHW = whole.inputs[:, 0].numpy()
    canvas_nHW = np.zeros((count, SIDE, SIDE), np.float32)
    for _ in range(_FRAGMENTS):
        other_n = (chosen_n + draw.integers(1, len(whole), size=count)) % len(whole)
        inside = _places(draw, count, digits_nHW.shape[1], _FRAGMENT)
        piece_nHW = digits_nHW[(other_n[:, None, None], *inside[1:])]
        there = _places(draw, count, SIDE, _FRAGMENT)
        canvas_nHW[there] = np.maximum(canvas_nHW[there], _BRIGHTNESS * piece_nHW)
    there = _places(draw, count, SIDE, digits_nHW.shape[1])
    canvas_nHW[there] = np.maximum(_DIMMED * canvas_nHW[there], digits_nHW[chosen_n])
    inputs: Tensor = torch.from_numpy(canvas_nHW).unsqueeze(1)
    return Samples(inputs, whole.given[torch.from_numpy(chosen_n)])


def _places(
    draw: np.random.Generator, count: int, side: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of a random square in each of `count` images, as numpy takes them."""
    top_n, left_n = draw.integers(side - size + 1, size=(2, count))
    steps = np.arange(size)
    rows_nH1 = (top_n[:, None] + steps)[:, :, None]
    columns_n1W = (left_n[:, None] + steps)[:, None, :]
    return np.arange(count)[:, None, None], rows_nH1, columns_n1W
