"""Things of one kind by name, each registered in the file that defines it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TypeVar

from tailcut.errors import SpecError

T = TypeVar("T")


class Registry(MutableMapping[str, T]):
    """A dict of what the files of a package register; the first look imports all of them.

    So that adding one takes one file and no list of files. It is iterated over by `place`, then
    by name, whichever file was imported first.

    Args:
        package: Whose files register entries, as a dotted name.
        what: An entry, for errors: "data".
        place: Of an entry in the order of all; by name alone if not given.
    """

    def __init__(
        self, package: str, what: str, place: Callable[[T], float] = lambda _: 0.0
    ) -> None:
        self._package, self._what, self._place = package, what, place
        self._entries: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[Any], Any]:
        """A decorator that adds what it stands above, and gives it back as it is."""

        def registered(entry: Any) -> Any:
            self._entries[name] = entry
            return entry

        return registered

    def find(self, name: str) -> T:
        """The entry of that name.

        Raises:
            SpecError: There is none.
        """
        if name not in self:
            raise SpecError(
                f"no {self._what} {name!r}",
                wanted=f"one of {', '.join(self)}",
                advice="Correct the name",
            )
        return self[name]

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._entries[name]

    def __setitem__(self, name: str, entry: T) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(
            sorted(self._entries, key=lambda name: (self._place(self._entries[name]), name))
        )

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
                importlib.import_module(f"{self._package}.{module.name}")
