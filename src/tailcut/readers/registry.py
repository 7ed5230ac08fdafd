"""The DATA words and what reads them. Importing this, or a reader, imports no torch."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tailcut.readers import sources
from tailcut.readers.classes import Classes
from tailcut.readers.columns import Columns
from tailcut.readers.found import Found
from tailcut.readers.words import Word

if TYPE_CHECKING:
    from tailcut._typing import Batches
    from tailcut.readers.rows import Rows


@dataclass(frozen=True)
class Reading:
    """How the DATA words of a run are read.

    Attributes:
        columns: Of tables.
        classes: Numbers of the class names: of a class map, or as in the training data.
        network: The names a network has for its own classes; asked where nothing else says
            which number a name has.
    """

    columns: Columns = field(default_factory=Columns)
    classes: Classes | None = None
    network: Classes | None = None


Source: TypeAlias = "Callable[[str, Reading], Found | Rows | Batches]"
"""(what stands behind the colon, how to read) -> what is there, its classes not yet numbered."""

DATA: dict[str, Word[Source]] = {}
"""Those that are registered; `known` has all of them."""


def source(name: str, form: str) -> Callable[[Source], Source]:
    """Register what reads a DATA word, so that `name:form` can be given wherever DATA can.

    Args:
        name: Before the colon.
        form: What stands behind it, for messages: FILE, DIR, NAME; empty if there is no colon.
    """

    def register(opens: Source) -> Source:
        DATA[name] = Word(form, opens)
        return opens

    return register


def known() -> Mapping[str, Word[Source]]:
    """Every DATA word in order, those of all files in `tailcut.readers.sources` among them."""
    for module in pkgutil.iter_modules(sources.__path__, f"{sources.__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(DATA.items()))
