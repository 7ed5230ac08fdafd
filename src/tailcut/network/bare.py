"""Weights that lie in no layer: a module's own matrices, handed to a product as they are.

Routers of experts, attention with one raw projection, and users' own modules hold such. Nothing
says that a matrix is a weight but that rows are multiplied by it, so one batch shows which are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import partial

from torch import Tensor, nn

from tailcut._typing import Inputs
from tailcut.network.calls import Call, on_call
from tailcut.network.layers import Layer, Reading, Weight
from tailcut.network.stream import logits_of

_LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)


class BareWeight(Layer):
    """One matrix of a module of no known kind.

    Args:
        module: That holds it.
        key: Its name there.
        transposed: Whether it lies input first, as in `inputs @ weight`.
    """

    def __init__(self, module: nn.Module, key: str, *, transposed: bool) -> None:
        super().__init__(module)
        self.key, self.transposed = key, transposed

    @staticmethod
    def fits(module: nn.Module) -> bool:
        """Never: no module is one."""
        del module
        return False

    @property
    def parameter(self) -> nn.Parameter:
        """The matrix."""
        return self.module.get_parameter(self.key)

    def weights(self) -> dict[str, Weight]:
        """The one matrix."""
        return {"": Weight(self.key, self.parameter, None, transposed=self.transposed)}

    def path(self, name: str, weight: Weight) -> str:
        """It goes by the name of its parameter."""
        del weight
        return name

    def readings(self, call: Call) -> Iterator[dict[str, Reading]]:
        """The last axis of what is multiplied."""
        yield {"": Reading(call.received, call.received.ndim - 1, call.output)}

    def inside(self, model: nn.Module, name: str) -> BareWeight:
        """The same weight, of this full name, in a copy of the model."""
        home = model.get_submodule(name.removesuffix(self.key).removesuffix("."))
        return BareWeight(home, self.key, transposed=self.transposed)


def bare_weights(
    model: nn.Module, known: Mapping[str, Layer], inputs: Inputs
) -> dict[str, BareWeight]:
    """Matrices that a batch is multiplied by, every time from the same side, by full name."""
    taken = {id(layer.module) for layer in known.values()}
    taken |= {id(each.tensor) for layer in known.values() for each in layer.weights().values()}
    candidates = dict(_matrices(model, taken))
    seen: dict[str, set[bool]] = defaultdict(set)

    def note(name: str, call: Call) -> None:
        seen[name].add(call.transposed)

    watched = [(tensor, partial(note, name)) for name, (_, _, tensor) in candidates.items()]
    with on_call({}, watched):
        logits_of(model, inputs)
    return {
        name: BareWeight(candidates[name][0], candidates[name][1], transposed=sides.pop())
        for name, sides in seen.items()
        if len(sides) == 1
    }


def _matrices(
    model: nn.Module, taken: Collection[int]
) -> Iterator[tuple[str, tuple[nn.Module, str, Tensor]]]:
    for name, module in model.named_modules():
        if id(module) in taken or isinstance(module, _LOOKED_UP) or "parametrizations" in name:
            continue
        for key, tensor in module.named_parameters(recurse=False):
            if tensor.ndim == 2 and tensor.is_floating_point() and id(tensor) not in taken:
                yield f"{name}.{key}".removeprefix("."), (module, key, tensor)
