"""How images become inputs: what each library proposes, in one form, and what the user changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tailcut.cli.items import tensor
from tailcut.cli.preprocessing import Preprocessing, parsed
from tailcut.errors import DataError, SpecError


@dataclass(frozen=True)
class Steps:
    """Resize, crop and normalise.

    Attributes:
        size: Height and width that the network sees; None where images stay as they are.
        mode: Of the interpolation.
        crop: Share of the shorter side that is kept, 0..1.
        squash: Resize to a shape whatever the image's own is.
        mean: Of each channel; None where nothing is subtracted and divided.
        std: Likewise.
        colours: Pillow's mode of the images: RGB or L; None where they stay as they are.
        source: Who proposes it; empty where the user says all.
    """

    size: tuple[int, int] | None = None
    mode: str = "bilinear"
    crop: float = 1.0
    squash: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    colours: str | None = None
    source: str = ""

    def __call__(self, image: Any) -> Tensor:
        """A PIL image as a float tensor, channels first."""
        image = image.convert(self.colours or image.mode)
        if self.size is not None:
            image = _cropped(self._resized(image, self.size), self.size)
        return self.normalised(tensor(image))

    def normalised(self, pixels: Tensor) -> Tensor:
        """(pixels - mean) / std, by channel: the first axis.

        Raises:
            DataError: Another number of channels.
        """
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is None:
                continue
            if len(values) not in {1, len(pixels)}:
                raise DataError(
                    f"an input of shape {tuple(pixels.shape)}, and --{name} has {len(values)} "
                    "numbers",
                    wanted="a number for each channel, or one for all",
                    advice=f"Correct --{name}",
                )
            factor = torch.tensor(values).reshape(-1, *[1] * (pixels.ndim - 1))
            pixels = pixels - factor if name == "mean" else pixels / factor
        return pixels

    def _resized(self, image: Any, size: tuple[int, int]) -> Any:
        from PIL import Image

        resample = Image.Resampling[self.mode.upper()]
        if self.squash or size[0] != size[1]:
            height, width = (math.floor(side / self.crop + 1e-6) for side in size)
            return image.resize((width, height), resample)
        short = math.floor(size[0] / self.crop + 1e-6)
        long = int(short * max(image.size) / min(image.size))
        wide = image.width > image.height
        return image.resize((long, short) if wide else (short, long), resample)

    def changed(self, asked: Preprocessing) -> Steps:
        """With what a user says in the place of what was proposed."""
        made = self
        if asked.resize == "none":
            made = replace(made, size=None)
        elif asked.resize is not None:
            mode, crop, squash = parsed(asked.resize)
            made = replace(made, mode=mode, crop=made.crop if crop is None else crop, squash=squash)
            made = replace(made, crop=1.0) if squash else made
        if asked.image_size is not None:
            made = replace(made, size=(asked.image_size, asked.image_size))
        if made.size is None and asked.resize not in {None, "none"}:
            raise SpecError(
                f"--resize {asked.resize} without a size",
                wanted="the side of the square that the network sees",
                advice="Add --image-size",
            )
        mean = made.mean if asked.mean is None else tuple(asked.mean)
        std = made.std if asked.std is None else tuple(asked.std)
        return replace(made, mean=mean, std=std)

    def describe(self) -> str:
        """In words."""
        text = "images as they are" if self.size is None else self._sizes()
        for name, values in (("mean", self.mean), ("std", self.std)):
            text += f", {name} {', '.join(f'{each:.4g}' for each in values)}" if values else ""
        return f"{text}, in grey" if self.colours == "L" else text

    def _sizes(self) -> str:
        height, width = self.size or (0, 0)
        whole = "the whole image squashed" if self.squash else "the centre"
        part = f"{whole}, of {self.crop:.3g} of it" if self.crop < 1 else whole
        return f"{width} x {height} pixels, {self.mode}, {part}"


def _cropped(image: Any, size: tuple[int, int]) -> Any:
    """The centre, rounded as torchvision rounds it."""
    left, top = (
        round((have - want) / 2) for have, want in zip(image.size, size[::-1], strict=True)
    )
    return image.crop((left, top, left + size[1], top + size[0]))


def of_timm(config: Mapping[str, Any], channels: int, source: str) -> Steps | None:
    """What timm's data config says; None for what no `Steps` can."""
    modes = {"center": False, "squash": True}
    if config["crop_mode"] not in modes or config["interpolation"] == "random":
        return None
    grey = channels == 1

    def of(name: str) -> tuple[float, ...]:
        values = tuple(config[name])
        return (sum(values) / len(values),) if grey else values

    return Steps(
        size=tuple(config["input_size"][1:]),
        mode=config["interpolation"],
        crop=float(config["crop_pct"]),
        squash=modes[config["crop_mode"]],
        mean=of("mean"),
        std=of("std"),
        colours="L" if grey else "RGB",
        source=source,
    )


def of_torchvision(preset: Any, source: str) -> Steps | None:
    """What the transforms of a weights enum say; None for what no `Steps` can."""
    try:
        (crop,), (short,) = preset.crop_size, preset.resize_size
        mode = preset.interpolation.value
        mean, std = tuple(preset.mean), tuple(preset.std)
    except (AttributeError, TypeError, ValueError):
        return None
    return Steps((crop, crop), mode, crop / short, False, mean, std, "RGB", source)  # noqa: FBT003


def of_processor(processor: Any, colours: str, source: str) -> Steps | None:
    """What a Hugging Face image processor says; None for what no `Steps` can."""
    from PIL import Image

    held = processor.to_dict()
    size, crop = dict(held.get("size") or {}), dict(held.get("crop_size") or {})
    odd = held.get("rescale_offset") or held.get("crop_pct") or not held.get("do_rescale", True)
    if odd or not math.isclose(held.get("rescale_factor", 1 / 255), 1 / 255):
        return None
    normal = held.get("do_normalize", False)
    resample = held.get("resample")
    made = Steps(
        mode=Image.Resampling(2 if resample is None else int(resample)).name.lower(),
        mean=tuple(held["image_mean"]) if normal else None,
        std=tuple(held["image_std"]) if normal else None,
        colours=colours,
        source=source,
    )
    if not held.get("do_resize", False):
        return None if held.get("do_center_crop") else made
    if not held.get("do_center_crop"):
        crop = size
    if not {"height", "width"} <= set(crop):
        return None
    if size.keys() == {"shortest_edge"}:
        share = crop["height"] / size["shortest_edge"]
        return replace(made, size=(crop["height"], crop["width"]), crop=share)
    if {"height", "width"} <= set(size):
        share = crop["height"] / size["height"]
        return replace(made, size=(crop["height"], crop["width"]), crop=share, squash=True)
    return None


Read = Callable[[Any], Tensor]
"""An image to an input."""


def chosen(
    proposed: Steps | None, library: Read | None, asked: Preprocessing, who: str
) -> tuple[Read, Steps | None]:
    """What reads an image: the library's own transform, unless the user changes anything.

    Raises:
        SpecError: Something to change in a proposal that has no such parts.
    """
    if not asked.of_images and library is not None:
        return library, proposed
    if proposed is None:
        option = asked.of_images[0].replace("_", "-")
        raise SpecError(
            f"--{option} for {who}, which prepares its images in a way of its own",
            wanted="images prepared by its library",
            advice="Leave the option out, or pass DATA as a factory package.module:function",
        )
    steps = proposed.changed(asked)
    return steps, steps


def of_tensors(asked: Preprocessing) -> Callable[[Any], Tensor]:
    """Tensors are prepared already, but for what a user says: mean and std."""

    def read(item: Any) -> Tensor:
        if asked.image_size is not None or asked.resize not in {None, "none"}:
            raise DataError(
                f"--image-size or --resize for tensors of shape {tuple(item.shape)}",
                wanted="images, which can be resized",
                advice="Leave them out, or resize the tensors first",
            )
        return Steps().changed(asked).normalised(tensor(item))

    return read
