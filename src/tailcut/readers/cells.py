"""What the cells of a column hold: texts, encoded images, or where images lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tailcut.errors import DataError
from tailcut.readers.images import Source, pictures

Place = Callable[[int], str]
"""The words for a row in messages."""


def items(cells: Sequence[Any], kind: str, place: Place, home: Path) -> Sequence[Any]:
    """The cells of a column as the items of a data set.

    Args:
        cells: Texts; or images, each as bytes, as the path of its file, as an image that is open
            already, or as the hub has them: {"bytes": ..., "path": ...}.
        kind: "text" or "image".
        place: Of a row.
        home: What relative paths start from: the folder of the table.

    Raises:
        DataError: A cell that holds no such thing, or a path that leads to no file.
    """
    if kind == "text":
        _refuse(cells, [isinstance(cell, str) for cell in cells], kind, place)
        return cells
    if cells and all(hasattr(cell, "convert") for cell in cells):
        return cells
    sources = [encoded(cell, home) for cell in cells]
    _refuse(cells, sources, kind, place)
    for row, found in enumerate(sources):
        if isinstance(found, Path) and not found.is_file():
            raise DataError(
                f"{place(row)} names the image {_path(cells[row])!r}, and there is no file {found}",
                wanted="paths of images, from the folder of the table on",
                advice="Move the table to where they start, or write whole paths into it",
            )
    return pictures([each for each in sources if each], [place(n) for n in range(len(cells))])


def encoded(cell: Any, home: Path) -> Source | None:
    """The bytes of an image, its file, or what brings one of these; None without any."""
    if callable(cell):
        return cell
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes) and content:
        return content
    path = _path(cell)
    return home / path if path else None


def _path(cell: Any) -> str | None:
    path = cell.get("path") if isinstance(cell, dict) else cell
    return path if isinstance(path, str) and path.strip() and "\0" not in path else None


def _refuse(cells: Sequence[Any], usable: Sequence[Any], kind: str, place: Place) -> None:
    """The first cell that is not usable."""
    row = next((row for row, each in enumerate(usable) if not each), None)
    if row is not None:
        raise DataError(
            f"{place(row)} holds {_type(cells[row])} in the column of the {kind}s",
            wanted={"text": "a text", "image": "the bytes of an encoded image, or its path"}[kind],
            advice="Remove that row, or choose another column",
        )


def _type(cell: Any) -> str:
    if isinstance(cell, dict):
        return f"a record of {', '.join(cell)} without bytes or path"
    return "nothing" if cell is None or cell in ("", b"") else f"a {type(cell).__name__}"


def unequivocal(names: Any) -> tuple[str, ...]:
    """Names of classes, if each is a text and stands there once."""
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"the names of the classes are {names}")
    return tuple(names)
