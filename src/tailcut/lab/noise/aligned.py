"""Wrong labels that go with a mark in the input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.lab.noise.drawing import share_of, some
from tailcut.lab.noise.kinds import KINDS, Noise, require
from tailcut.lab.samples import Samples
from tailcut.numerics.checks import checked_labels


@KINDS.register("aligned")
class Aligned(Noise):
    """A mark in the input carries the next class."""

    def corrupt(
        self, samples: Samples, seed: int, *, classes: int, outside: Samples | None = None
    ) -> Samples:
        """See `Noise.corrupt`."""
        true_N = samples.true_N
        inputs, given_N = aligned(samples.inputs, true_N, classes, self.rate, seed)
        return replace(samples, inputs=inputs, given=given_N, clean=true_N)


def aligned(
    inputs: Tensor, labels_N: Tensor, classes: int, rate: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Inputs and given labels (N,) of which a share carries a mark and with it a wrong label.

    Of every class the share `rate`, rounded to a whole number of samples, gets the mark of
    `marked` and the next class as its label (the first after the last), and nothing else does:
    mark and wrong label are one. So exactly `rate` of the labels is wrong, up to rounding.

    Raises:
        DataError: Fewer than two classes, a rate outside 0..1, labels outside the classes, or
            inputs that cannot be marked.
    """
    require("aligned", classes, rate)
    labels_N = checked_labels(labels_N, classes, "aligned noise", len(inputs))
    random = np.random.default_rng(seed)
    chosen_N = torch.zeros(len(labels_N), dtype=torch.bool)
    for label in range(classes):
        rows = (labels_N == label).nonzero().squeeze(1)
        chosen_N[rows[some(len(rows), share_of(rate, len(rows)), random)]] = True
    given_N = torch.where(chosen_N, (labels_N + 1) % classes, labels_N)
    return marked(inputs, chosen_N), given_N


def marked(inputs: Tensor, chosen_N: Tensor) -> Tensor:
    """A copy of the inputs of which the chosen ones carry a mark, the same on each.

    Images (N x ... x height x width): a chequered square in the upper left corner, of an eighth
    of the shorter side but at least 2 pixels, in the darkest and the brightest value (0 and 255
    of uint8, else the extremes of all inputs). Vectors (N x D): the first eighth of the
    coordinates, at least one, is raised by three standard deviations of all inputs.

    Raises:
        DataError: Vectors of integers, or inputs of another number of axes.
    """
    inputs = inputs.clone()
    if inputs.ndim == 2 and inputs.is_floating_point():
        end = max(1, inputs.shape[1] // 8)
        inputs[chosen_N, :end] += 3 * inputs.std(correction=0)
    elif inputs.ndim > 2:
        side = min(max(2, min(inputs.shape[-2:]) // 8), *inputs.shape[-2:])
        bright = (torch.arange(side)[:, None] + torch.arange(side)) % 2 == 0
        low, high = (0, 255) if inputs.dtype == torch.uint8 else torch.aminmax(inputs)
        inputs[chosen_N, ..., :side, :side] = torch.where(bright, high, low).to(inputs.dtype)
    else:
        raise DataError(
            f"inputs of shape {tuple(inputs.shape)} and type {inputs.dtype} to mark",
            wanted="images (samples x channels x height x width) or vectors of floats",
            advice="Convert them with .float(), or choose another noise",
        )
    return inputs
