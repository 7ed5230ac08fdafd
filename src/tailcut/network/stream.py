"""Inputs in, logits out, on any device; and what each module receives on the way."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tailcut._typing import Batches, Inputs
from tailcut.errors import DataError
from tailcut.network.batches import read


def usual_device() -> str:
    """A GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def own_copy(model: nn.Module, device: torch.device | str | None = None) -> nn.Module:
    """A deep copy in evaluation mode that the caller will never see change.

    Its convolutions lie channels last, which is the faster order for evaluation.

    Raises:
        DataError: A module that cannot be copied.
    """
    try:
        twin = copy.deepcopy(model)
    except (RuntimeError, TypeError) as cause:
        raise DataError(
            f"a {type(model).__name__} that cannot be copied ({cause})",
            wanted="a module that copy.deepcopy accepts",
            advice="Load its state_dict into a fresh instance and pass that one",
        ) from cause
    evaluated(twin).requires_grad_(requires_grad=False)
    nn.utils.convert_conv2d_weight_memory_format(twin, torch.channels_last)
    return twin if device is None else twin.to(device)


def evaluated(model: nn.Module) -> nn.Module:
    """The model itself, put into evaluation mode unless it is in it.

    On the way there modules may merge or fuse weights, which must not happen twice.
    """
    return model.eval() if any(module.training for module in model.modules()) else model


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter lies; the CPU without parameters."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """Inputs on a device."""
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    return {key: value.to(device) for key, value in inputs.items()}


@torch.no_grad()
def logits_of(model: nn.Module, inputs: Inputs) -> Tensor:
    """Logits (N x K) of a model that returns a tensor, a tuple, or an output with `.logits`.

    Raises:
        DataError: Something else, or another shape.
    """
    inputs = to_device(inputs, device_of(model))
    samples = len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))
    output = _logits_in(_call(model, inputs), type(model).__name__)
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != samples:
        shape = f" of shape {tuple(output.shape)}" if isinstance(output, Tensor) else ""
        raise DataError(
            f"{type(model).__name__} returned a {type(output).__name__}{shape} "
            f"for {samples} samples",
            wanted="logits of shape (samples, classes), alone, first in a tuple, or as .logits",
            advice="Wrap the model so that it returns its classification logits",
        )
    return output


def _logits_in(output: Any, name: str) -> Any:
    """By name where outputs have names, else the first; never one of two that look alike."""
    if isinstance(output, Mapping):
        return output.get("logits", output)
    if hasattr(output, "logits"):
        return output.logits
    if not isinstance(output, (tuple, list)) or not output:
        return output
    shape = getattr(output[0], "shape", None)
    alike = sum(isinstance(each, Tensor) and each.shape == shape for each in output)
    if alike > 1:
        raise DataError(
            f"{name} returned {len(output)} outputs, {alike} of them of the same shape "
            f"{tuple(shape or ())}: nobody can tell which are the logits",
            wanted="logits of shape (samples, classes), alone, first in a tuple, or as .logits",
            advice="Wrap the model so that it returns its classification logits alone",
        )
    return output[0]


def _call(model: nn.Module, inputs: Inputs) -> Any:
    if isinstance(inputs, Tensor):
        return model(inputs)
    parameters = inspect.signature(model.forward).parameters
    if len(inputs) == 1 and not set(inputs) & set(parameters):
        return model(next(iter(inputs.values())))
    kinds = {parameter.kind for parameter in parameters.values()}
    unknown = sorted(set(inputs) - set(parameters))
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise DataError(
            f"batches with {', '.join(map(repr, unknown))}, which {type(model).__name__} "
            "does not take",
            wanted=f"some of {', '.join(map(repr, parameters))}, and 'labels'",
            advice="Drop the other columns in the loader's collate function",
        )
    return model(**inputs)


@contextmanager
def first_input(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module receives, copied before anything can overwrite it."""
    seen: list[Tensor] = []

    def keep(received: Tensor) -> None:
        seen.append(received.detach().clone())

    with on_input({module: keep}):
        yield seen


@contextmanager
def on_input(told: Mapping[nn.Module, Callable[[Tensor], object]]) -> Iterator[None]:
    """Tell someone what each module receives, as its first argument, before it runs."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        told[module]((*args, *kwargs.values())[0])

    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module in told]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def hits(model: nn.Module, inputs: Inputs, labels_N: Tensor) -> int:
    """Samples whose largest logit is their label, in the mode the model is in."""
    return int((logits_of(model, inputs).argmax(1).cpu() == labels_N.cpu()).sum())


def accuracy(model: nn.Module, loader: Batches) -> float:
    """Share of samples whose largest logit is their label, in the mode the model is in."""
    right = n = 0
    for batch in read(loader):
        right += hits(model, batch.inputs, batch.labels)
        n += len(batch)
    return right / n
