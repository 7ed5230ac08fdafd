"""The names of classes and their numbers: one numbering for all the data of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tailcut.errors import SpecError

INTEGER = re.compile(r" *-?(0|[1-9][0-9]{0,17}) *")
"""An integer as programs write it; '01', '1.0' or '²' are names, and never rounded."""


@dataclass(frozen=True)
class Classes:
    """Which class has which number.

    Attributes:
        numbers: By name.
        source: Who says so, for messages.
        given: By the user, in a class map: then labels that are integers have to be in it.
    """

    numbers: Mapping[str, int]
    source: str
    given: bool = False

    @classmethod
    def ordered(cls, names: Iterable[str], source: str) -> Classes:
        """Names in the order of their numbers."""
        return cls({name: number for number, name in enumerate(names)}, source)

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """In the order of their numbers; None where a number below the last has no name."""
        names = {number: name for name, number in self.numbers.items()}
        whole = len(names) == len(self.numbers) and set(names) == set(range(len(names)))
        return tuple(names[number] for number in range(len(names))) if whole else None

    def number(self, name: str, place: str) -> int:
        """Of a class by its name.

        Raises:
            SpecError: A name that is not among them.
        """
        if name not in self.numbers:
            raise SpecError(
                f"{place} is of the class {name!r}",
                wanted=f"a class of {self.source}: {_few(self.numbers)}",
                advice=f"Correct the name, or number it with {CLASS_MAP}",
            )
        return self.numbers[name]

    def checked(self, label: int, place: str) -> int:
        """A label that is an integer: a number already, or the name of a class map of integers.

        Raises:
            SpecError: A number outside the class map, or one that may mean two classes.
        """
        if self.given and all(map(INTEGER.fullmatch, self.numbers)):
            return self.number(str(label), place)
        if self.numbers.get(str(label), label) != label:
            raise SpecError(
                f"{place} has the label {label}, which is the name of class "
                f"{self.numbers[str(label)]} in {self.source}",
                wanted="labels of one meaning",
                advice=f"Number every class by its name with {CLASS_MAP}",
            )
        if self.given and label not in self.numbers.values():
            raise SpecError(
                f"{place} has the label {label}",
                wanted=f"a number of {self.source}: {_few(sorted(self.numbers.values()))}",
                advice="Correct the label, or add its class",
            )
        return label


CLASS_MAP = "--class-map FILE (name and number of each class)"


def _few(values: Iterable[Any], most: int = 12) -> str:
    listed = [str(value) for value in values]
    more = f", ... ({len(listed)} in all)" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
