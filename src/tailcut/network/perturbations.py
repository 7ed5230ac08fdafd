"""Perturbations of numbers: geometry of images, noise, columns of tables swapped."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from tailcut._typing import Inputs
from tailcut.errors import DataError
from tailcut.network.tokens import MASK
from tailcut.network.view import Perturbation


def _on_floating(perturb: Callable[[Tensor, torch.Generator], Tensor]) -> Perturbation:
    """Perturb a tensor, or the one floating tensor of a dict but for its mask; the rest stays."""

    @wraps(perturb)
    def whole(inputs: Inputs, generator: torch.Generator) -> Inputs:
        key, tensor = floating_of(inputs)
        if isinstance(inputs, Tensor):
            return perturb(inputs, generator)
        return {**inputs, key: perturb(tensor, generator)}

    return whole


def geometric(
    *, shift: float = 0, degrees: float = 0, scale: float = 0, flip: bool = False
) -> Perturbation:
    """A random mapping of images (N x channels x height x width), another for each sample.

    What comes in from outside is the image's mirror image at its edge.

    Args:
        shift: Up to this share of the side, by whole pixels, never zero in both directions.
        degrees: Rotation, uniform in +-degrees.
        scale: Zoom, uniform in 1 +- scale.
        flip: Mirror left and right, always.

    Raises:
        DataError: On inputs without images: another number of axes, or no floating tensor.
    """

    @_on_floating
    def perturb(images: Tensor, generator: torch.Generator) -> Tensor:
        _require_images(images)
        n, _, height, width = images.shape
        angle_N = _uniform(n, generator) * math.radians(degrees)
        zoom_N = 1 + _uniform(n, generator) * scale
        theta = _turned(angle_N, zoom_N, -1.0 if flip else 1.0, height, width)
        for axis, side in ((0, width), (1, height)) if shift else ():
            furthest = max(1, int(shift * side))
            pixels_N = torch.randint(1, furthest + 1, (n,), generator=generator)
            sign_N = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
            theta[:, axis, 2] = pixels_N * sign_N * 2 / side
        fine = images.to(torch.promote_types(images.dtype, torch.float32))
        grid = torch.nn.functional.affine_grid(
            theta.to(fine), list(fine.shape), align_corners=False
        )
        return torch.nn.functional.grid_sample(
            fine, grid, padding_mode="reflection", align_corners=False
        ).to(images)

    return perturb


def gaussian(deviations: float) -> Perturbation:
    """Gaussian noise of this many standard deviations of the input.

    The deviation is that of the whole batch for images and sequences, and of each column for
    vectors (N x columns), whose units may differ.

    Raises:
        DataError: On inputs without a floating tensor.
    """

    @_on_floating
    def perturb(inputs: Tensor, generator: torch.Generator) -> Tensor:
        spread = inputs.std(0, correction=0) if inputs.ndim == 2 else inputs.std(correction=0)
        drawn = torch.randn(inputs.shape, generator=generator).to(inputs)
        return inputs + deviations * spread * drawn

    return perturb


def swapped(share: float) -> Perturbation:
    """A share of the columns of a table (N x columns), each permuted among the rows of the batch.

    Every column keeps its numbers: "swap noise", near to the views of Bahri et al. (2022),
    "SCARF", section 3. At least one column is permuted, so one row alone stays as it is.

    Raises:
        DataError: On inputs that are no table.
    """

    @_on_floating
    def perturb(table: Tensor, generator: torch.Generator) -> Tensor:
        if table.ndim != 2:
            raise DataError(
                f"inputs of shape {tuple(table.shape)} for a view of tables",
                wanted="(samples, columns)",
                advice="Choose another view, or pass a callable of (inputs, generator)",
            )
        rows, columns = table.shape
        changed = table.clone()
        drawn = torch.randperm(columns, generator=generator)[: max(1, round(share * columns))]
        for column in drawn.tolist():
            order_N = torch.randperm(rows, generator=generator).to(table.device)
            changed[:, column] = table[order_N, column]
        return changed

    return perturb


def _turned(angle_N: Tensor, zoom_N: Tensor, mirror: float, height: int, width: int) -> Tensor:
    """Maps of the coordinates -1..1 (N x 2 x 3) that turn and zoom about the middle.

    Args:
        angle_N: In radians.
        zoom_N: Factors.
        mirror: -1 to mirror left and right, else 1.
        height: Of the images.
        width: Of the images.
    """
    theta = torch.zeros(len(angle_N), 2, 3)
    theta[:, 0, 0] = angle_N.cos() * zoom_N * mirror
    theta[:, 0, 1] = -angle_N.sin() * zoom_N * height / width
    theta[:, 1, 0] = angle_N.sin() * zoom_N * mirror * width / height
    theta[:, 1, 1] = angle_N.cos() * zoom_N
    return theta


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) * 2 - 1


def _require_images(images: Tensor) -> None:
    if images.ndim != 4:
        raise DataError(
            f"inputs of shape {tuple(images.shape)} for a view of images",
            wanted="(samples, channels, height, width)",
            advice="Choose a view of noise, or pass a callable of (inputs, generator)",
        )


def floating_of(inputs: Inputs) -> tuple[str, Tensor]:
    """The tensor to perturb and its key (none for a lone tensor)."""
    if isinstance(inputs, Tensor):
        if inputs.is_floating_point():
            return "", inputs
        seen = f"inputs of type {inputs.dtype}"
    else:
        found = [key for key, value in inputs.items() if value.is_floating_point()]
        keys = [key for key in found if key != MASK]
        if len(keys) == 1:
            return keys[0], inputs[keys[0]]
        seen = f"{len(keys)} floating tensors among the inputs {', '.join(sorted(inputs))}"
    raise DataError(
        seen,
        wanted="exactly one floating tensor, which can be perturbed",
        advice="Pass views=[...] with callables of (inputs, generator), or a holdout and views=[]",
    )
