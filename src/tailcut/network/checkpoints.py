"""Checkpoints that anybody wrote: read without running anything in them."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from tailcut.errors import StoreError
from tailcut.files import store

State: TypeAlias = Mapping[str, Tensor]
"""Tensors by name."""

_DEEPEST = 3
"""Keys that may lead to weights, such as `state`, `model`, `state_dict`."""

_FOLDER = 0x10
"""Attribute of a part of a zip file, of which torch takes whatever lies in memory for the content.
"""


class _Beside:
    """Stands for something beside the weights: takes what that is made of, and keeps nothing."""

    def __init__(self, *_: object) -> None:
        """Made by a call."""

    def __setstate__(self, _: object) -> None:
        """Filled."""


def _dict(*_: object) -> dict[Any, Any]:
    return {}


_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_ARRAYS = ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
_HARMLESS = {
    **{f"{module}.{name}": _Beside for module in ("pathlib", "pathlib._local") for name in _PATHS},
    **{f"numpy.{core}.{name}": _Beside for core in ("core", "_core") for name in _ARRAYS},
    **{
        f"datetime.{name}": _Beside
        for name in ("date", "datetime", "time", "timedelta", "timezone")
    },
    **{f"builtins.{name}": _Beside for name in ("dict", "float", "int", "list", "str")},
    "argparse.Namespace": _Beside,
    "types.SimpleNamespace": _Beside,
    "numpy.dtype": _Beside,
    "numpy.ndarray": _Beside,
    "collections.defaultdict": _dict,
}
"""What checkpoints hold beside the weights, by the names pickle knows it by, and what is made in
its place: not even these harmless constructors are called."""


def load_checkpoint(path: Path) -> Any:
    """Content of a torch file: tensors, numbers, strings and containers of them.

    Options of the training (argparse), paths, dates and numpy's numbers are taken for nothing.

    Raises:
        StoreError: Truncated, damaged, or a pickle that would run code.
    """
    store.require_file(path)
    try:
        _require_whole(path)
        safe: list[Any] = [(made, name) for name, made in _HARMLESS.items()]
        with warnings.catch_warnings(), torch.serialization.safe_globals(safe):
            # torch.load warns of pickle protocols that it then reads or refuses
            warnings.simplefilter("ignore")
            return _loaded(path)
    except Exception as cause:
        if "TorchScript" in str(cause):
            raise _script(path) from None
        if not isinstance(cause, pickle.UnpicklingError):
            raise store.damaged(path, cause) from cause
        if not _is_pickle(path):
            raise store.damaged(path, "no torch file") from cause
        raise StoreError(
            f"{path} holds more than tensors, and loading it could run code",
            wanted="a safetensors file, or a torch file of tensors only",
            advice="Save the weights alone: torch.save(model.state_dict(), path)",
        ) from None


def _loaded(path: Path) -> Any:
    """By torch, which of a damaged pickle may leave out the numbers and give what lies in memory.

    Only the end of the file shows it: a read then has not read that far.
    """
    with path.open("rb") as file:
        content = torch.load(file, map_location="cpu", weights_only=True)
        if not _is_zip(path) and file.read(1):
            raise ValueError("torch does not read all of it")
    return content


def _require_whole(path: Path) -> None:
    """Read every part of a zip file once: torch checks no checksum, zipfile does."""
    if not _is_zip(path):
        return
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.is_dir() or part.external_attr & _FOLDER:
                raise zipfile.BadZipFile(f"{part.filename!r} is marked as a folder")
            with archive.open(part) as file:
                while file.read(1 << 20):
                    pass


def _is_pickle(path: Path) -> bool:
    """Whether it starts as torch's zip files or pickles do: then there is something to run."""
    with path.open("rb") as file:
        return file.read(1) == b"\x80" or _is_zip(path)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _script(path: Path) -> StoreError:
    return StoreError(
        f"{path} is a TorchScript archive, which is code",
        wanted="a safetensors file, or a torch file of tensors only",
        advice="Save the weights alone: torch.save(torch.jit.load(path).state_dict(), other_path)",
    )


def states_in(path: Path) -> dict[str, State]:
    """Every dict of tensors in a weights file, by the keys that lead to it, with dots between.

    A safetensors file, one shard list (`*.index.json`) or a flat state_dict has the key "".

    Raises:
        StoreError: No file, damaged, without tensors, or a pickle that would run code.
    """
    if path.is_dir():
        raise _is_folder(path)
    store.require_file(path)
    if path.name.endswith(".index.json"):
        return {"": _shards(path)}
    if path.suffix == ".safetensors" or _looks_like_safetensors(path):
        return {"": store.load_tensors(path)}
    content = load_checkpoint(path)
    states = dict(_dicts_of_tensors(content))
    if not states:
        raise StoreError(
            f"{path} holds a {type(content).__name__} that is not a dict of tensors",
            wanted="a state_dict",
            advice="Save the weights alone: torch.save(model.state_dict(), path)",
        )
    return states


def _dicts_of_tensors(content: Any, keys: tuple[str, ...] = ()) -> list[tuple[str, State]]:
    if not isinstance(content, Mapping) or not content:
        return []
    if not all(isinstance(key, str) for key in content):
        return []
    if all(isinstance(value, Tensor) for value in content.values()):
        return [(".".join(keys), content)]
    if len(keys) == _DEEPEST:
        return []
    found = (_dicts_of_tensors(value, (*keys, key)) for key, value in content.items())
    return [each for several in found for each in several]


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        size, brace = int.from_bytes(file.read(8), "little"), file.read(1)
    return brace == b"{" and 8 + size <= path.stat().st_size


def _shards(path: Path) -> State:
    """All tensors of the files that a Hugging Face index names; they lie beside it."""
    try:
        home = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in home.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise store.damaged(path, f"no index of shards: {cause}") from None
    found: dict[str, Tensor] = {}
    for name in names:
        if not name or Path(name).name != name:
            raise store.damaged(path, f"a shard {name!r} in another folder")
        found |= states_in(path.with_name(name)).get("", {})
    lost = sorted(set(home) - set(found))
    if lost:
        raise store.damaged(path, f"no shard holds {lost[0]!r}")
    return {name: found[name] for name in home}


def _is_folder(path: Path) -> StoreError:
    """Tell which of the files in it holds the weights."""
    usual = ("*.safetensors", "*.index.json", "*.bin", "*.pt", "*.pth", "*.ckpt")
    files = sorted({each.name for kind in usual for each in path.glob(kind)})
    advice = f"Name one of them: {', '.join(files[:4])}" if files else "Check the path"
    return StoreError(f"{path} is a folder", wanted="a file of weights", advice=advice)
