"""The proof of a layer: what it gave, recomputed from what it received; and why there is none."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

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

FIXED = "it does not follow its weight when that is changed"
NOT_FINITE = "it receives NaN or infinite values"


def proven(layer: Layer, call: Call) -> dict[str, Reading] | str:
    """What each weight of a layer multiplied in a call; or why that cannot be estimated."""
    try:
        weights = layer.weights()
        if call.past:
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
            own = f"{name}.{weight.key}".removeprefix(".")
            reason = _obstacle(own, weight.tensor, parameters)
            if reason:
                found[name + part] = reason
    return found


def _obstacle(own: str, weight: Tensor, parameters: list[tuple[str, nn.Parameter]]) -> str | None:
    if not isinstance(weight, Tensor):
        return "its weight is no tensor"
    if not weight.is_floating_point() or type(weight.detach()) is not Tensor:
        return f"its weight is stored as {type(weight.detach()).__name__} of {weight.dtype}"
    if not any(parameter is weight for _, parameter in parameters):
        return "its weight is computed from other tensors"
    others = [key for key, parameter in parameters if key != own and _overlap(parameter, weight)]
    return f"its weight is shared with {', '.join(others)}" if others else None


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one, or lie in the same memory."""
    if a is b:
        return True
    starts = a.data_ptr(), b.data_ptr()
    ends = [start + each.nbytes for start, each in zip(starts, (a, b), strict=True)]
    return 0 < max(starts) < min(ends)


def strangers(model: nn.Module, known: Mapping[str, Layer]) -> dict[str, str]:
    """Other modules with a matrix called a weight, or with any and no module inside.

    Embeddings look rows up instead of multiplying, and norms scale channel by channel.
    """
    inside = {name + part for name, layer in known.items() for part in layer.weights()}
    return {
        name: f"a {type(module).__name__} is of no kind that can be filtered"
        for name, module in model.named_modules()
        if name not in inside
        and not isinstance(module, (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm))
        and "parametrizations" not in name.split(".")  # named by the layer that they compute
        and _holds_matrix(module)
    }


def _holds_matrix(module: nn.Module) -> bool:
    inner = any(True for _ in module.children())
    own = module.named_parameters(recurse=False)
    matrices = [key for key, each in own if sum(size > 1 for size in each.shape) > 1]
    quantised = callable(getattr(module, "weight", None))  # a method, as torch has it there
    return quantised or any("weight" in key or not inner for key in matrices)
