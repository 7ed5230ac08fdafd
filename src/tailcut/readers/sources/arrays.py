"""Arrays of an .npz file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from tailcut.errors import SpecError
from tailcut.readers.found import Found
from tailcut.readers.registry import Reading, source
from tailcut.readers.words import existing, readable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@source("npz", "FILE")
def _word(path: str, reading: Reading) -> Found:
    del reading
    return npz(path)


def npz(path: str) -> Found:
    """`inputs`, `labels` and perhaps `clean`: one row of each for a sample.

    Inputs keep their type: bytes are pixels for who reads them, whole numbers may be tokens, and
    floats of any width become the network's own when it is called.

    Raises:
        SpecError: Damaged, other arrays, or arrays that no tensor can hold.
    """
    held = _held(existing(Path(path)), path)
    if not {"inputs", "labels"} <= set(held):
        raise SpecError(
            f"{path} holds the arrays {sorted(held)}",
            wanted="inputs and labels, and perhaps clean",
            advice="Save it with numpy.savez(path, inputs=..., labels=...)",
        )
    return Found(
        where=path,
        items=_tensor(held["inputs"], path),
        labels=_labels(held["labels"], path),
        kind="tensor",
        keys=range(len(held["inputs"])),
        clean=_labels(held["clean"], path) if "clean" in held else None,
    )


def _held(file: Path, path: str) -> dict[str, np.ndarray[Any, Any]]:
    import numpy as np

    with readable(f"npz:{path}"):
        with ZipFile(file) as packed:
            names = packed.namelist()
            if len(set(names)) < len(names):
                raise ValueError("an array that stands twice")
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: _array(arrays[name], name) for name in arrays.files}


def _array(held: Any, name: str) -> np.ndarray[Any, Any]:
    """Texts as texts, in whatever way they are encoded."""
    import numpy as np

    if not isinstance(held, np.ndarray):
        raise TypeError(f"{name} is not an array")
    return np.char.decode(held, "utf-8") if held.dtype.kind == "S" else held


def _tensor(inputs: np.ndarray[Any, Any], path: str) -> Tensor:
    """In this machine's byte order; complex numbers, dates, texts and records are refused."""
    import numpy as np
    import torch

    usable = inputs.dtype.kind in "fiub" and inputs.dtype.itemsize <= 8
    if inputs.ndim == 0 or not usable:
        raise SpecError(
            f"{path} has inputs of shape {inputs.shape} and type {inputs.dtype}",
            wanted="an array with one row of numbers for each sample",
            advice="Save them as one float32 array, or as integers if they are tokens",
        )
    ordered = np.ascontiguousarray(inputs, inputs.dtype.newbyteorder("="))
    return torch.from_numpy(ordered)


def _labels(labels: np.ndarray[Any, Any], path: str) -> Any:
    """Names as texts; numbers as they are."""
    if labels.ndim != 1:
        from tailcut.numerics.checks import checked_labels

        return checked_labels(labels, None, path)  # which says what is wrong with the shape
    return labels.tolist() if labels.dtype.kind == "U" else labels
