"""The names in a weights file and those of a network, brought together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from tailcut.network.checkpoints import State

_WRAPPERS = {"module", "_orig_mod"}
"""Parts of names that DataParallel and torch.compile put in, anywhere."""
_PREFIXES = ("model.", "net.")
"""First parts of all names, where a class holds the network as an attribute."""
_COUNTER = "num_batches_tracked"
"""Of a BatchNorm; files of early torch lack it, and evaluation does not use it."""


@dataclass(frozen=True)
class Fit:
    """How the names in a file fit those of a network.

    Attributes:
        names: Of the file, by those of the network.
        missing: Names of the network that have no counterpart.
        unknown: Names of the file that have none.
        shapes: Of both, where they differ.
        counters: Missing, and of no use in evaluation.
    """

    names: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    counters: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, state: State, wanted: State) -> Fit:
        """As they are, if that fits; else without what wrappers put into the names."""
        exact = cls._matched(state, wanted, {name: name for name in state})
        if exact.problems == 0:
            return exact
        theirs, ours = _bare(state), _bare(wanted)
        there = {bare: name for name, bare in theirs.items()}
        back = {bare: name for name, bare in ours.items()}
        if len(there) < len(theirs) or len(back) < len(ours):
            return exact
        bare = cls._matched(state, wanted, {n: back.get(each, "") for n, each in theirs.items()})
        return exact if bare.problems else bare

    @classmethod
    def _matched(cls, state: State, wanted: State, called: Mapping[str, str]) -> Fit:
        names = {called[name]: name for name in state if called[name] in wanted}
        tied = {place for name in names if (place := place_of(wanted[name]))}
        lacking = [
            each for each in wanted if each not in names and place_of(wanted[each]) not in tied
        ]
        return cls(
            names,
            sorted(name for name in lacking if name.rpartition(".")[2] != _COUNTER),
            sorted(name for name in state if called[name] not in wanted),
            [
                f"{name} {tuple(state[names[name]].shape)} instead of {tuple(wanted[name].shape)}"
                for name in wanted
                if name in names and state[names[name]].shape != wanted[name].shape
            ],
            [name for name in lacking if name.rpartition(".")[2] == _COUNTER],
        )

    @property
    def problems(self) -> int:
        """How many names or shapes do not fit."""
        return len(self.missing) + len(self.unknown) + len(self.shapes)

    def notes(self) -> list[str]:
        """What was made to fit."""
        text = []
        other = [(ours, theirs) for ours, theirs in self.names.items() if ours != theirs]
        if other:
            ours, theirs = other[0]
            text.append(f"{theirs!r} is taken for {ours!r}, and so {len(other)} names in all")
        if self.counters:
            text.append(f"it lacks {few(self.counters)}, which evaluation does not use")
        return text


def _bare(names: Iterable[str]) -> dict[str, str]:
    """Each name without the parts that wrappers put in."""
    bare = {
        name: ".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in names
    }
    for _ in range(len(_PREFIXES)):
        for prefix in _PREFIXES:
            if all(name.startswith(prefix) for name in bare.values()):
                bare = {name: each.removeprefix(prefix) for name, each in bare.items()}
    return bare


def place_of(tensor: Tensor) -> tuple[int, ...]:
    """Where it lies: tied weights are one tensor under several names. Empty ones lie nowhere."""
    return (tensor.data_ptr(), *tensor.shape) if tensor.numel() and not tensor.is_meta else ()


def few(names: list[str], most: int = 4) -> str:
    """The first names of a list, and how many more."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
