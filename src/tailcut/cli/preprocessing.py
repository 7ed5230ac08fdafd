"""What a user says of the inputs and of the network's builder: options, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import yaml

from tailcut.errors import SpecError

MODES = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""Interpolations, by the names that Pillow has for them."""


@dataclass(frozen=True)
class Preprocessing:
    """How images become inputs, where the network was trained otherwise than its library proposes.

    Attributes:
        image_size: Side of the square that the network sees, in pixels.
        mean: Of each channel, which is subtracted from values 0..1, such as [0.5, 0.5, 0.5].
        std: Of each channel, by which the rest is divided.
        resize: MODE/CROP, such as bicubic/0.95 (the shorter side becomes image_size / 0.95 long,
            and the centre is kept) or bilinear/squash (the whole image, whatever its shape); MODE
            is nearest, box, bilinear, hamming, bicubic or lanczos. Or none: images as they are.
        model_args: What the network's builder is given, such as {in_chans: 1}; or in MODEL itself,
            as timm:resnet18?in_chans=1&num_classes=7.
    """

    image_size: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    resize: str | None = None
    model_args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            _refuse("image-size", self.image_size, "a number of pixels", "Choose another")
        for name, values in (("mean", self.mean), ("std", self.std)):
            odd = [] if values is None else [each for each in values if not math.isfinite(each)]
            if name == "std":
                odd += [each for each in values or () if each <= 0]
            if odd or (values is not None and len(values) not in {1, 3}):
                wanted = "a number for each of 3 channels, or one for all; above 0 for std"
                _refuse(name, values, wanted, f"Write it as --{name} '[0.5, 0.5, 0.5]'")
        if self.resize is not None:
            parsed(self.resize)
        if self.resize == "none" and self.image_size is not None:
            _refuse("resize", "none", "no --image-size beside it", "Leave one of them out")

    @property
    def of_images(self) -> tuple[str, ...]:
        """The options given that say how images are read."""
        names = [each.name for each in fields(self) if each.name != "model_args"]
        return tuple(name for name in names if getattr(self, name) is not None)


def parsed(resize: str) -> tuple[str, float | None, bool]:
    """The mode, the share of the shorter side that is kept if it is said, and whether to squash.

    Raises:
        SpecError: Another word.
    """
    mode, slash, crop = resize.partition("/")
    if resize == "none" or (mode in MODES and (not slash or crop == "squash")):
        return mode, None, crop == "squash"
    try:
        share = float(crop)
    except ValueError:
        share = 0.0
    if mode not in MODES or not 0 < share <= 1:
        wanted = f"none, or MODE, MODE/squash or MODE/CROP, MODE one of {', '.join(MODES)} and "
        _refuse("resize", resize, f"{wanted}CROP above 0 and at most 1", "Correct it")
    return mode, share, False


def _refuse(option: str, value: Any, wanted: str, advice: str) -> None:
    raise SpecError(f"--{option} {value}", wanted=wanted, advice=advice)


@dataclass(frozen=True)
class Saving:
    """How the repaired network is saved.

    Attributes:
        format: safetensors, or torch for a .pth file that holds the state_dict alone; networks of
            transformers are folders and know safetensors alone.
    """

    format: Literal["safetensors", "torch"] = "safetensors"


@dataclass(frozen=True)
class Asked:
    """What is said of a MODEL beside its name.

    Attributes:
        arguments: Of its builder.
        images: How its inputs are prepared, where the user says it.
        weights: The file of its weights.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    images: Preprocessing = field(default_factory=Preprocessing)
    weights: str | None = None


def split(word: str, images: Preprocessing, weights: str | None) -> tuple[str, Asked]:
    """A MODEL word without `?name=value&...`, and what is asked of it.

    Raises:
        SpecError: Something else than names and values there, or two values for a name.
    """
    plain, mark, query = word.partition("?")
    arguments = dict(images.model_args)
    for each in query.split("&") if mark else ():
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise SpecError(
                f"MODEL {word!r} has {each!r} behind its name",
                wanted="name=value, and more of them behind &",
                advice="Write it as timm:resnet18?num_classes=7&in_chans=1, in quotes",
            )
        found = _value(value)
        if arguments.setdefault(name, found) != found:
            raise SpecError(
                f"MODEL {word!r} says {name}={value}, and elsewhere it is {arguments[name]!r}",
                wanted="one value",
                advice="Remove one of them",
            )
    return plain, Asked(arguments, images, weights)


def _value(text: str) -> Any:
    """A number, true, false, null or a list as in YAML; else a text."""
    try:
        return yaml.safe_load(text) if "*" not in text else text
    except yaml.YAMLError:
        return text
