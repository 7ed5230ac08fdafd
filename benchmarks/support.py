"""The table of networks that are supported: `python benchmarks/support.py` writes it.

Every row is measured: a small network of that family with random weights is repaired with every
layer filtered, and what must hold of a repair is checked. `tests/test_support.py` measures
all rows again and compares them with the table.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from families import FAMILIES
from families.family import CLASSES, SAMPLES, Family
from torch import Tensor, nn

import tailcut
from tailcut.network.layer_moments import weights_of
from tailcut.network.layers import layers_in
from tailcut.network.modules import network_in, state_of

PAGE = Path(__file__).parents[1] / "docs" / "support.md"


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
    try:
        fix = tailcut.repair(
            given, train, views=[], depth="all", readout="project", rank=CLASSES - 1,
            force=True, progress=False,
        )  # fmt: skip
    except tailcut.TailcutError as error:
        _require(_same(_state(given), before), "a refused model has changed")
        return Row(family.library, family.name, "", "", "refused", str(error))
    _check(family, given, before, fix)
    layers = fix.diagnosis.layers
    assert layers is not None
    head = _head(network_in(given), fix.head.name)
    count = f"{layers.filtered} of {layers.of}"
    return Row(family.library, family.name, head, count, "yes", _reasons(layers.skipped))


def _built(family: Family) -> Any:
    torch.manual_seed(0)
    made = family.make()
    return made.eval() if isinstance(made, nn.Module) else made


def _check(family: Family, given: Any, before: dict[str, Tensor], fix: tailcut.Repair) -> None:
    """What a repair promises: see the page."""
    network, result = network_in(given), fix.model
    _require(_same(_state(given), before), "the model has changed")
    _require(not any(_hooks(each) for each in result.modules()), "hooks are left behind")
    _require(type(result) is type(network), "the result is of another class")
    shapes = [{k: (v.shape, v.dtype) for k, v in _state(each).items()} for each in (result, network)]
    _require(shapes[0] == shapes[1], "the result has other tensors")
    fresh = network_in(_built(family))
    fresh.load_state_dict(result.state_dict(), strict=True)
    _require(_same(_state(fresh), _state(result)), "the result cannot be loaded")
    _require(_same(_state(fix.undo()), before), "the way back is not exact")
    layers = fix.diagnosis.layers
    assert layers is not None
    changed = sum(name in fix.undo_tensors for name, _ in network.named_parameters())
    _require(
        changed + _scalars(network) >= layers.filtered,
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
    return {name: value.clone() for name, value in state_of(given).items()}


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _hooks(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks)  # noqa: SLF001


def _head(network: nn.Module, name: str) -> str:
    module = network.get_submodule(name)
    kind = "Linear" if isinstance(module, nn.Linear) else f"1x1 {type(module).__name__}"
    return f"{kind} `{name}`" + ("" if module.bias is not None else ", no bias")


def _reasons(skipped: dict[str, str]) -> str:
    """Why layers are not filtered, the commonest reason first, with one of them as the example."""
    found = Counter(skipped.values())
    examples = {why: name for name, why in reversed(skipped.items())}
    return "; ".join(f"{n}: {why} (`{examples[why]}`)" for why, n in found.most_common())


def main() -> None:
    """Measure every family, or those named, and print the rows; write the page with --write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--write", action="store_true")
    words = parser.parse_args()
    for family in FAMILIES:
        if words.families and not any(each in str(family) for each in words.families):
            continue
        start = time.perf_counter()
        try:
            row = measured(family)
        except Exception:  # noqa: BLE001
            row = f"{family}: FAILED {traceback.format_exc()[-600:]}"
        print(f"{time.perf_counter() - start:5.2f}", row, flush=True)


if __name__ == "__main__":
    main()
