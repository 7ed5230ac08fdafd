"""The file that numbers the names of classes."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tailcut.errors import SpecError
from tailcut.readers.classes import INTEGER, Classes
from tailcut.readers.words import existing, readable


def class_map(path: str) -> Classes:
    """The class map of a file, by its suffix.

    Args:
        path: .json, .yaml or .yml: {name: number}; .csv: a name and a number in each line,
            perhaps below a header that calls the second number, label, index or id; .txt: one
            name in each line, the first is class 0.

    Raises:
        SpecError: Another form, a name or a number twice, or a number that is none.
    """
    file = existing(Path(path))
    if file.suffix.lower() not in _FORMS:
        raise SpecError(
            f"the class map {path}",
            wanted=f"a file that ends in {', '.join(_FORMS)}",
            advice="Rename or convert it",
        )
    with readable(path, wanted=_WANTED, advice="Correct the class map"):
        pairs = _FORMS[file.suffix.lower()](file.read_bytes().decode("utf-8-sig"))
        numbers = [_number(number) for _, number in pairs]
        names = [_name(name) for name, _ in pairs]
    for what, values in (("the name", names), ("the number", numbers)):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise SpecError(
                f"{path} has {what} {twice[0]!r} {Counter(values)[twice[0]]} times",
                wanted="one number for each class, and one class for each number",
                advice="Correct the class map",
            )
    if not names:
        raise SpecError(f"{path} is empty", wanted=_WANTED, advice="Correct the class map")
    return Classes(dict(zip(names, numbers, strict=True)), path, given=True)


_WANTED = "a name and a number from 0 for each class"


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{name!r} is not a name")
    return name


def _number(number: Any) -> int:
    if type(number) is not int and not (isinstance(number, str) and INTEGER.fullmatch(number)):
        raise ValueError(f"{number!r} is not a number")
    if int(number) < 0:
        raise ValueError(f"{number} is negative")
    return int(number)


def _json(text: str) -> list[tuple[Any, Any]]:
    return _mapping(json.loads(text, object_pairs_hook=_Pairs))


class _Pairs(list[tuple[Any, Any]]):
    """A JSON object with every key, also one that stands twice."""


def _mapping(found: Any) -> list[tuple[Any, Any]]:
    if not isinstance(found, _Pairs):
        raise TypeError("no mapping of names to numbers")
    return found


def _yaml(text: str) -> list[tuple[Any, Any]]:
    node = yaml.compose(text, yaml.BaseLoader)  # no value is taken for a bool: 'no' is a name
    if not isinstance(node, yaml.MappingNode):
        raise TypeError("no mapping of names to numbers")
    if not all(isinstance(each, yaml.ScalarNode) for pair in node.value for each in pair):
        raise TypeError("a list or a mapping in the place of a name or a number")
    return [(name.value, number.value) for name, number in node.value]


def _csv(text: str) -> list[tuple[Any, Any]]:
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    odd = next((row for row in rows if len(row) != 2), None)
    if odd is not None:
        raise ValueError(f"{','.join(odd)!r} is not a name and a number")
    if rows and rows[0][1].lower() in {"number", "label", "index", "id"}:
        rows = rows[1:]
    return [(name, number) for name, number in rows]


def _lines(text: str) -> list[tuple[Any, Any]]:
    lines = text.removesuffix("\n").split("\n") if text else []
    return [(line.removesuffix("\r"), number) for number, line in enumerate(lines)]


_FORMS: dict[str, Callable[[str], list[tuple[Any, Any]]]] = {
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".csv": _csv,
    ".txt": _lines,
}
