"""Configs of runs: every combination of some axes, and a name for the files of each."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from itertools import product as combinations
from typing import Any, TypeVar

from tailcut.errors import TailcutError

Config = TypeVar("Config")


def product(kind: type[Config], axes: Mapping[str, Sequence[Any]]) -> list[Config]:
    """Every combination of the axes as a config; the last axis changes fastest.

    Args:
        kind: A dataclass.
        axes: Values to try by field; the other fields keep their defaults.

    Raises:
        TailcutError: An axis that is no field or no sequence, or a field without value.
    """
    known = {each.name: each for each in fields(kind) if each.init}  # pyright: ignore[reportArgumentType] checked by fields
    unknown = [name for name in axes if name not in known]
    lacking = [
        name
        for name, each in known.items()
        if name not in axes and each.default is MISSING and each.default_factory is MISSING
    ]
    if unknown or lacking:
        parts = [("has no field", unknown), ("has no default for", lacking)]
        raise TailcutError(
            f"{kind.__name__} "
            + " and ".join(f"{verb} {', '.join(names)}" for verb, names in parts if names),
            wanted=f"axes that are fields of it: {', '.join(known)}",
            advice="Name an axis for every field without default, and no other",
        )
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise TailcutError(
                f"axis {name!r} is {values!r}",
                wanted="a list of values",
                advice=f"Write [{values!r}] for a single one",
            )
    return [kind(**dict(zip(axes, values, strict=True))) for values in combinations(*axes.values())]


def identity(config: Any) -> str:
    """A name for the files of a config: readable, and the same wherever it is asked for.

    The values of its top fields, then 8 hex digits of the sha256 of all of it as JSON with sorted
    keys, defaults included. Whole floats count as integers, because 1 and 1.0 are equal.

    Raises:
        TailcutError: No dataclass, or a value that is not plain: text, a finite number, truth,
            None, or lists and dicts of these.
    """
    values = {each.name: canonical(getattr(config, each.name), each.name) for each in _of(config)}
    words = [_readable(name, value) for name, value in values.items()]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", "-".join(part for part in words if part))
    digest = hashlib.sha256(_text(values).encode()).hexdigest()[:8]
    return "-".join(part for part in (readable[:80].strip("._-"), digest) if part)


def _of(config: Any) -> tuple[Any, ...]:
    if isinstance(config, type) or not is_dataclass(config):
        raise TailcutError(
            f"a config is of type {type(config).__name__}",
            wanted="an instance of a frozen dataclass",
            advice="Describe a run by a dataclass of plain values",
        )
    return fields(config)


def canonical(value: Any, name: str) -> Any:
    """JSON's own types, in one form for equal values.

    Args:
        value: Plain, or a dataclass of plain values.
        name: As errors call it.

    Raises:
        TailcutError: A value that is not plain.
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: canonical(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item, name) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else float(value)
    if value is None or isinstance(value, (str, int)):
        return json.loads(json.dumps(value))  # the plain value of an Enum that is a str or an int
    raise TailcutError(
        f"field {name!r} of a config is {value!r}, of type {type(value).__name__}",
        wanted="text, a finite number, true, false or None, or lists and dicts of these",
        advice="Give a plain value, and make of it in the run what the run needs",
    )


def _text(values: Any) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _readable(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else ""
    return str(value) if isinstance(value, (str, int, float)) else ""
