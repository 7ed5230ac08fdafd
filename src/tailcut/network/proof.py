"""The proof of a layer: what it gave, recomputed from what it received; and why there is none."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tailcut.network.calls import Call
from tailcut.network.layers import Layer, Reading, Weight

_POSITIONS = 64
"""Recomputed in every call: a quarter of them on each edge, where padding shows."""

_ROUNDINGS = 256
_LOOSEST = 0.02
"""Tolerance, of the largest output: as for the head, and never wider."""

_CANCELLED = 16
"""Roundings of what a row adds up, for outputs that are a small rest of it."""

_TF32 = 2.0**-11

_NO_WEIGHTS = {
    "bias",
    "biases",
    "pos",
    "position",
    "positions",
    "positional",
    "table",
    "token",
    "tokens",
}
_NO_WEIGHTS |= {"embed", "embeds", "embedding", "embeddings"}
"""Words in the names of parameters that are looked up or added."""

FIXED = "it does not follow its weight when that is changed"
NO_PRODUCT = "nothing shows what it multiplies"
NOT_FINITE = "it receives NaN or infinite values"


def proven(layer: Layer, call: Call) -> dict[str, Reading] | str:
    """What each weight of a layer multiplied in a call; or why that cannot be estimated."""
    try:
        weights = layer.weights()
        if call.key is not None:
            weights = {part: weight.added(call.added) for part, weight in weights.items()}
        for readings in layer.readings(call):
            if all(_agrees(weights[part], reading) for part, reading in readings.items()):
                return readings
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        pass  # a subclass may take and give anything
    received = call.received
    broken = isinstance(received, Tensor) and not torch.isfinite(received).all()
    return NOT_FINITE if broken else layer.refusal(call)


def _agrees(weight: Weight, reading: Reading) -> bool:
    """Whether the outputs are those of the rows, at positions drawn."""
    if reading.outputs is None:
        return True
    if reading.outputs.shape[:-1] != reading.positions:
        return False
    places = _places(reading.positions)
    matrix_GOP = weight.matrix_GOP
    exact = torch.promote_types(matrix_GOP.dtype, torch.float32)
    matrix_GOP = matrix_GOP.to(exact)
    groups, _, width = matrix_GOP.shape
    rows_GMP = reading.rows[places].reshape(-1, groups, width).transpose(0, 1).to(exact)
    given = reading.outputs[places]
    made, added = (
        (rows @ matrix.transpose(1, 2)).transpose(0, 1).reshape(given.shape)
        for rows, matrix in ((rows_GMP, matrix_GOP), (rows_GMP.abs(), matrix_GOP.abs()))
    )
    if weight.bias is not None:
        made = made + weight.bias.to(exact)
    allowed = _relative(reading, weight) * given.abs().max().to(exact)
    allowed = allowed + _CANCELLED * torch.finfo(exact).eps * added.max()
    return bool((made - given).abs().max() <= allowed)


def _relative(reading: Reading, weight: Weight) -> float:
    """Tolerance of the coarsest number on the way."""
    assert reading.outputs is not None
    tensors = (reading.rows, reading.outputs, weight.tensor)
    eps = max(torch.finfo(tensor.dtype).eps for tensor in tensors)
    if weight.tensor.is_cuda and weight.tensor.dtype == torch.float32:
        eps = max(eps, _TF32)  # convolutions are rounded so, unless the caller says otherwise
    return min(_ROUNDINGS * eps, _LOOSEST)


def _places(shape: torch.Size) -> tuple[Tensor, ...]:
    """Positions by their places along each axis."""
    generator = torch.Generator().manual_seed(0)
    places = []
    for size in shape:
        inner = torch.randint(size, (_POSITIONS,), generator=generator)
        where = torch.randint(4, (_POSITIONS,), generator=generator)
        places.append(inner.where(where > 1, (where == 1) * (size - 1)))
    return tuple(places)


def obstacles(model: nn.Module, layers: Mapping[str, Layer]) -> dict[str, str]:
    """Weights that cannot be rewritten, by name, and why."""
    parameters = [
        (f"{name}.{key}".removeprefix("."), parameter)
        for name, module in model.named_modules()
        for key, parameter in module.named_parameters(recurse=False)
    ]
    found: dict[str, str] = {}
    for name, layer in layers.items():
        for part, weight in layer.weights().items():
            reason = _obstacle(layer.path(name, weight), weight, parameters)
            if reason:
                found[name + part] = reason
    return found


def _obstacle(own: str, weight: Weight, parameters: list[tuple[str, nn.Parameter]]) -> str | None:
    tensor = weight.tensor
    if not isinstance(tensor, Tensor):
        return "its weight is no tensor"
    if not tensor.is_floating_point() or type(tensor.detach()) is not Tensor:
        return f"its weight is stored as {type(tensor.detach()).__name__} of {tensor.dtype}"
    if not any(parameter is tensor for _, parameter in parameters):
        return None if _can_be_set(weight) else "its weight is computed from other tensors"
    others = [key for key, parameter in parameters if key != own and _overlap(parameter, tensor)]
    return f"its weight is shared with {', '.join(others)}" if others else None


@torch.no_grad()
def _can_be_set(weight: Weight) -> bool:
    """Whether a computed weight becomes what it is set to, as under weight_norm."""
    if weight.home is None or not parametrize.is_parametrized(weight.home, weight.key):
        return False
    twin = replace(weight, home=copy.deepcopy(weight.home))
    shares_P = torch.linspace(0.5, 1, weight.matrix_GOP.shape[2]).to(weight.tensor)
    wanted_GOP = weight.matrix_GOP * shares_P
    try:
        twin.write(wanted_GOP)
    except (NotImplementedError, RuntimeError, ValueError):
        return False
    became_GOP = replace(weight, tensor=getattr(twin.home, weight.key)).matrix_GOP
    eps = torch.finfo(weight.tensor.dtype).eps
    return bool((became_GOP - wanted_GOP).abs().max() <= 16 * eps * wanted_GOP.abs().max())


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one, or lie in the same memory."""
    if a is b:
        return True
    starts = a.data_ptr(), b.data_ptr()
    ends = [start + each.nbytes for start, each in zip(starts, (a, b), strict=True)]
    return 0 < max(starts) < min(ends)


def strangers(model: nn.Module, known: Mapping[str, Layer]) -> dict[str, str]:
    """Other modules with a matrix that may be a weight.

    Embeddings look rows up instead of multiplying, and norms scale channel by channel.
    """
    inside = {name + part for name, layer in known.items() for part in layer.weights()}
    return {
        name: f"a {type(module).__name__} is of no kind that can be filtered"
        for name, module in model.named_modules()
        if name not in inside
        and not isinstance(module, (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm))
        and not type(module).__name__.endswith("Embedding")
        and "parametrizations" not in name.split(".")  # named by the layer that they compute
        and _holds_matrix(module)
    }


def matrices_in(module: nn.Module) -> list[str]:
    """Names of a module's own parameters that may be weights."""
    return [
        key
        for key, each in module.named_parameters(recurse=False)
        if sum(size > 1 for size in each.shape) > 1 and _NO_WEIGHTS.isdisjoint(key.split("_"))
    ]


def _holds_matrix(module: nn.Module) -> bool:
    quantised = callable(getattr(module, "weight", None))  # a method, as torch has it there
    return quantised or bool(matrices_in(module))
