"""The table of networks that are supported: `python benchmarks/support.py` writes it.

Every row is measured: a small network of that family with random weights is repaired with every
layer filtered, and what must hold of a repair is checked. `tests/test_support.py` measures
all rows again and compares them with the table.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from families import FAMILIES
from families.family import CLASSES, SAMPLES, Family
from operators import stand_in
from torch import Tensor, nn

import tailcut
from tailcut.network.head import Head
from tailcut.network.layer_moments import weights_of
from tailcut.network.layers import layers_in
from tailcut.network.modules import inner, network_in, state_of

stand_in()

ROOT = Path(__file__).parents[1]
PAGE, TESTS = ROOT / "docs" / "support.md", ROOT / "tests"
LIBRARIES = ("torch", "torchvision", "timm", "transformers", "lightning", "skorch", "peft")
COLUMNS = ("library", "family", "head", "layers filtered", "repaired", "note")

INTRODUCTION = """# Networks that are supported

Written by `python benchmarks/support.py`, and measured again by `tests/test_support.py`. Each row
is a network with random weights, as small as its family allows: all its layers are filtered and
its head is cut. Of every row that is repaired it is checked that the network given has not changed
by a bit, that the result is of its class with the same tensors and loads strictly into a fresh
one, and that the way back is exact; of every refused one that the network has not changed.

"Layers filtered" counts the layers that the filters reach, of all that have a weight but the head;
the note says why not the others, with the first of them as the example. A refused row has the whole
error: what was seen, what was wanted, what to do. Nothing is loaded from the hub, and none of this
says how much a repair gains.

Measured with {releases}.
"""


@dataclass(frozen=True)
class Row:
    """What was seen of a family.

    Attributes:
        library: That it comes from.
        family: Its name there.
        head: The head's kind and name; empty where there is none.
        layers: "n of m" that the filters reach; empty where it is refused.
        repaired: "yes", or "refused".
        note: Why some layers are not filtered, or the whole error.
    """

    library: str
    family: str
    head: str
    layers: str
    repaired: str
    note: str

    def __str__(self) -> str:
        cells = (self.library, self.family, self.head, self.layers, self.repaired, self.note)
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def measured(family: Family) -> Row:
    """Repair a network of this family and check all that must hold of it.

    Raises:
        AssertionError: The model has changed, or the result is not what a repair gives.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of their own parts
        return _row(family)


def _row(family: Family) -> Row:
    given = _built(family)
    generator = torch.Generator().manual_seed(1)
    train = [(family.inputs(SAMPLES, generator), torch.arange(SAMPLES) % CLASSES)]
    before = _state(given)
    note = ""
    try:
        try:
            fix = _repaired(given, train, "all")
        except tailcut.DataError as error:
            note = str(error).partition("; wanted")[0]
            if "no layer but the head" not in note:
                raise
            fix = _repaired(given, train, "head")
    except tailcut.TailcutError as error:
        _require(_same(_state(given), before), "a refused model has changed")
        seen = re.sub(r"differ by up to [\d.e-]+", "differ", str(error))  # by machine, too
        return Row(family.library, family.name, "", "", "refused", seen)
    _check(family, given, before, fix)
    layers = fix.diagnosis.layers
    count = f"{layers.filtered} of {layers.of}" if layers else "none"
    note = layers.reasons if layers else note
    head = _head(inner(network_in(given)), fix.head)
    return Row(family.library, family.name, head, count, "yes", note)


def _repaired(given: Any, train: Any, depth: str) -> tailcut.Repair:
    return tailcut.repair(
        given, train, views=[], depth=depth, readout="project", rank=CLASSES - 1,
        force=True, progress=False,
    )  # fmt: skip


def _built(family: Family) -> Any:
    torch.manual_seed(0)
    made = family.make()
    return made.eval() if isinstance(made, nn.Module) else made


def _check(family: Family, given: Any, before: dict[str, Tensor], fix: tailcut.Repair) -> None:
    """What a repair promises: see the page."""
    network, result = network_in(given), fix.model
    _require(_same(_state(given), before), "the model has changed")
    hooks = [sum(map(_hooks, each.modules())) for each in (result, network)]
    _require(hooks[0] == hooks[1], "hooks are left behind")
    same = type(result).__qualname__ == type(network).__qualname__  # fx makes one for each
    _require(same, "the result is of another class")
    shapes = [
        {k: (v.shape, v.dtype) for k, v in _state(each).items()} for each in (result, network)
    ]
    _require(shapes[0] == shapes[1], "the result has other tensors")
    fresh = network_in(_built(family))
    fresh.load_state_dict(result.state_dict(), strict=True)
    _require(_same(_state(fresh), _state(result)), "the result cannot be loaded")
    _require(_same(_state(fix.undo()), before), "the way back is not exact")
    layers = fix.diagnosis.layers
    changed = sum(name in fix.undo_tensors for name, _ in network.named_parameters())
    _require(
        layers is None or changed + _scalars(network) >= layers.filtered,
        "layers that are said to be filtered are not",
    )


def _scalars(network: nn.Module) -> int:
    """Layers whose outputs read one number each: a filter has nothing to cut there."""
    weights = weights_of(layers_in(network)).values()
    return sum(weight.matrix_GOP.shape[2] == 1 for weight in weights)


def _require(true: bool, otherwise: str) -> None:  # noqa: FBT001 - as assert has it
    if not true:
        raise AssertionError(otherwise)


def _state(given: Any) -> dict[str, Tensor]:
    if not isinstance(given, nn.Module):
        return {}
    state = state_of(given).items()
    return {name.removeprefix("_orig_mod."): value.clone() for name, value in state}


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].is_meta or torch.equal(a[name], b[name]) for name in a
    )


def _hooks(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks)  # noqa: SLF001


def _head(network: nn.Module, head: Head) -> str:
    kinds = {
        "Linear" if isinstance(each, nn.Linear) else f"1x1 {type(each).__name__}"
        for each in head.modules(network)
    }
    names = " + ".join(f"`{name}`" for name in head.names)
    return f"{'/'.join(sorted(kinds))} {names}" + ("" if head.bias else ", no bias")


def page(rows: Iterable[str]) -> str:
    """docs/support.md with these rows, in their order."""
    lines = list(rows)
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    seen = Counter(cell[4] for cell in cells)
    whole = sum(_whole(cell[3]) for cell in cells)
    head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    counts = f"{len(lines)} rows: {seen['yes']} repaired, {whole} of them with every layer "
    counts += f"filtered, {seen['refused']} refused with the reason."
    return "\n".join([INTRODUCTION.format(releases=releases()), counts, "", head, *lines]) + "\n"


def _whole(layers: str) -> bool:
    reached, _, of = layers.partition(" of ")
    return bool(of) and reached == of


def rows_of(text: str) -> list[str]:
    """The rows of a page, in their order."""
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


def releases() -> str:
    """Of the libraries here, as the page names them."""
    return ", ".join(f"{name} {_release(name)}" for name in LIBRARIES)


def _release(name: str) -> str:
    return ".".join(version(name).partition("+")[0].split(".")[:2])


def main() -> None:
    """Measure every family and write the page; or those that are named, and print their rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help="parts of names, as in 'timm swin'")
    named = parser.parse_args().families
    rows = []
    for family in FAMILIES:
        if not named or any(each in str(family) for each in named):
            start = time.perf_counter()
            rows.append(str(measured(family)))
            print(f"{time.perf_counter() - start:5.1f} s", rows[-1], flush=True)
    if not named:
        PAGE.write_text(page(rows), encoding="utf-8")
        print(PAGE)


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    main()
