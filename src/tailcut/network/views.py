"""Views: label-preserving perturbations under which a network no longer knows its labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from tailcut._typing import Inputs
from tailcut.errors import DataError

Perturbation = Callable[[Any, torch.Generator], Any]
"""(inputs of a batch, CPU generator) -> inputs of the same form."""


@dataclass(frozen=True)
class View:
    """A named random perturbation of inputs.

    Attributes:
        name: For tables.
        perturb: (inputs, CPU generator) -> inputs of the same form and shape.
    """

    name: str
    perturb: Perturbation

    def __call__(self, inputs: Inputs, generator: torch.Generator) -> Inputs:
        """Perturbed inputs of one batch."""
        return self.perturb(inputs, generator)


Views = str | Sequence[str | View | Perturbation]
"""The `views=` argument: "auto", one name, or names and callables of (inputs, generator)."""


def auto_views(inputs: Inputs) -> list[View]:
    """Views to try for inputs of this form: geometry and noise for images, else noise.

    Which of them keep the label, and under which the memory is gone, is measured, not
    assumed: a mirrored digit is not a digit, a mirrored dog is a dog. For inputs without
    exactly one floating tensor, such as tokens, no view is known: then there is none.
    """
    try:
        tensor = _floating(inputs)[1]
    except DataError:
        return []
    image = tensor.ndim == 4 and min(tensor.shape[2:]) >= 8
    names = ["flip", "shift", "flip+shift", "rotate"] if image else []
    return [VIEWS[name] for name in [*names, "noise/4", "noise/2", "noise*3/4"]]


def as_views(views: Views, inputs: Inputs) -> list[View]:
    """The `views=` argument: "auto", names, or callables of (inputs, generator).

    Raises:
        DataError: A name that is not known.
    """
    if views == "auto":
        return auto_views(inputs)
    chosen: list[View] = []
    for view in [views] if isinstance(views, str) else views:
        if isinstance(view, View):
            chosen.append(view)
        elif callable(view):
            chosen.append(View(getattr(view, "__name__", type(view).__name__), view))
        elif view in VIEWS:
            chosen.append(VIEWS[view])
        else:
            raise DataError(
                f"no view is called {view!r}",
                wanted=f"'auto' or some of {', '.join(VIEWS)}",
                advice="Correct the name, or pass a callable of (inputs, generator)",
            )
    return chosen


def _on_floating(perturb: Callable[[Tensor, torch.Generator], Tensor]) -> Perturbation:
    """Perturb a tensor, or the one floating tensor of a dict; the rest stays."""

    @wraps(perturb)
    def whole(inputs: Inputs, generator: torch.Generator) -> Inputs:
        key, tensor = _floating(inputs)
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


VIEWS = {
    view.name: view
    for view in (
        View("flip", geometric(flip=True)),
        View("shift", geometric(shift=1 / 8)),
        View("flip+shift", geometric(shift=1 / 8, flip=True)),
        View("rotate", geometric(degrees=15, scale=0.1)),
        View("noise/4", gaussian(1 / 4)),
        View("noise/2", gaussian(1 / 2)),
        View("noise*3/4", gaussian(3 / 4)),
    )
}


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


def _floating(inputs: Inputs) -> tuple[str, Tensor]:
    """The tensor to perturb and its key (none for a lone tensor)."""
    if isinstance(inputs, Tensor):
        if inputs.is_floating_point():
            return "", inputs
        seen = f"inputs of type {inputs.dtype}"
    else:
        keys = [key for key, value in inputs.items() if value.is_floating_point()]
        if len(keys) == 1:
            return keys[0], inputs[keys[0]]
        seen = f"{len(keys)} floating tensors among the inputs {', '.join(sorted(inputs))}"
    raise DataError(
        seen,
        wanted="exactly one floating tensor, which can be perturbed",
        advice="Pass views=[...] with callables of (inputs, generator), or a holdout and views=[]",
    )
