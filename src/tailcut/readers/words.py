"""What the MODEL and DATA words share: reading, importing, and saying what went wrong."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tailcut.errors import SpecError, TailcutError, out_of_memory

Collate = Callable[[list[Any]], Any]
"""Raw items (PIL images, texts or tensors) to what a network is called with."""

Opens = TypeVar("Opens")


@dataclass(frozen=True)
class Word(Generic[Opens]):
    """A word of the command line that is registered.

    Attributes:
        form: What stands behind its colon, for messages; empty if it stands alone.
        opens: What it names.
    """

    form: str
    opens: Opens


def match(words: Mapping[str, Word[Opens]], said: str) -> tuple[Opens, str] | None:
    """What a word opens, and what stands behind its colon; None if it is not registered."""
    kind, colon, rest = said.partition(":")
    word = words.get(kind)
    if word is None or (bool(colon), bool(rest)) != (bool(word.form), bool(word.form)):
        return None
    return word.opens, rest


def forms(words: Mapping[str, Word[Any]]) -> str:
    """All that may be said, in words: those that stand alone come first."""
    alone = [name for name, word in words.items() if not word.form]
    others = [f"{name}:{word.form}" for name, word in words.items() if word.form]
    return f"{', '.join(alone + others)} or package.module:factory"


@contextmanager
def readable(
    word: str,
    *,
    wanted: str = "whole files of the form that the word names",
    advice: str = "Check the path and the form; parquet files and images need tailcut[images]",
) -> Iterator[None]:
    """What a library says of input it cannot read becomes an error of ours."""
    try:
        yield
    except TailcutError:
        raise
    except Exception as cause:  # noqa: BLE001 damaged bytes lead libraries to raise anything
        text = " ".join(str(cause).partition("\n")[0].split()) or type(cause).__name__
        raise SpecError(
            f"{word!r} cannot be read ({text.rstrip('.')})", wanted=wanted, advice=advice
        ) from None


def existing(path: Path) -> Path:
    """The path, if there is anything at it.

    Raises:
        SpecError: There is not.
    """
    with readable(str(path)):
        if path.exists():
            return path
    raise SpecError(f"nothing at {path}", wanted="data to read", advice="Check the path")


def factory(word: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """What `package.module:function` returns; modules of the current folder are found."""
    module_name, _, function = word.partition(":")
    _search_here()
    try:
        return _made(word, module_name, function, arguments or {})
    except TailcutError:
        raise
    except (Exception, SystemExit) as cause:
        if out_of_memory(cause):
            raise
        text = " ".join(str(cause).split())[:200].rstrip(".")
        raise SpecError(
            f"{word!r} failed with {type(cause).__name__} ({text})",
            wanted="a factory that returns a network or batches",
            advice=f"To see where, run: python -c 'import {module_name} as m; m.{function}()'",
        ) from cause


def _made(word: str, module_name: str, function: str, arguments: Mapping[str, Any]) -> Any:
    """What the function returns; what it raises is not caught."""
    try:
        made = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as cause:
        raise SpecError(
            f"{word!r} cannot be imported ({cause})",
            wanted="package.module:function that Python finds",
            advice="Run from the folder of the module, or install its package",
        ) from None
    return made(**arguments)


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
    except Exception as cause:
        # compiled packages that do not fit torch raise anything
        import torch

        text = str(cause).strip().partition("\n")[0] or type(cause).__name__
        other = "torchvision" if "torchvision" in text else module
        raise SpecError(
            f"{module} is installed and cannot be imported ({text.rstrip('.')})",
            wanted=f"{other} as built for torch {torch.__version__}",
            advice=f"Install releases of torch and {other} that belong together",
        ) from cause
