"""What every reader hands over, before its classes are numbered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Found:
    """Items and labels as a file holds them.

    Attributes:
        where: The file or folder, for messages.
        items: Tensors, images (what opens them), or texts.
        labels: Of each item: integers, or names of classes.
        kind: "tensor", "image" or "text".
        keys: What identifies each row for a person: a path, or its number in the file.
        names: Of the classes, in the order of their numbers, where the file says them.
        sorted_here: The numbers are no more than the order of the names in this folder.
        clean: True labels, where the file holds them.
        place: The words for a row in messages, such as "line 7 of a.csv".
    """

    where: str
    items: Any
    labels: Sequence[Any]
    kind: str
    keys: Sequence[str | int]
    names: tuple[str, ...] | None = None
    sorted_here: bool = False
    clean: Sequence[Any] | None = None
    place: Callable[[int], str] | None = None

    def at(self, row: int) -> str:
        """Where a row stands, in words."""
        if self.place is not None:
            return self.place(row)
        key = self.keys[row]
        return key if isinstance(key, str) else f"row {key} of {self.where}"
