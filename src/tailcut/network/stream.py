"""Inputs in, logits out, on any device; and what each module receives on the way."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tailcut._typing import Batches, Inputs
from tailcut.errors import DataError, TailcutError, out_of_memory
from tailcut.network.batches import read
from tailcut.network.inputs import count, mapped
from tailcut.network.modules import copied


def usual_device() -> str:
    """A GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def own_copy(model: nn.Module, device: torch.device | str | None = None) -> nn.Module:
    """A deep copy in evaluation mode that the caller will never see change.

    Its convolutions lie channels last, which is the faster order for evaluation.

    Raises:
        DataError: A module that cannot be copied, or a device that is not there.
    """
    twin = copied(model)
    evaluated(twin).requires_grad_(requires_grad=False)
    nn.utils.convert_conv2d_weight_memory_format(twin, torch.channels_last)
    try:
        return twin if device is None else twin.to(device)
    except (RuntimeError, AssertionError, TypeError) as cause:
        if out_of_memory(cause):
            raise
        raise DataError(
            f"no device {device!r} here",
            wanted="a device that torch has, such as 'cpu' or 'cuda'",
            advice="Correct device=, or leave it out to work where the network is",
        ) from cause


def evaluated(model: nn.Module) -> nn.Module:
    """The model itself, put into evaluation mode unless it is in it.

    On the way there modules may merge or fuse weights, which must not happen twice.
    """
    return model.eval() if any(module.training for module in model.modules()) else model


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter lies; the CPU without parameters."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def type_of(model: nn.Module) -> torch.dtype | None:
    """The floating type of all its parameters; None if there are several, or no parameters."""
    found = {each.dtype for each in model.parameters() if each.is_floating_point()}
    return found.pop() if len(found) == 1 else None


def fitted(inputs: Inputs, model: nn.Module) -> Inputs:
    """Inputs on the model's device, floating ones in its type; integers stay what they are."""
    device, dtype = device_of(model), type_of(model)

    def fit(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    return mapped(fit, inputs)


def runnable(model: nn.Module, inputs: Inputs) -> Inputs:
    """Inputs as they are, or integers as floating numbers where the model cannot run on integers.

    Token numbers stay integers, as the model can run on them; pixels and counts that go into
    a linear layer do not.
    """
    if not isinstance(inputs, Tensor) or inputs.is_floating_point() or inputs.is_complex():
        return inputs
    numbers, few = inputs.to(type_of(model) or torch.float32), slice(8)
    if not _runs(model, inputs[few]) and _runs(model, numbers[few]):
        return numbers
    return inputs


def reading_numbers(model: nn.Module) -> nn.Module:
    """Let a model of ours take integers as floating numbers from now on; its copies do, too."""
    model.register_forward_pre_hook(_as_numbers)
    return model


def _as_numbers(model: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    dtype = type_of(model) or torch.float32
    return tuple(each.to(dtype) if isinstance(each, Tensor) else each for each in args)


def _runs(model: nn.Module, inputs: Inputs) -> bool:
    try:
        logits_of(model, inputs)
    except DataError:
        return False
    return True


@torch.no_grad()
def logits_of(model: nn.Module, inputs: Inputs) -> Tensor:
    """Logits (N x K) of a model that returns a tensor, a tuple, or an output with `.logits`.

    Raises:
        DataError: Something else, another shape, or inputs that the model cannot run on.
    """
    inputs = fitted(inputs, model)
    samples = count(inputs)
    output = _logits_in(_run(model, inputs), type(model).__name__)
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


def _run(model: nn.Module, inputs: Inputs) -> Any:
    """What the model returns: what it raises is about its inputs, unless it is our own fault."""
    try:
        with _uncompiled():
            return _call(model, inputs)
    except TailcutError:
        raise
    except Exception as cause:
        if out_of_memory(cause) or _ours(cause):
            raise
        text = str(cause).strip().partition("\n")[0][:200].rstrip(".")
        raise DataError(
            f"{type(model).__name__} cannot run on {described(inputs)} "
            f"({type(cause).__name__}: {text})",
            wanted="inputs of the shape and type that the network was trained on",
            advice="Check what the loader yields; calling the network on one batch shows where",
        ) from cause


def _uncompiled() -> AbstractContextManager[Any]:
    """Compiled parts of a network run as they are written, or they would not call our hooks."""
    stance = getattr(torch.compiler, "set_stance", None)  # since torch 2.6
    return nullcontext() if stance is None else stance("force_eager")


def _ours(error: Exception) -> bool:
    """Whether it comes from what we do inside a forward pass."""
    frames = [
        frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return any(name.startswith("tailcut.network.") for name in frames[2:])


def described(inputs: Inputs) -> str:
    """Shape and type, for sentences."""
    if isinstance(inputs, Tensor):
        return f"inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}"
    parts = [f"{key} {tuple(each.shape)} {each.dtype}" for key, each in inputs.items()]
    return f"the inputs {', '.join(parts)}"


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
def on_input(listeners: Mapping[nn.Module, Callable[[Tensor], object]]) -> Iterator[None]:
    """Tell someone what each module receives, as its first argument, before it runs."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        listeners[module]((*args, *kwargs.values())[0])

    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module in listeners]
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
