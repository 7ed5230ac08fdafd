"""Files that appear whole or not at all: safetensors and JSON, versioned, never pickle."""

from __future__ import annotations

import json
import math
import pickle
import re
import shutil
import uuid
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tailcut.errors import StoreError
from tailcut.network.modules import load_state, state_of

SCHEMA = 1
"""Of every JSON file and safetensors header that tailcut writes."""

_NUMBERS = re.compile(r"\[\n\s*((?:[-+.\deE]+|null)(?:,\n\s*(?:[-+.\deE]+|null))*)\n\s*\]")
"""A list of numbers over several lines; no text holds a line break in JSON."""


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it into place.

    A full disk, an interrupt or an error leaves whatever was there before, and no litter.

    Raises:
        StoreError: A writer that failed for a reason of its own, such as a full disk.
        OSError: As the system told it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        write(temporary)
        temporary.replace(path)
    except (SafetensorError, RuntimeError) as cause:
        raise StoreError(
            f"{path} could not be written ({_first_line(cause)})",
            wanted="room on the disk and the right to write",
            advice="Free some space, or write to another directory",
        ) from cause
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_folder_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary folder beside `path`, then put it in the place of the old."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _beside(path), _beside(path)
    try:
        write(temporary)
        if path.exists():
            path.replace(old)
        temporary.replace(path)
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return path


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


def write_text(path: str | Path, text: str) -> Path:
    """A text file (UTF-8)."""
    return write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """A JSON object, a list of numbers on one line; NaN and infinities become null."""
    text = json.dumps(plain(content), indent=2, allow_nan=False)
    packed = _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    return write_text(path, packed + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object that tailcut wrote.

    Raises:
        StoreError: No file, damaged, of a later schema, or of one that is no number.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise _missing(path) from None
    except ValueError as cause:
        raise _not_json(path, cause) from None
    if not isinstance(content, dict):
        raise _not_json(path, f"but a {type(content).__name__}")
    schema = content.get("schema", 0)
    known = type(schema) in (int, float)
    if not known or schema > SCHEMA:
        raise StoreError(
            f"{path} has schema {schema!r}",
            wanted=f"schema {SCHEMA} or lower",
            advice="Update tailcut" if known else "Run the command again that wrote it",
        )
    return content


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Path:
    """A safetensors file; shared or strided tensors are copied out."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"schema": str(SCHEMA), **(metadata or {})}
    return write_atomically(path, lambda place: save_file(plain, place, header))


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, or of a torch file that holds nothing but tensors.

    A torch file may be a state_dict, or a dict with one under `state_dict` or `model`.

    Raises:
        StoreError: No file, truncated, without tensors, or a pickle that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise _missing(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as cause:
            raise _damaged(path, cause) from None
    content = load_checkpoint(path)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not (isinstance(content, Mapping) and all(isinstance(t, Tensor) for t in content.values())):
        raise StoreError(
            f"{path} holds a {type(content).__name__} that is not a dict of tensors",
            wanted="a state_dict",
            advice="Save the weights alone: torch.save(model.state_dict(), path)",
        )
    return {str(name): tensor for name, tensor in content.items()}


def load_checkpoint(path: Path) -> Any:
    """Content of a torch file: tensors, numbers, strings and containers of them.

    Raises:
        StoreError: Truncated, or a pickle that would run code.
    """
    try:
        with warnings.catch_warnings():
            # torch.load warns of pickle protocols that it then reads or refuses
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise _missing(path) from None
    except Exception as cause:
        if not isinstance(cause, pickle.UnpicklingError):
            raise _damaged(path, cause) from cause
        if not _is_pickle(path):
            raise _damaged(path, "no torch file") from cause
        raise StoreError(
            f"{path} holds more than tensors, and loading it could run code",
            wanted="a safetensors file, or a torch file of tensors only",
            advice="Save the weights alone: torch.save(model.state_dict(), path)",
        ) from None


def _is_pickle(path: Path) -> bool:
    """Whether it starts as torch's zip files or pickles do: then there is something to run."""
    with path.open("rb") as file:
        return file.read(1) == b"\x80" or zipfile.is_zipfile(path)


def metadata_of(path: str | Path) -> dict[str, str]:
    """The header of a safetensors file; empty for other files.

    Raises:
        StoreError: No file, or truncated.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return {}
    if not path.is_file():
        raise _missing(path)
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as cause:
        raise _damaged(path, cause) from None


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a weights file into a model, in place, strictly, and return the model.

    Raises:
        StoreError: Names or shapes that differ, all of them named; the model is then as before.
    """
    tensors = load_tensors(path)
    wanted = state_of(model)
    missing = sorted(set(wanted) - set(tensors))
    unknown = sorted(set(tensors) - set(wanted))
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    if missing or unknown or shapes:
        parts = [("lacks", missing), ("has no use for", unknown), ("has other shapes for", shapes)]
        told = "; ".join(f"{verb} {_few(names)}" for verb, names in parts if names)
        raise StoreError(
            f"{path} does not fit {type(model).__name__}: it {told}",
            wanted="the state_dict of this very network",
            advice="Check the model's name and number of classes, or the weights file",
        )
    load_state(model, tensors)
    return model


def _few(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _missing(path: Path) -> StoreError:
    return StoreError(f"no file at {path}", wanted="a file to read", advice="Check the path")


def _not_json(path: Path, cause: object) -> StoreError:
    return StoreError(
        f"{path} is not a JSON object ({cause})",
        wanted="a file written by tailcut",
        advice="Run the command again that wrote it",
    )


def _damaged(path: Path, cause: object) -> StoreError:
    return StoreError(
        f"{path} cannot be read ({_first_line(cause)})",
        wanted="a whole safetensors or torch file",
        advice="It is truncated or of another format: copy or save it again",
    )


def _first_line(cause: object) -> str:
    told = str(cause).strip().partition("\n")[0].partition(". ")[0] or type(cause).__name__
    return told.rstrip(".")


def plain(value: Any) -> Any:
    """JSON's own types only; NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
