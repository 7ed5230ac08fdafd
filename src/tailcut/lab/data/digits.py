"""scikit-learn's handwritten digits, which come with the package."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tailcut.lab.data.problems import Problem, never_annotated
from tailcut.lab.data.sources import source
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.samples import Samples
from tailcut.lab.training.recipe import DIGITS

_TRAIN, _TRAIN_APART, _HOLDOUT = 1_100, 800, 200


def digits() -> Samples:
    """scikit-learn's 1 797 handwritten digits: 1 x 8 x 8 floats in 0..1, ten classes."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1)
    return Samples(images, torch.from_numpy(bunch.target).long())


@source(
    "digits",
    recipe=DIGITS,
    train=_TRAIN,
    train_apart=_TRAIN_APART,
    holdout=_HOLDOUT,
    rest_is_test=True,
)
def digits_problem(
    *,
    rate: float,
    seed: int,
    train: int | None = None,
    holdout: int = _HOLDOUT,
    kind: str = "symmetric",
) -> Problem:
    """Digits: by default 1 100 to train on, 200 held out with noisy labels, 497 to test on.

    Open-set noise takes the digits 7, 8 and 9 for its outside (533 images, so a rate of 0.53 with
    the default 800 to train on); then there are 7 classes and 264 to test on.

    Args:
        rate: As the kind of noise counts it.
        seed: Chooses the images and the wrong labels.
        train: Training images.
        holdout: Held-out images, as noisy.
        kind: A word of label noise; human labels only with their file: 1 797 in the order of
            scikit-learn.

    Raises:
        SpecError: No such kind.
        DataError: "human" without a file, or see `Problem.of`.
    """
    noise, whole, outside = noise_of(kind, rate), digits(), None
    if noise.by_people:
        if noise.file is None:
            raise never_annotated("digits")
        whole = noise.annotated(whole)
    if noise.apart:
        whole, outside = whole.apart(noise.apart)
    if train is None:
        train = _TRAIN_APART if noise.apart else _TRAIN
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(whole)))
    pool, test = whole.rows(order[: train + holdout]), whole.rows(order[train + holdout :])
    sizes = {"train": train, "holdout": holdout}
    return Problem.of(pool, test, noise=noise, seed=seed, outside=outside, **sizes)
