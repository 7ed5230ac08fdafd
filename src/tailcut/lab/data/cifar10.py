"""CIFAR-10 from its parquet files."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from tailcut.errors import DataError
from tailcut.lab.data.problems import Problem
from tailcut.lab.data.sources import source
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.samples import Samples
from tailcut.readers.columns import USUAL, Columns
from tailcut.readers.numbering import numbered
from tailcut.readers.sources import parquet as parquets

_TRAIN, _HOLDOUT = 10_000, 1_000


def parquet(path: str | Path) -> Samples:
    """Images of one size from a parquet file, as uint8 (N x channels x height x width).

    Raises:
        DataError: No such file, columns that are not there, images that cannot be opened, or
            images of several sizes.
    """
    path = Path(path)
    return _decoded(path, path.stat().st_mtime_ns if path.is_file() else 0)


_IMAGES = {kind: USUAL[kind] for kind in ("image", "label")}


@lru_cache(maxsize=2)
def _decoded(path: Path, _changed: int) -> Samples:
    """Decoding takes longer than a small training: a process that trains many does it once."""
    if not path.is_file():
        raise DataError(
            f"no file at {path}",
            wanted="a parquet file of images and labels",
            advice="Check the path; for CIFAR-10 set TAILCUT_DATA to the folder of cifar10/",
        )
    rows = numbered(parquets.parquet(str(path), Columns(), _IMAGES), None)
    pixels = [np.asarray(image().convert("RGB")) for image in rows.items]
    sizes = {each.shape for each in pixels}
    if len(sizes) > 1:
        raise DataError(
            f"{path.name} has images of {len(sizes)} sizes",
            wanted="images of one size",
            advice="Resize them first",
        )
    inputs = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Samples(inputs, rows.labels_N)


@source("cifar10", train=_TRAIN, holdout=_HOLDOUT)
def cifar10_problem(
    *,
    rate: float,
    seed: int,
    train: int = _TRAIN,
    holdout: int = _HOLDOUT,
    test: int = 10_000,
    kind: str = "symmetric",
    folder: str | Path | None = None,
) -> Problem:
    """CIFAR-10 from `train.parquet` and `test.parquet`.

    Open-set noise takes horse, ship and truck for its outside; then there are 7 classes and 7 000
    test images.

    Args:
        rate: As the kind of noise counts it; human labels have the rate that they have.
        seed: Chooses the images and the wrong labels.
        train: Training images.
        holdout: Held-out images, as noisy.
        test: Test images, the same for every seed; all of them by default.
        kind: A word of label noise; "human" is one annotator's label for each training image
            (CIFAR-10N random1, Wei et al. 2022), from `cifar10n_random1.npy`.
        folder: Where the two files lie; `$TAILCUT_DATA/cifar10`, else `data/cifar10`.

    Raises:
        SpecError: No such kind.
        DataError: No such files, or see `Problem.of`.
    """
    noise, place = noise_of(kind, rate), _folder(folder)
    pool, outside = parquet(place / "train.parquet"), None
    tested = parquet(place / "test.parquet")
    if test < len(tested):  # the file may be sorted by class
        drawn = np.random.default_rng(0).permutation(len(tested))[:test]
        tested = tested.rows(torch.from_numpy(drawn))
    pool = noise.annotated(pool, place)
    if noise.apart:
        (pool, outside), tested = pool.apart(noise.apart), tested.apart(noise.apart)[0]
    sizes = {"train": train, "holdout": holdout}
    return Problem.of(pool, tested, noise=noise, seed=seed, outside=outside, **sizes)


def _folder(folder: str | Path | None) -> Path:
    return Path(folder or Path(os.environ.get("TAILCUT_DATA", "data")) / "cifar10")
