"""The config file of a run, read with care, and what is said of words that do not parse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile  # pyright: ignore[reportPrivateImportUsage]

from tailcut.errors import SpecError

_DEEPEST = 20
"""Levels of lists and mappings in a config; the axes of a grid take three."""


class ConfigFile(ActionConfigFile):
    """`--config FILE`: looked at before jsonargparse reads it."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Check the file and merge its options."""
        require_plain(str(values))
        super().__call__(parser, cfg, values, option_string)


def require_plain(path: str) -> None:
    """Refuse a config that is no UTF-8 text of options by name, too deep, or has aliases.

    Raises:
        SpecError: Such a file.
    """
    try:
        text = Path(path).read_bytes().decode()
    except UnicodeDecodeError as cause:
        raise _unusable(path, f"is no text ({cause})", "Save it as UTF-8") from None
    except (OSError, ValueError) as cause:
        why = getattr(cause, "strerror", None) or cause
        raise _unusable(path, f"cannot be read ({why})", "Check the path") from None
    try:
        if odd := _odd(text):
            raise _unusable(path, *odd)
        read = yaml.safe_load(text)
    except yaml.YAMLError as cause:
        raise _unusable(path, f"is no YAML ({cause})", "Correct it") from None
    if not isinstance(read, dict):
        kind = "empty" if read is None else f"a {type(read).__name__}"
        raise _unusable(path, f"is {kind}", "Write one option a line, such as seed: 1")


def refuse_aliases(words: Sequence[str]) -> None:
    """Refuse options whose value has aliases, as values are YAML like the config.

    Raises:
        SpecError: Such an option.
    """
    for word in words:
        if "&" in word and "*" in word and (odd := _odd_if_yaml(word)):
            raise SpecError(f"{word[:60]!r} {odd[0]}", wanted="values as they are", advice=odd[1])


def _odd_if_yaml(text: str) -> tuple[str, str] | None:
    try:
        return _odd(text)
    except yaml.YAMLError:
        return None


def _odd(text: str) -> tuple[str, str] | None:
    """Aliases and great depth, and what to do; a few aliases may stand for a billion values."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            return f"has the alias *{event.anchor}", "Write the values out"
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            return f"is more than {_DEEPEST} levels deep", "Flatten it"
    return None


def _unusable(path: str, seen: str, advice: str) -> SpecError:
    return SpecError(
        f"--config {path} {seen}",
        wanted="a YAML file of options in UTF-8, as each run writes as config.yaml",
        advice=advice,
    )


def reworded(message: str, command: str) -> str:
    """What jsonargparse says of words, in the form of our own errors."""
    flat = " ".join(message.split())
    found = re.match(r'Parser key "(.+?)": .*?(?:Got|Given) value: (.*)', flat)
    kinds = re.findall(r"Expected an? (<class '\w+'>|typing\.Literal\[.*?\])", flat)
    advice = f"See tailcut {command}--help"
    if found is None or not kinds:
        return f"{flat.rstrip('.')}; wanted words that tailcut takes. {advice}."
    wanted = " or ".join(dict.fromkeys(map(_kind, kinds)))
    return f"--{found[1]} {found[2]}; wanted {wanted}. {advice}."


def _kind(kind: str) -> str:
    name = kind.removeprefix("<class '").removesuffix("'>")
    names = {"int": "a whole number", "float": "a number", "str": "text", "NoneType": "null"}
    if name in names:
        return names[name]
    return name.removeprefix("typing.Literal[").removesuffix("]").replace("'", "")
