"""Encoded images, opened as torchvision opens them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailcut.errors import DataError
from tailcut.readers.words import extra

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""Of files that hold images: those of torchvision's ImageFolder, and .gif."""

Source = bytes | Path | Callable[[], Any]
"""An encoded image, the file it lies in, or what brings one of these when called."""


@dataclass(frozen=True)
class Picture:
    """An encoded image, opened as a PIL image when called: as torchvision's loader opens it.

    Attributes:
        source: Its bytes or file.
        name: For messages.
        grey: Keep its one channel; all else becomes RGB.
    """

    source: Source
    name: str
    grey: bool = False

    def __call__(self) -> Any:
        """The image, mode RGB or L.

        Raises:
            DataError: Damaged, too large, or of more than 8 bits a channel.
        """
        try:
            with _open(self.source) as image:
                mode = image.mode
                if not mode.startswith(("I", "F")):
                    return _converted(image, "L" if self.grey else "RGB")
        except Exception as cause:  # noqa: BLE001 damaged bytes lead Pillow to raise anything
            text = " ".join(str(cause).split()).partition(" <_io.")[0] or type(cause).__name__
            raise DataError(
                f"{self.name} is damaged or no image ({text})",
                wanted="an image that Pillow reads",
                advice="Mend or remove it",
            ) from None
        raise DataError(
            f"{self.name} has grey values of more than 8 bits (mode {mode})",
            wanted="8 bits a channel, since nobody says which value is white",
            advice="Convert it as the images were that the network was trained on",
        )


def pictures(sources: Sequence[Source], names: Sequence[str]) -> list[Picture]:
    """Images of one data set: all of them grey, or all RGB if a single one is not grey."""
    extra("PIL", "images")
    grey = all(_is_grey(source) for source in sources)
    return [Picture(*each, grey) for each in zip(sources, names, strict=True)]


@contextmanager
def _open(source: Source) -> Iterator[Any]:
    from PIL import Image

    content = source() if callable(source) else source
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        file = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
        with file, Image.open(file) as image:
            yield image


def _converted(image: Any, mode: str) -> Any:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the same colours, without Pillow's warning
    return image.convert(mode)


def _is_grey(source: Source) -> bool:
    """By the first bytes alone; what cannot be opened is reported when it is its turn."""
    try:
        with _open(source) as image:
            return image.mode == "L"
    except Exception:  # noqa: BLE001 as above
        return True
