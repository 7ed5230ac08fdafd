"""What the MODEL and DATA words share: reading, importing, and saying what went wrong."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from tailcut import vision
from tailcut.errors import SpecError, TailcutError

Collate = Callable[[list[Any]], Any]
"""Raw items (PIL images, texts or tensors) to what a network is called with."""


@contextmanager
def readable(word: str) -> Iterator[None]:
    """What a file or a library says of input it cannot read becomes an error of ours."""
    try:
        yield
    except TailcutError:
        raise
    except (OSError, ValueError, TypeError, KeyError, ImportError, BadZipFile) as cause:
        told = str(cause).strip().partition("\n")[0] or type(cause).__name__
        raise SpecError(
            f"{word!r} cannot be read ({told.rstrip('.')})",
            wanted="whole files of the form that the word names",
            advice="Check the path and the form; parquet files and images need tailcut[images]",
        ) from None


def factory(word: str) -> Any:
    """What `package.module:function` returns; modules of the current folder are found."""
    module_name, _, function = word.partition(":")
    _search_here()
    try:
        made = vision.retried(lambda: getattr(importlib.import_module(module_name), function))
    except (ImportError, AttributeError) as cause:
        raise SpecError(
            f"{word!r} cannot be imported ({cause})",
            wanted="package.module:function that Python finds",
            advice="Run from the folder of the module, or install its package",
        ) from None
    return vision.retried(made)


def is_module(name: str) -> bool:
    """Whether Python finds a module, or the name can be nothing else."""
    _search_here()
    return "." in name or (name.isidentifier() and importlib.util.find_spec(name) is not None)


def _search_here() -> None:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def extra(module: str, name: str) -> Any:
    """An optional package, or an error that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as cause:
        raise SpecError(
            f"{module} cannot be imported ({cause})",
            wanted=f"tailcut with the extra {name!r}",
            advice=f"Run: pip install 'tailcut[{name}]'",
        ) from None
    except Exception as cause:  # noqa: BLE001 compiled packages that do not fit raise anything
        told = str(cause).strip().partition("\n")[0] or type(cause).__name__
        raise SpecError(
            f"{module} is installed and cannot be imported ({told.rstrip('.')})",
            wanted=f"a {module} that fits torch {torch.__version__}",
            advice=f"Install releases of torch, torchvision and {module} that belong together",
        ) from None
