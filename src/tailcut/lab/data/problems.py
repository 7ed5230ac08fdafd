"""Embedded digits, CIFAR-10 parquet files, and their noisy splits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tailcut.errors import DataError
from tailcut.lab.data.samples import Samples
from tailcut.lab.noise import human
from tailcut.lab.noise import transitions as noise
from tailcut.readers.columns import Columns
from tailcut.readers.numbering import numbered
from tailcut.readers.sources import parquet as parquets


@dataclass(frozen=True, eq=False)
class Problem:
    """What an experiment trains on, may look at, and is judged by.

    Attributes:
        train: Noisy.
        holdout: As noisy as train, never trained on.
        test: True labels.
    """

    train: Samples
    holdout: Samples
    test: Samples

    @property
    def classes(self) -> int:
        """K."""
        return self.test.classes

    def to(self, device: torch.device | str) -> Problem:
        """The same data in the memory of a device."""
        return Problem(*(part.to(device) for part in (self.train, self.holdout, self.test)))

    @classmethod
    def of(
        cls,
        pool: Samples,
        test: Samples,
        *,
        train: int,
        holdout: int,
        rate: float,
        seed: int,
        kind: str = "symmetric",
        outside: Samples | None = None,
    ) -> Problem:
        """Shuffle a pool, corrupt it and cut it into train and holdout.

        Args:
            pool: With true labels; human noise takes its given labels as they are.
            test: With true labels.
            train: Training samples.
            holdout: Held-out samples, as noisy.
            rate: As the kind of noise counts it.
            seed: Chooses the samples and the wrong labels.
            kind: Of the noise, one of `noise.WORDS`.
            outside: What open-set noise puts in the place of inputs, each sample once.

        Raises:
            SpecError: No such kind.
            DataError: A pool smaller than train + holdout, an empty part, open-set noise
                without `outside`, or noise that these samples cannot have.
        """
        name = noise.checked_kind(kind)
        if train < 1 or holdout < 2 or not len(test):
            raise DataError(
                f"{train} training, {holdout} held-out and {len(test)} test samples",
                wanted="at least 1, 2 and 1",
                advice="Correct the sizes",
            )
        if train + holdout > len(pool):
            raise DataError(
                f"{train} training and {holdout} held-out samples from a pool of {len(pool)}",
                wanted=f"at most {len(pool)} together",
                advice="Lower one of them",
            )
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(pool)))
        noisy = pool.rows(order[: train + holdout])
        if name == "openset":
            noisy = noisy.invaded(_required(outside), rate, seed)
        elif name != "human":
            noisy = noisy.corrupted(rate, seed, kind, pool.classes)
        return cls(noisy.rows(slice(train)), noisy.rows(slice(train, None)), test.true())


def _required(outside: Samples | None) -> Samples:
    if outside is None:
        raise DataError(
            "open-set noise without samples from outside the classes",
            wanted="some that are put in the place of others",
            advice="Pass outside=, such as the second part of Samples.apart",
        )
    return outside


def digits() -> Samples:
    """scikit-learn's 1 797 handwritten digits: 1 x 8 x 8 floats in 0..1, ten classes."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1)
    return Samples(images, torch.from_numpy(bunch.target).long())


def parquet(path: str | Path) -> Samples:
    """Images of one size from a parquet file, as uint8 (N x channels x height x width).

    Raises:
        DataError: No such file, columns that are not there, images that cannot be opened, or
            images of several sizes.
    """
    path = Path(path)
    return _decoded(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=2)
def _decoded(path: Path, _changed: int) -> Samples:
    """Decoding takes longer than a small training: a process that trains many does it once."""
    if not path.is_file():
        raise DataError(
            f"no file at {path}",
            wanted="a parquet file of images and labels",
            advice="Check the path; for CIFAR-10 set TAILCUT_DATA to the folder of cifar10/",
        )
    rows = numbered(parquets.parquet(str(path), Columns(), ["image"]), None)
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


HELD_APART = 3
"""The last classes, which leave the problem and serve as the outside of open-set noise."""


def digits_problem(
    *, rate: float, seed: int, train: int | None = None, holdout: int = 200, kind: str = "symmetric"
) -> Problem:
    """Digits: by default 1 100 to train on, 200 held out with noisy labels, 497 to test on.

    Open-set noise takes the digits 7, 8 and 9 for its outside (533 images, so a rate of 0.53 with
    the default 800 to train on); then there are 7 classes and 264 to test on.

    Args:
        rate: As the kind of noise counts it.
        seed: Chooses the images and the wrong labels.
        train: Training images.
        holdout: Held-out images, as noisy.
        kind: One of `noise.WORDS`; human labels only with their file: 1 797 in the order of
            scikit-learn.

    Raises:
        SpecError: No such kind.
        DataError: "human" without a file, or see `Problem.of`.
    """
    name, whole, outside = noise.checked_kind(kind), digits(), None
    if kind == "human":
        raise never_annotated("digits")
    if name == "human":
        whole = _by_people(whole, kind, None)
    elif name == "openset":
        whole, outside = whole.apart(HELD_APART)
    if train is None:
        train = 800 if name == "openset" else 1100
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(whole)))
    pool, test = whole.rows(order[: train + holdout]), whole.rows(order[train + holdout :])
    return Problem.of(
        pool,
        test,
        train=train,
        holdout=holdout,
        rate=rate,
        seed=seed,
        kind=kind,
        outside=outside,
    )


def cifar10_problem(
    *,
    rate: float,
    seed: int,
    train: int = 10_000,
    holdout: int = 1_000,
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
        kind: One of `noise.WORDS`; "human" is one annotator's label for each training image
            (CIFAR-10N random1, Wei et al. 2022), from `cifar10n_random1.npy`.
        folder: Where the two files lie; `$TAILCUT_DATA/cifar10`, else `data/cifar10`.

    Raises:
        SpecError: No such kind.
        DataError: No such files, or see `Problem.of`.
    """
    name = noise.checked_kind(kind)
    place = Path(folder or Path(os.environ.get("TAILCUT_DATA", "data")) / "cifar10")
    pool, outside = parquet(place / "train.parquet"), None
    tested = parquet(place / "test.parquet")
    if test < len(tested):  # the file may be sorted by class
        drawn = np.random.default_rng(0).permutation(len(tested))[:test]
        tested = tested.rows(torch.from_numpy(drawn))
    if name == "human":
        pool = _by_people(pool, kind, place)
    elif name == "openset":
        (pool, outside), tested = pool.apart(HELD_APART), tested.apart(HELD_APART)[0]
    return Problem.of(
        pool,
        tested,
        train=train,
        holdout=holdout,
        rate=rate,
        seed=seed,
        kind=kind,
        outside=outside,
    )


def never_annotated(what: str) -> DataError:
    """Human labels asked for, of data that nobody has labelled anew."""
    return DataError(
        f"{what} with human labels",
        wanted="data that somebody has labelled anew: cifar10",
        advice="Choose another noise, or cifar10",
    )


def _by_people(samples: Samples, kind: str, folder: Path | None) -> Samples:
    found = human.of_word(kind, folder)
    return samples.annotated(found.given_N, found.clean_N)
