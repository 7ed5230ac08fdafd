"""What modules are given and what they give, and calls that go past a module to its weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_OF_LAYERS = (functional.linear, functional.conv1d, functional.conv2d, functional.conv3d)
"""Functions of (input, weight, bias, ...)."""

_ATTENTION = functional.multi_head_attention_forward

_FROM_THE_LEFT = (torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)
"""Functions of (input, weight), which lies input first."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module: what it was given, and what it gave after all hooks.

    Attributes:
        args: By place.
        kwargs: By name.
        output: Anything.
        key: Of the parameter, where no module multiplied but a function did that was given it, as
            where three projections are fused; then `args` and `output` are those of the product.
        added: What was added there, in the place of a bias; None for nothing.
        transposed: Whether the parameter lies input first there.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    key: str | None = None
    added: Tensor | None = None
    transposed: bool = False

    @property
    def received(self) -> Any:
        """The first argument."""
        return (*self.args, *self.kwargs.values())[0]


Listener = Callable[[Call], object]
Listeners = Mapping[nn.Module, Listener]


@contextmanager
def on_call(listeners: Listeners, bare: Iterable[tuple[Tensor, Listener]] = ()) -> Iterator[None]:
    """Tell someone of every call of some modules, and of products with their weights elsewhere.

    Attention takes no fast path meanwhile: there torch calls no module inside an encoder, and
    with a padding mask hands its layers tensors that hooks cannot read.

    Args:
        listeners: By module.
        bare: Parameters whose products are reported wherever they are made.
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
        with _Products(listeners, bare, running):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()


class _Products(TorchFunctionMode):
    """Sees products with parameters of a module while that module does not run itself."""

    def __init__(
        self,
        listeners: Listeners,
        bare: Iterable[tuple[Tensor, Listener]],
        running: list[nn.Module],
    ) -> None:
        super().__init__()
        self.running = running
        self.known: dict[int, tuple[Listener, nn.Module | None, str]] = {
            id(parameter): (listener, module, key)
            for module, listener in listeners.items()
            for key, parameter in module.named_parameters(recurse=False)
        }
        self.known |= {id(parameter): (listener, None, "") for parameter, listener in bare}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        with self._inside_attention() if func is _ATTENTION else nullcontext():
            output = func(*args, **kwargs)
        if func in _OF_LAYERS:
            given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
            self._tell(given["weight"], given["input"], output, added=given.get("bias"))
        elif func in _FROM_THE_LEFT and len(args) == 2:
            self._tell(args[1], args[0], output, transposed=True)
        return output

    @contextmanager
    def _inside_attention(self) -> Iterator[None]:
        """See the projections that torch's attention makes: no mode sees inside what it sees."""
        linear = functional.linear

        def seen(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002 - as torch calls it
            output = linear(input, weight, bias)
            self._tell(weight, input, output, added=bias)
            return output

        functional.linear = seen
        try:
            yield
        finally:
            functional.linear = linear

    def _tell(self, weight: Tensor, received: Tensor, output: Tensor, **what: Any) -> None:
        if id(weight) in self.known:
            listener, module, key = self.known[id(weight)]
            if module is None or module not in self.running:
                listener(Call((received,), {}, output, key, **what))
