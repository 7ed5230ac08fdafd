"""What a layer is: one class for each kind of module that multiplies its input by a weight.

A kind says where its weights lie and which rows they multiply; the proof then recomputes what
the module gave. To add a kind, write its class and append it to `KINDS`.
"""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tailcut.network.calls import Call

_SAME = 0.01
"""Of the largest output: what is added to a variance before it divides leaves a small rest."""


@dataclass(frozen=True, eq=False)
class Weight:
    """One matrix of a layer, which multiplies the rows of its input group by group.

    Attributes:
        key: Of the parameter inside the module.
        tensor: The parameter itself.
        bias: What is added, G x O numbers; None without any.
        groups: G.
        transposed: Whether it lies as P x O, input first.
        home: The module, where a parametrization may compute the weight from others.
    """

    key: str
    tensor: Tensor
    bias: Tensor | None
    groups: int = 1
    transposed: bool = False
    home: nn.Module | None = None

    @property
    def matrix_GOP(self) -> Tensor:
        """The weight as G x O x P, in its own dtype."""
        flat_OP = self.tensor.detach().flatten(1)
        flat_OP = flat_OP.T if self.transposed else flat_OP
        return flat_OP.reshape(self.groups, -1, flat_OP.shape[1])

    def added(self, bias: Tensor | None) -> Weight:
        """The same weight where something else than its own bias is added."""
        return replace(self, bias=bias)

    @torch.no_grad()
    def write(self, matrix_GOP: Tensor) -> None:
        """Put another matrix into the parameter, or into those that it is computed from."""
        flat_OP = matrix_GOP.flatten(0, 1)
        flat_OP = flat_OP.T if self.transposed else flat_OP
        if self.home is not None and parametrize.is_parametrized(self.home, self.key):
            setattr(self.home, self.key, flat_OP.reshape(self.tensor.shape).to(self.tensor))
        else:
            self.tensor.copy_(flat_OP.reshape(self.tensor.shape))


@dataclass(frozen=True, eq=False)
class Reading:
    """What a weight multiplied in one call.

    Attributes:
        rows: `axes` axes of positions, then the G x P numbers that each position brings.
        axes: Of positions.
        outputs: What came of it: the same positions, then G x O numbers; None where another
            reading of the same call proves this one, too.
    """

    rows: Tensor
    axes: int
    outputs: Tensor | None

    @property
    def positions(self) -> torch.Size:
        """The positions' axes."""
        return self.rows.shape[: self.axes]


class Layer(ABC):
    """One module of this kind.

    Args:
        module: That `fits`.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    @staticmethod
    @abstractmethod
    def fits(module: nn.Module) -> bool:
        """Whether a module is of this kind or of a subclass; the proof shows what it does."""

    @abstractmethod
    def weights(self) -> dict[str, Weight]:
        """By what the name of the weight adds to that of the module."""

    def path(self, name: str, weight: Weight) -> str:
        """Full name of the parameter of a weight, in a layer of this name."""
        return f"{name}.{weight.key}".removeprefix(".")

    @abstractmethod
    def readings(self, call: Call) -> Iterator[dict[str, Reading]]:
        """Ways to read a call, likeliest first: a reading for each weight."""

    def refusal(self, call: Call) -> str:
        """Why a call was none of these."""
        if call.key is None and self._gives_the_same_with_twice_its_weight(call):
            return "it standardises its weight whenever it is used"
        return "it gives something else than weight x input + bias"

    @torch.no_grad()
    def _gives_the_same_with_twice_its_weight(self, call: Call) -> bool:
        try:
            twin = copy.deepcopy(self.module)
            for weight in type(self)(twin).weights().values():
                weight.write(2 * weight.matrix_GOP)
            again = twin.forward(*call.args, **call.kwargs)
            largest = float(call.output.abs().max())
            return torch.allclose(again, call.output, rtol=0, atol=_SAME * largest)
        except (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError):
            return False  # a subclass may take and give anything


class LinearLayer(Layer):
    """nn.Linear: the last axis of the input."""

    @staticmethod
    def fits(module: nn.Module) -> bool:
        return isinstance(module, nn.Linear)

    def weights(self) -> dict[str, Weight]:
        module = self.module
        return {"": Weight("weight", module.weight, module.bias, home=module)}

    def readings(self, call: Call) -> Iterator[dict[str, Reading]]:
        yield {"": Reading(call.received, call.received.ndim - 1, call.output)}


class TransposedLinear(LinearLayer):
    """Conv1D of transformers, as GPT-2 has it: a Linear whose weight lies input first."""

    @staticmethod
    def fits(module: nn.Module) -> bool:
        known = {(each.__module__.split(".")[0], each.__name__) for each in type(module).__mro__}
        return ("transformers", "Conv1D") in known

    def weights(self) -> dict[str, Weight]:
        return {"": Weight("weight", self.module.weight, self.module.bias, transposed=True)}


class Convolution(Layer):
    """nn.Conv1d, nn.Conv2d, nn.Conv3d: patches of the padded input.

    Subclasses that pad by themselves are read by the size of what they give: the padding that
    is missing is split in halves, or lies on one side.
    """

    @staticmethod
    def fits(module: nn.Module) -> bool:
        return isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))

    def weights(self) -> dict[str, Weight]:
        module = self.module
        return {"": Weight("weight", module.weight, module.bias, module.groups, home=module)}

    def readings(self, call: Call) -> Iterator[dict[str, Reading]]:
        axes = len(self.module.kernel_size)
        single = call.received.ndim == axes + 1
        inputs, outputs = (each[None] if single else each for each in (call.received, call.output))
        for sides in self._paddings(inputs.shape[2:], outputs.shape[2:]):
            rows = self._windows(inputs, sides)
            yield {"": Reading(rows, axes + 1, outputs.movedim(1, -1))}

    def _paddings(self, inside: torch.Size, outside: torch.Size) -> list[list[tuple[int, int]]]:
        """Before and after, along every axis, such that the sizes agree."""
        spans, strides = self._spans(), self.module.stride
        declared, places = self._declared(spans), range(len(spans))
        sizes = [(inside[i] + sum(declared[i]) - spans[i]) // strides[i] + 1 for i in places]
        if sizes == list(outside):
            return [declared]
        missing = [max(0, (outside[i] - 1) * strides[i] + spans[i] - inside[i]) for i in places]
        splits = ([each // 2 for each in missing], missing, [0] * len(missing))
        return [
            [(before, whole - before) for before, whole in zip(split, missing, strict=True)]
            for split in splits
        ]

    def _spans(self) -> list[int]:
        """How far a patch reaches along each axis."""
        sizes = zip(self.module.kernel_size, self.module.dilation, strict=True)
        return [dilation * (size - 1) + 1 for size, dilation in sizes]

    def _declared(self, spans: list[int]) -> list[tuple[int, int]]:
        padding = self.module.padding
        if isinstance(padding, str):
            totals = [span - 1 if padding == "same" else 0 for span in spans]
            return [(total // 2, total - total // 2) for total in totals]
        return [(each, each) for each in padding]

    def _windows(self, inputs: Tensor, sides: list[tuple[int, int]]) -> Tensor:
        """A view of all patches: N x positions x channels x kernel."""
        mode = self.module.padding_mode
        flat = [side for pair in reversed(sides) for side in pair]
        windows = nn.functional.pad(inputs, flat, mode="constant" if mode == "zeros" else mode)
        for axis, span in enumerate(self._spans()):
            windows = windows.unfold(2 + axis, span, self.module.stride[axis])
        steps = tuple(slice(None, None, dilation) for dilation in self.module.dilation)
        return windows[(..., *steps)].movedim(1, len(sides) + 1)


class FusedAttention(Layer):
    """nn.MultiheadAttention whose query, key and value have one weight, reading one sequence.

    Its second weight is the output projection, which torch does not call as a module. What it
    receives is what a twin puts out whose output projection is the identity.
    """

    @staticmethod
    def fits(module: nn.Module) -> bool:
        return isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None

    def weights(self) -> dict[str, Weight]:
        attention, after = self.module, self.module.out_proj
        return {
            "": Weight("in_proj_weight", attention.in_proj_weight, attention.in_proj_bias),
            ".out_proj": Weight("out_proj.weight", after.weight, after.bias),
        }

    def readings(self, call: Call) -> Iterator[dict[str, Reading]]:
        query = self._sequence(call)
        if query is None:
            return
        mixed, _ = nn.MultiheadAttention.forward(self._unprojected(), *call.args, **call.kwargs)
        rows = [query, mixed, call.output[0]]
        if not self.module.batch_first and query.ndim == 3:
            rows = [each.transpose(0, 1) for each in rows]
        axes = query.ndim - 1
        yield {"": Reading(rows[0], axes, None), ".out_proj": Reading(rows[1], axes, rows[2])}

    def refusal(self, call: Call) -> str:
        if self._sequence(call) is None:
            return "it attends to other tokens than its own"
        return super().refusal(call)

    def _sequence(self, call: Call) -> Tensor | None:
        """What query, key and value are; None where they differ."""
        signature = inspect.signature(nn.MultiheadAttention.forward)
        given = signature.bind(self.module, *call.args, **call.kwargs).arguments
        same = given["query"] is given["key"] is given["value"]
        return given["query"] if same else None

    def _unprojected(self) -> nn.MultiheadAttention:
        twin = copy.deepcopy(self.module)
        with torch.no_grad():
            twin.out_proj.weight.copy_(torch.eye(self.module.embed_dim))
            if twin.out_proj.bias is not None:
                twin.out_proj.bias.zero_()
        return twin


KINDS: list[type[Layer]] = [LinearLayer, Convolution, TransposedLinear, FusedAttention]
"""Every kind of layer that can be filtered; the first that fits a module reads it.

Append a class to filter modules of your own.
"""


def layers_in(model: nn.Module) -> dict[str, Layer]:
    """Every module of one of these kinds by name, each once; none inside another."""
    found: dict[str, Layer] = {}
    owned: set[str] = set()
    for name, module in model.named_modules():
        kind = next((kind for kind in KINDS if kind.fits(module)), None)
        if kind is not None and name not in owned:
            found[name] = layer = kind(module)
            owned |= {name + part for part in layer.weights()}
    return found
