"""Inputs that belong to none of the classes, under labels that are therefore wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from tailcut.errors import DataError
from tailcut.lab.noise.drawing import share_of, some
from tailcut.lab.noise.kinds import KINDS, Noise, require
from tailcut.lab.samples import OUTSIDE, Samples


@KINDS.register("openset")
class OpenSet(Noise):
    """Inputs of the last three classes, which leave the problem."""

    apart = 3

    def corrupt(
        self, samples: Samples, seed: int, *, classes: int, outside: Samples | None = None
    ) -> Samples:
        """See `Noise.corrupt`."""
        if outside is None:
            raise DataError(
                "open-set noise without samples from outside the classes",
                wanted="some that are put in the place of others",
                advice="Pass outside=, such as the second part of Samples.apart",
            )
        true_N = samples.true_N
        inputs, clean_N = openset(samples.inputs, true_N, outside.inputs, self.rate, seed)
        return replace(samples, inputs=inputs, clean=clean_N)


def openset(
    inputs: Tensor, labels_N: Tensor, outside: Tensor, rate: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Inputs and true labels (N,) of which a share has been replaced from outside the classes.

    Wang et al. (2018), "Iterative learning with open-set noisy labels". The share `rate` of the
    samples, rounded to a whole number and chosen at random, keeps its label but gets an outside
    input, each of them at most once, and `OUTSIDE` as its true label. Exactly `rate` of the
    labels is wrong, up to rounding, and no other class is right instead.

    Raises:
        DataError: A rate outside 0..1, outside inputs of another shape or type, or too few.
    """
    require("openset", 2, rate)
    if outside.shape[1:] != inputs.shape[1:] or outside.dtype != inputs.dtype:
        raise DataError(
            f"outside inputs of shape {tuple(outside.shape[1:])} and type {outside.dtype}",
            wanted=f"{tuple(inputs.shape[1:])} and {inputs.dtype} as those that they replace",
            advice="Resize and convert them first",
        )
    count = share_of(rate, len(inputs))
    if count > len(outside):
        raise DataError(
            f"{len(outside)} outside inputs for {count} of {len(inputs)} samples",
            wanted="at least one for each sample to be replaced",
            advice="Lower the rate or the number of samples",
        )
    random = np.random.default_rng(seed)
    rows, sources = some(len(inputs), count, random), some(len(outside), count, random)
    inputs, clean_N = inputs.clone(), labels_N.clone()
    inputs[rows], clean_N[rows] = outside[sources], OUTSIDE
    return inputs, clean_N
