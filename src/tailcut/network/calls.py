"""What modules are given and what they give, and calls that go past a module to its weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_PRODUCTS = (functional.linear, functional.conv1d, functional.conv2d, functional.conv3d)
"""Functions of (input, weight, bias, ...)."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module: what it was given, and what it gave after all hooks.

    Attributes:
        args: By place.
        kwargs: By name.
        output: Anything.
        past: Whether another module multiplied by this one's weight, as where three projections
            are fused; then `args` and `output` are those of the product.
        added: What was added there, in the place of a bias; None for nothing.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    past: bool = False
    added: Tensor | None = None

    @property
    def received(self) -> Any:
        """The first argument."""
        return (*self.args, *self.kwargs.values())[0]


Listeners = Mapping[nn.Module, Callable[[Call], object]]


@contextmanager
def on_call(listeners: Listeners) -> Iterator[None]:
    """Tell someone of every call of some modules, and of products with their weights elsewhere.

    Attention takes no fast path meanwhile: there torch calls no module inside an encoder, and
    with a padding mask hands its layers tensors that hooks cannot read.
    """
    running: list[nn.Module] = []

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        del args
        running.append(module)

    def leave(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        running.remove(module)
        listeners[module](Call(args, kwargs, output))

    fast = torch.backends.mha.get_fastpath_enabled()
    handles = [module.register_forward_pre_hook(enter) for module in listeners]
    handles += [module.register_forward_hook(leave, with_kwargs=True) for module in listeners]
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _Products(listeners, running):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()


class _Products(TorchFunctionMode):
    """Sees products with the weight of a module while that module does not run itself."""

    def __init__(self, listeners: Listeners, running: list[nn.Module]) -> None:
        super().__init__()
        self.listeners, self.running = listeners, running
        self.owners = {id(module._parameters.get("weight")): module for module in listeners}  # noqa: SLF001 - attributes may be computed
        self.owners.pop(id(None), None)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func in _PRODUCTS:
            given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
            owner = self.owners.get(id(given["weight"]))
            if owner is not None and owner not in self.running:
                call = Call((given["input"],), {}, output, past=True, added=given.get("bias"))
                self.listeners[owner](call)
        return output
