"""torchvision beside a torch for which its compiled operators were not built."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

Made = TypeVar("Made")


@cache
def make_importable() -> torch.library.Library | None:
    """Let `import torchvision` succeed where its compiled operators do not load, and say so once.

    The import asks for two operators by name. They are declared here without an implementation:
    classifiers and transforms never call them, and a detector that does is refused by torchvision.
    Call this before anything that imports torchvision, as timm and transformers do.

    Returns:
        What declares the operators, to be kept as long as they are; None where nothing is amiss.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return None
    if any(_loads(path) for path in Path(found.origin).parent.glob("_C.*")):
        return None
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    sys.stderr.write(
        f"tailcut: torchvision's compiled operators do not load beside torch {torch.__version__};"
        " classifiers work without them, detectors do not\n"
    )
    return operators


def retried(make: Callable[[], Made]) -> Made:
    """What a function of the user's makes, once more if torchvision's operators were missing."""
    try:
        return make()
    except RuntimeError as cause:
        if "operator torchvision::" not in str(cause) or make_importable() is None:
            raise
        return make()


def _loads(compiled: Path) -> bool:
    try:
        torch.ops.load_library(str(compiled))
    except OSError:
        return False
    return True
