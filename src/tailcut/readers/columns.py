"""Which columns of a table are the items and the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tailcut.errors import DataError

Usual: TypeAlias = Mapping[str, tuple[str, ...]]
"""Names of columns by what they hold: image, text or label."""


@dataclass(frozen=True)
class Columns:
    """Names of columns, where the usual ones do not do.

    Attributes:
        text: Of the texts; else text or sentence.
        image: Of the images; else img or image.
        label: Of the labels; else label, labels or fine_label.
    """

    text: str | None = None
    image: str | None = None
    label: str | None = None

    def chosen(
        self, names: Sequence[str], where: str, usual: Usual | None = None
    ) -> tuple[str, str, str]:
        """The column of the items, their kind, and the column of the labels.

        Args:
            names: Of all columns.
            where: The table, for messages.
            usual: Names that need no option, for each kind that is wanted; else those of `USUAL`.

        Raises:
            DataError: None that can be meant, or several.
        """
        usual = usual or USUAL
        kinds = [kind for kind in KINDS if kind in usual]
        label = _all(names, usual["label"], self.label)
        asked = {"image": self.image, "text": self.text}
        only = [kind for kind in kinds if asked[kind] is not None] or kinds
        items = [(name, kind) for kind in only for name in _all(names, usual[kind], asked[kind])]
        if len(label) == len(items) == 1:
            return *items[0], label[0]
        meant = [*filter(None, asked.values())] or [name for kind in kinds for name in usual[kind]]
        options = ", ".join(f"--{kind}-column" for kind in (*kinds, "label"))
        raise DataError(
            f"{where} has the columns {list(names)}",
            wanted=f"one column of labels ({self.label or ', '.join(usual['label'])}) and one of "
            f"items ({', '.join(meant)})",
            advice=f"Rename the columns, or choose with {options}",
        )


KINDS = ("image", "text")
USUAL: Usual = {
    "image": ("img", "image"),
    "text": ("text", "sentence"),
    "label": ("label", "labels", "fine_label"),
}
"""Names of columns that need no option, by what they hold; capitals do not matter."""


def _all(names: Sequence[str], usual: Sequence[str], asked: str | None) -> list[str]:
    """The columns that can be meant."""
    if asked is not None:
        return [name for name in names if name == asked]
    return [name for name in names if name.lower() in usual]


def known(name: str) -> bool:
    """Whether a cell of the first row is a usual name of a column."""
    return any(name.lower() in names for names in USUAL.values())
