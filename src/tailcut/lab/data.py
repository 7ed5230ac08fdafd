"""Data held in memory: embedded digits, CIFAR-10 parquet files, and their noisy splits."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from tailcut.errors import DataError
from tailcut.lab import noise
from tailcut.numerics.checks import checked_labels


@dataclass(frozen=True, eq=False)
class Samples(Dataset[Any]):
    """Inputs with their given labels and, where known, their true ones.

    Attributes:
        inputs: N x ...; uint8 pixels (0..255) or floats, which are passed on as they are.
        given: Labels (N,) as a network sees them.
        clean: True labels (N,), or None.
    """

    inputs: Tensor
    given: Tensor
    clean: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: Any) -> tuple[Tensor, Tensor, Tensor]:
        """A batch (inputs as float32, pixels scaled to 0..1; given labels; row numbers)."""
        rows = torch.as_tensor(rows)
        inputs = self.inputs[rows]
        if inputs.dtype == torch.uint8:
            inputs = inputs.float() / 255
        return inputs, self.given[rows], rows

    def __or__(self, other: Samples) -> Samples:
        """These samples followed by others."""
        clean = None
        if self.clean is not None and other.clean is not None:
            clean = torch.cat([self.clean, other.clean])
        return Samples(
            torch.cat([self.inputs, other.inputs]), torch.cat([self.given, other.given]), clean
        )

    @property
    def classes(self) -> int:
        """K: one more than the largest label."""
        known = self.given if self.clean is None else torch.cat([self.given, self.clean])
        return int(known.max()) + 1

    def rows(self, rows: slice | Tensor) -> Samples:
        """Some of the samples."""
        clean = None if self.clean is None else self.clean[rows]
        return Samples(self.inputs[rows], self.given[rows], clean)

    def corrupted(self, rate: float, seed: int, kind: str = "symmetric") -> Samples:
        """The same samples, their true labels replaced by noisy ones."""
        clean = self.given if self.clean is None else self.clean
        transition_KK = noise.transition(kind, self.classes, rate)
        return replace(self, given=noise.corrupt(clean, transition_KK, seed), clean=clean)

    def annotated(self, labels_N: Tensor) -> Samples:
        """The same samples with these given labels, in the same order; the old ones are true.

        Raises:
            DataError: Another number of labels.
        """
        if len(labels_N) != len(self):
            raise DataError(
                f"{len(labels_N)} labels for {len(self)} samples",
                wanted="one for each sample, in the same order",
                advice="Take the file that belongs to these samples",
            )
        return replace(self, given=labels_N, clean=self.given if self.clean is None else self.clean)

    def true(self) -> Samples:
        """The same samples with their true labels as the given ones."""
        return self if self.clean is None else replace(self, given=self.clean)

    def loader(
        self, batch_size: int = 256, *, shuffle: bool = False, seed: int = 0
    ) -> DataLoader[Any]:
        """Batches (inputs, given, row numbers); a shuffle is another one in every pass."""
        generator = torch.Generator().manual_seed(seed)
        order = RandomSampler(self, generator=generator) if shuffle else SequentialSampler(self)
        batches = BatchSampler(order, batch_size, drop_last=False)
        return DataLoader(self, sampler=batches, batch_size=None, generator=generator)


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
    ) -> Problem:
        """Shuffle a pool, corrupt it and cut it into train and holdout.

        Args:
            pool: With true labels; noise of the kind "human" takes its given labels as they are.
            test: With true labels.
            train: Training samples.
            holdout: Held-out samples, as noisy.
            rate: As the kind of noise counts it.
            seed: Chooses the samples and the wrong labels.
            kind: Of the noise: "symmetric", "pair", "asymmetric" or "human".

        Raises:
            DataError: A pool smaller than train + holdout, or an empty part.
        """
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
        if kind != "human":
            noisy = noisy.corrupted(rate, seed, kind)
        return cls(noisy.rows(slice(train)), noisy.rows(slice(train, None)), test.true())


def digits() -> Samples:
    """scikit-learn's 1 797 handwritten digits: 1 x 8 x 8 floats in 0..1, ten classes."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1)
    return Samples(images, torch.from_numpy(bunch.target).long())


def parquet(path: str | Path) -> Samples:
    """Images of one size from a parquet file, as uint8 (N x channels x height x width).

    Raises:
        DataError: No such file, columns that are not there, or images of several sizes.
    """
    images, labels_N = images_and_labels(Path(path))
    pixels = [np.asarray(image().convert("RGB")) for image in images]
    sizes = {each.shape for each in pixels}
    if len(sizes) > 1:
        raise DataError(
            f"{Path(path).name} has images of {len(sizes)} sizes",
            wanted="images of one size",
            advice="Resize them first",
        )
    inputs = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Samples(inputs, labels_N)


def images_and_labels(path: Path) -> tuple[list[Callable[[], Any]], Tensor]:
    """Images (each opened as a PIL image when called) and labels of a parquet file.

    As the Hugging Face hub lays it out: one column (img or image) holds {"bytes": an encoded
    image, "path": ...}, another (label, labels or fine_label) integers.

    Raises:
        DataError: No such file, or columns that are not there.
    """
    if not path.is_file():
        raise DataError(
            f"no file at {path}",
            wanted="a parquet file of images and labels",
            advice="Check the path; for CIFAR-10 set TAILCUT_DATA to the folder of cifar10/",
        )
    table = pd.read_parquet(path)
    label = next((name for name in ("label", "labels", "fine_label") if name in table), None)
    image = next((name for name in ("img", "image") if name in table), None)
    if label is None or image is None:
        raise DataError(
            f"{path.name} has the columns {list(table.columns)}",
            wanted="an image column (img or image) and a label column (label or labels)",
            advice="Rename the columns",
        )
    images = [opener(cell["bytes"]) for cell in table[image]]
    return images, checked_labels(table[label], None, path.name)


def opener(source: bytes | Path) -> Callable[[], Any]:
    """Opens an encoded image or a file when called: greyscale stays so, all else becomes RGB."""

    def opened() -> Any:
        from PIL import Image

        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        return image if image.mode == "L" else image.convert("RGB")

    return opened


def digits_problem(
    *, rate: float, seed: int, train: int = 1100, holdout: int = 200, kind: str = "symmetric"
) -> Problem:
    """Digits: by default 1 100 to train on, 200 held out with noisy labels, 497 to test on."""
    if kind == "human":
        raise DataError(
            "digits with human labels",
            wanted="data that somebody has labelled anew: cifar10",
            advice="Choose another noise, or cifar10",
        )
    whole = digits()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(whole)))
    pool, test = whole.rows(order[: train + holdout]), whole.rows(order[train + holdout :])
    return Problem.of(pool, test, train=train, holdout=holdout, rate=rate, seed=seed, kind=kind)


def cifar10_problem(
    *,
    rate: float,
    seed: int,
    train: int = 10_000,
    holdout: int = 1_000,
    kind: str = "symmetric",
    folder: str | None = None,
) -> Problem:
    """CIFAR-10 from `train.parquet` and `test.parquet`, tested on all 10 000 test images.

    Args:
        rate: As the kind of noise counts it; human labels have the rate that they have.
        seed: Chooses the images and the wrong labels.
        train: Training images.
        holdout: Held-out images, as noisy.
        kind: As in `noise.TRANSITIONS`, or "human": one annotator's label for each training
            image (CIFAR-10N random1, Wei et al. 2022), from `cifar10n_random1.npy`.
        folder: Where the two files lie; `$TAILCUT_DATA/cifar10`, else `data/cifar10`.
    """
    place = Path(folder or Path(os.environ.get("TAILCUT_DATA", "data")) / "cifar10")
    pool = parquet(place / "train.parquet")
    if kind == "human":
        pool = pool.annotated(human_labels(place / "cifar10n_random1.npy"))
    return Problem.of(
        pool,
        parquet(place / "test.parquet"),
        train=train,
        holdout=holdout,
        rate=rate,
        seed=seed,
        kind=kind,
    )


def human_labels(path: Path) -> Tensor:
    """One label for each sample (N,) from a plain `.npy` file of integers.

    Raises:
        DataError: No such file, one that holds pickled objects, or labels that are none.
    """
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as cause:
        raise DataError(
            f"no labels in {path} ({cause})",
            wanted="a .npy file with one integer for each sample",
            advice="For the labels of CIFAR-10N put cifar10n_random1.npy beside the images",
        ) from None
    return checked_labels(labels, None, path.name)
