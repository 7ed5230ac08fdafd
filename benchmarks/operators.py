"""Empty operators of torchvision, where its compiled ones do not load beside this torch."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import torch


@functools.cache  # which keeps the library, because operators go when it does
def stand_in() -> torch.library.Library | None:
    """`import torchvision` asks for them by name; networks and transforms never call them."""
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return None
    for compiled in Path(found.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            continue
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
