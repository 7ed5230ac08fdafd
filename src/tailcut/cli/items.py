"""Raw items, images or tensors, become what a network is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tailcut.errors import DataError
from tailcut.readers.words import Collate


def each(transform: Callable[[Any], Tensor]) -> Collate:
    """A batch of items, each transformed; they must come out in one shape."""

    def collate(items: list[Any]) -> Tensor:
        tensors = [transform(item) for item in items]
        shapes = {tuple(tensor.shape) for tensor in tensors}
        if len(shapes) > 1:
            raise DataError(
                f"inputs of the shapes {', '.join(map(str, sorted(shapes)))} in one batch",
                wanted="one shape",
                advice="Resize the images, or pass a factory package.module:function",
            )
        return torch.stack(tensors)

    return collate


def tensor(item: Any) -> Tensor:
    """Pixels (uint8 tensors, PIL images) as floats 0..1, channels first; others as they are."""
    if isinstance(item, Tensor):
        pixels = item
    else:
        array = np.array(item)
        pixels = torch.from_numpy(array[..., None] if array.ndim == 2 else array).movedim(-1, 0)
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def images(read: Callable[[Any], Tensor], tensors: Callable[[Any], Tensor]) -> dict[str, Collate]:
    """Batches of images and of tensors, each item read alone."""
    return {"tensor": each(tensors), "image": each(read)}


def coloured(image: Any) -> Any:
    """An image in three channels."""
    return image.convert("RGB")


def grey(image: Any) -> np.ndarray:
    """With its one channel, which processors of transformers 4 do not add themselves."""
    return np.array(image.convert("L"))[None]


def mode_of(model: Any) -> str | None:
    """Pillow's mode of the images that the first convolution of a network reads, if it has one."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    first = next((module for module in modules if isinstance(module, nn.Conv2d)), None)
    return None if first is None else {1: "L", 3: "RGB"}.get(first.in_channels)


PLAIN: dict[str, Collate] = images(tensor, tensor)
"""Of a network that says nothing of how it reads items."""
