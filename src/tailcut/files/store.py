"""What tailcut writes and reads back: safetensors and JSON, versioned, with checksums.

Never pickle. A file holds the sha256 of all its bytes, taken with zeros in the place of its own
digits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tailcut.errors import StoreError
from tailcut.files.whole import digest, first_line, write_atomically

SCHEMA = 1
"""Of every JSON file and safetensors header that tailcut writes."""

_CHECKSUM = "sha256"
_BLANK = "0" * 64
_DIGITS_OF = re.compile(rb'sha256(?:": "|\\":\\")([0-9a-f]{64})')
"""In JSON, and in JSON as a text of a safetensors header."""
_OURS = "tailcut"
"""Key of a safetensors header: one, because several are written in any order."""
_START = b'tailcut":"{\\"'
"""Of what stands behind `{"__metadata__":{"` in a header of ours."""
_ALIKE = 9
"""Bytes of those 13 that make a header ours: the key of others' JSON shares 6, and rarely 8."""
_MARK = rb"\"schema\":\"1\",\"sha256\":\""
"""Elsewhere in it; either makes the file ours, whose checksum must then be right."""

_NUMBERS = re.compile(r"\[\n\s*((?:[-+.\deE]+|null)(?:,\n\s*(?:[-+.\deE]+|null))*)\n\s*\]")
"""A list of numbers over several lines; no text holds a line break in JSON."""


def write_text(path: str | Path, text: str) -> Path:
    """A text file (UTF-8)."""
    return write_atomically(path, lambda place: place.write_bytes(text.encode("utf-8")))


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """A JSON object, a list of numbers on one line; NaN and infinities become null.

    One with a `schema` gets a checksum as its first key, `sha256`; `read_json` takes it off.
    """
    data = plain(content)
    assert "schema" in data or _CHECKSUM not in data, "that key is the checksum's"
    if "schema" in data:
        data = {
            _CHECKSUM: _BLANK,
            **{key: item for key, item in data.items() if key != _CHECKSUM},
        }
    text = json.dumps(data, indent=2, allow_nan=False)
    packed = _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"

    def write(place: Path) -> None:
        place.write_bytes(packed.encode("utf-8"))
        if "schema" in data:
            _write_checksum(place, place.stat().st_size)

    return write_atomically(path, write)


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object that tailcut wrote.

    Raises:
        StoreError: No file, damaged, of a later schema, or of one that is no number.
    """
    return read_json_and_checksum(path)[0]


def read_json_and_checksum(path: str | Path) -> tuple[dict[str, Any], bool]:
    """The same, and whether a checksum says that it is as it was written."""
    path = Path(path)
    try:
        raw = path.read_bytes()
        content = json.loads(raw.decode("utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise missing(path) from None
    except (OSError, ValueError, RecursionError) as cause:
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
    return content, _without_checksum(path, content, raw)


def _without_checksum(path: Path, content: dict[str, Any], raw: bytes) -> bool:
    """Whether there was one; what looks like a checksum must be a right one."""
    first = next(iter(content), "")
    if not (isinstance(content.get(first), str) and len(content[first]) == len(_BLANK)):
        if _CHECKSUM in content:
            raise _changed(path)
        return False
    if first != _CHECKSUM or not _checksum_is_right(path, len(raw)):
        raise _changed(path)
    del content[_CHECKSUM]
    return True


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Path:
    """A safetensors file with a checksum, always the same bytes; shared tensors are copied out."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = {"schema": str(SCHEMA), **(metadata or {})}
    header = {_OURS: json.dumps({**data, _CHECKSUM: _BLANK}, separators=(",", ":"), sort_keys=True)}

    def write(place: Path) -> None:
        save_file(plain, place, header)
        _write_checksum(place, _header_size(place))

    return write_atomically(path, write)


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        StoreError: No file, truncated, of another format, or changed since tailcut wrote it.
    """
    path = Path(path)
    require_file(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as cause:
        raise damaged(path, cause) from None
    _require_checksum(path)
    return tensors


def metadata_of(path: str | Path) -> dict[str, str]:
    """What a safetensors header says; empty for other files.

    Raises:
        StoreError: No file, truncated, or changed since tailcut wrote it.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return {}
    require_file(path)
    try:
        with safe_open(path, "pt") as file:
            data = dict(file.metadata() or {})
    except (SafetensorError, OSError) as cause:
        raise damaged(path, cause) from None
    _require_checksum(path)
    if _OURS in data:
        data = json.loads(data[_OURS])
        del data[_CHECKSUM]
    return data


def _require_checksum(path: Path) -> None:
    """Refuse a file whose header is of ours and whose checksum is gone or wrong."""
    size = _header_size(path)
    with path.open("rb") as file:
        header = file.read(size)
    found = header.partition(b'":{"')[2]
    alike = sum(one == other for one, other in zip(found, _START, strict=False))
    if (alike >= _ALIKE or _MARK in header) and not _checksum_is_right(path, size):
        raise _changed(path)


def _header_size(path: Path) -> int:
    with path.open("rb") as file:
        data = int.from_bytes(file.read(8), "little")
    return min(8 + data, path.stat().st_size)


def _write_checksum(path: Path, size: int) -> None:
    """Write the digits where zeros stand for them, in the first bytes of a file."""
    start, _ = _digits(path, size)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(digest(path).encode())


def _checksum_is_right(path: Path, size: int) -> bool:
    start, stop = _digits(path, size)
    with path.open("rb") as file:
        file.seek(start)
        found = file.read(stop - start)
    return bool(found) and found == digest(path, blank=(start, stop)).encode()


def _digits(path: Path, size: int) -> tuple[int, int]:
    """Where the digits of a checksum stand in the first bytes of a file; nowhere is (0, 0)."""
    with path.open("rb") as file:
        found = [match.span(1) for match in _DIGITS_OF.finditer(file.read(size))]
    return found[0] if found else (0, 0)


def require_file(path: Path) -> None:
    """Raises StoreError where there is no file."""
    if not path.is_file():
        raise missing(path)


def missing(path: Path) -> StoreError:
    """There is no such file."""
    return StoreError(f"no file at {path}", wanted="a file to read", advice="Check the path")


def damaged(path: Path, cause: object) -> StoreError:
    """Its content makes no sense."""
    return StoreError(
        f"{path} cannot be read ({first_line(cause)})",
        wanted="a whole safetensors or torch file",
        advice="It is truncated or of another format: copy or save it again",
    )


def _not_json(path: Path, cause: object) -> StoreError:
    return StoreError(
        f"{path} is not a JSON object ({cause})",
        wanted="a file written by tailcut",
        advice="Run the command again that wrote it",
    )


def _changed(path: Path) -> StoreError:
    return StoreError(
        f"{path} is not as tailcut wrote it: its checksum differs",
        wanted="the same bytes",
        advice="It is damaged or was edited: copy it again, or run the command again that wrote it",
    )


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
