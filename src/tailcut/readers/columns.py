"""Which columns of a table are the items and the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tailcut.errors import DataError


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
        self, names: Sequence[str], where: str, kinds: Sequence[str] = ("image", "text")
    ) -> tuple[str, str, str]:
        """The column of the items, their kind, and the column of the labels.

        Raises:
            DataError: None that can be meant, or several.
        """
        label = _all(names, LABELS, self.label)
        asked = {"image": self.image, "text": self.text}
        only = [kind for kind in kinds if asked[kind] is not None] or kinds
        items = [(name, kind) for kind in only for name in _all(names, USUAL[kind], asked[kind])]
        if len(label) == len(items) == 1:
            return *items[0], label[0]
        usual = [name for kind in kinds for name in USUAL[kind]]
        meant = [*filter(None, asked.values())] or usual
        options = ", ".join(f"--{kind}-column" for kind in (*kinds, "label"))
        raise DataError(
            f"{where} has the columns {list(names)}",
            wanted=f"one column of labels ({self.label or ', '.join(LABELS)}) and one of items "
            f"({', '.join(meant)})",
            advice=f"Rename the columns, or choose with {options}",
        )


LABELS = ("label", "labels", "fine_label")
USUAL = {"image": ("img", "image"), "text": ("text", "sentence")}
"""Names of columns that need no option; capitals do not matter."""


def _all(names: Sequence[str], usual: Sequence[str], asked: str | None) -> list[str]:
    """The columns that can be meant."""
    if asked is not None:
        return [name for name in names if name == asked]
    return [name for name in names if name.lower() in usual]


def known(name: str) -> bool:
    """Whether a cell of the first row is a usual name of a column."""
    return name.lower() in (*LABELS, *USUAL["image"], *USUAL["text"])
