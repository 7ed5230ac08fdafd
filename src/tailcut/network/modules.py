"""What is passed as the model: the network to work on, or an error that says what to pass."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from tailcut.errors import DataError, out_of_memory
from tailcut.network.wrapped import refuse_adapters

_LOAD = (
    "Build the network, load its weights with network.load_state_dict(...), and pass the network"
)
_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
_EXTRA_STATE = "_extra_state"
"""What `get_extra_state` returns goes by this name in a state_dict, and may be anything."""


def network_in(given: Any) -> nn.Module:
    """The network that was passed as the model; what `torch.compile` wraps around it comes off.

    Raises:
        DataError: No module, one whose layers cannot be read and rewritten (scripted, exported,
            quantised, with adapters), or one whose weights are not there (lazy, meta, sparse).
    """
    if not isinstance(given, nn.Module):
        seen, advice = _instead_of_a_network(given)
        raise DataError(
            f"{seen} instead of a network",
            wanted="a trained torch.nn.Module that returns logits",
            advice=advice,
        )
    network = given
    while type(network).__name__ == "OptimizedModule":  # its own module takes seconds to import
        network = network.get_submodule("_orig_mod")
    refuse_adapters(network)
    _require_layers(network)
    for name, tensor in _tensors(network):
        _require_numbers(network, name, tensor)
    return network


def inner(network: nn.Module) -> nn.Module:
    """The network inside what spreads it over devices or processes."""
    while isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        network = network.module
    return network


def copied(model: nn.Module) -> nn.Module:
    """A deep copy; tensors that were computed with gradients are copied without their history.

    Pruned and weight-normalised layers hold such tensors, which torch alone does not copy.

    Raises:
        DataError: A module that cannot be copied.
    """
    try:
        return _deep_copy(model)
    except Exception as cause:
        if out_of_memory(cause):
            raise
        where = _that_cannot_be_copied(model)
        raise DataError(
            f"a {type(model).__name__} that cannot be copied, because of {where} ({cause})",
            wanted="a module that copy.deepcopy accepts",
            advice="Remove that attribute before the call, or give its class a __deepcopy__",
        ) from cause


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a state_dict, without what `get_extra_state` adds to it."""
    return {
        name: value
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor) and name.rpartition(".")[2] != _EXTRA_STATE
    }


def load_state(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what `state_of` returned for a model of this class; its extra state stays."""
    state = OrderedDict(tensors)
    vars(state)["_metadata"] = getattr(model.state_dict(), "_metadata", None)
    found = model.load_state_dict(state, strict=False)  # some modules read their versions there
    odd = {*found.unexpected_keys, *found.missing_keys} & {*tensors, *state_of(model)}
    assert not odd, odd


class _WithoutHistory(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def _deep_copy(value: Any) -> Any:
    with _WithoutHistory():
        return copy.deepcopy(value)


def _that_cannot_be_copied(model: nn.Module) -> str:
    """The first attribute of any of its modules that cannot be copied alone."""
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key == "_modules":
                continue
            try:
                _deep_copy(value)
            except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
                return repr(f"{name}.{key}".removeprefix("."))
    return "its class"


def _instead_of_a_network(given: Any) -> tuple[str, str]:
    """What was passed, and what to do."""
    kind = type(given).__name__
    if seen := _class_or_weights(given):
        return seen, _LOAD
    if kind == "ExportedProgram":
        return f"an {kind}", _original("program.state_dict")
    if inside := next(_modules_inside(given), None):
        return f"a {kind}", f"Pass the network that it holds, its {inside}"
    if hasattr(given, "initialize"):  # as skorch has it
        return f"a {kind} without a module", "Fit it first, then pass its module_"
    if callable(given) and hasattr(given, "__name__"):
        advice = "Call it if it builds the network, else wrap it in a torch.nn.Module"
        return f"the function {given.__name__}", advice
    return f"a {kind}", "Pass the trained network itself"


def _class_or_weights(given: Any) -> str | None:
    """What was passed, if the half of a network: its class, its weights or their file."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if isinstance(given, (str, Path)):
        return f"the path {str(given)!r}"
    if not isinstance(given, Mapping):
        return None
    if all(isinstance(value, Tensor) for value in given.values()):
        return "a state_dict"
    return f"a {type(given).__name__} with the keys {_few(given)}"


def _modules_inside(given: Any) -> Iterator[str]:
    """Attributes that are modules, those first that hold the network of skorch and of trainers."""
    for name in ("module_", "model", *getattr(given, "__dict__", {})):
        if isinstance(getattr(given, name, None), nn.Module):
            yield name


def _require_layers(network: nn.Module) -> None:
    """Refuse a network whose layers are no modules that can be read and rewritten."""
    if isinstance(network, torch.jit.ScriptModule):
        state = "scripted.state_dict()" if network.state_dict() else None
        raise _without_layers(network, "made by torch.jit", _original(state))
    if isinstance(network, torch.fx.GraphModule) and _flattened(network):
        advice = _original("exported.state_dict()")
        raise _without_layers(network, "whose layers are single operations", advice)
    for name, module in network.named_modules():
        if type(module).__module__.startswith(_QUANTISED) or _is_packed(module):
            raise _without_layers(
                network,
                f"with quantised or sharded weights in {name or type(module).__name__!r}",
                "Pass the network as it was before the quantisation or sharding",
            )


def _is_packed(module: nn.Module) -> bool:
    """Whether the weight of a linear layer is integers, or a tensor that stands for others.

    One that is computed is not looked at: in training mode that may change the network.
    """
    if not isinstance(module, (nn.Linear, nn.Conv2d)):
        return False
    held = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    weight = dict(held).get("weight")
    if weight is None:
        return False
    return not weight.is_floating_point() or is_traceable_wrapper_subclass(weight)


def _flattened(network: torch.fx.GraphModule) -> bool:
    """Whether it calls operations on its weights and has no layers, as torch.export leaves it."""
    return not any(isinstance(each, (nn.Linear, nn.Conv2d)) for each in network.modules())


def _without_layers(network: nn.Module, what: str, advice: str) -> DataError:
    return DataError(
        f"a {type(network).__name__} {what}",
        wanted="a network of torch.nn layers with weights that can be rewritten",
        advice=advice,
    )


def _original(state: str | None) -> str:
    if state is None:
        return "Pass the torch.nn.Module it was made from"
    return f"Pass the torch.nn.Module it was made from; load_state_dict({state}) brings its weights"


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _require_numbers(network: nn.Module, name: str, tensor: Tensor) -> None:
    """Refuse a tensor that holds no numbers, or holds them where no file can take them."""
    kind = type(network).__name__
    if nn.parameter.is_lazy(tensor):
        raise DataError(
            f"a {kind} whose {name!r} is lazy and has no shape yet",
            wanted="a trained network",
            advice="Run one batch through it and load its trained weights",
        )
    if tensor.is_meta:
        raise DataError(
            f"a {kind} whose {name!r} is on the meta device and holds no numbers",
            wanted="a trained network in memory",
            advice="Load its weights with load_state_dict(..., assign=True), without offloading",
        )
    if tensor.layout != torch.strided and name in network.state_dict():
        raise DataError(
            f"a {kind} whose {name!r} has the layout {tensor.layout}",
            wanted="dense tensors, which can be compared and saved",
            advice="Register it as a buffer with persistent=False, or pass it through .to_dense()",
        )


def _few(names: Mapping[Any, Any], most: int = 6) -> str:
    text = ", ".join(repr(name) for name in list(names)[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
