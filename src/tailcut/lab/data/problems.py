"""What an experiment trains on, may look at, and is evaluated on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tailcut.errors import DataError
from tailcut.lab.noise.kinds import Noise
from tailcut.lab.samples import Samples


@dataclass(frozen=True, eq=False)
class Problem:
    """Noisy data in its three parts.

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
        noise: Noise,
        seed: int,
        outside: Samples | None = None,
    ) -> Problem:
        """Shuffle a pool, make it noisy and cut it into train and holdout.

        Args:
            pool: With true labels; labels that people gave are among its given ones already.
            test: With true labels.
            train: Training samples.
            holdout: Held-out samples, as noisy.
            noise: As `noise_of` reads it off a word.
            seed: Chooses the samples and the wrong labels.
            outside: What open-set noise puts in the place of inputs, each sample once.

        Raises:
            DataError: A pool smaller than train + holdout, an empty part, open-set noise
                without `outside`, or noise that these samples cannot have.
        """
        _require_sizes(train, holdout, pool, test)
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(pool)))
        chosen = pool.rows(order[: train + holdout])
        noisy = noise.corrupt(chosen, seed, classes=pool.classes, outside=outside)
        return cls(noisy.rows(slice(train)), noisy.rows(slice(train, None)), test.true())


def _require_sizes(train: int, holdout: int, pool: Samples, test: Samples) -> None:
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


def never_annotated(what: str) -> DataError:
    """Human labels asked for, of data that nobody has labelled anew."""
    return DataError(
        f"{what} with human labels",
        wanted="data that somebody has labelled anew: cifar10",
        advice="Choose another noise, or cifar10",
    )
