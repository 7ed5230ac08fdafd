"""Views inside a network while it sees some inputs: noise on its embedding, its own dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from tailcut._typing import Inputs
from tailcut.errors import DataError
from tailcut.network.inputs import mapped, rows, tensors_of
from tailcut.network.stream import device_of, fitted, logits_of
from tailcut.network.tokens import MASK, token_ids
from tailcut.network.view import See, View

During = Callable[[nn.Module, Inputs, torch.Generator], AbstractContextManager[None]]
"""(network, what it is called with, CPU generator) -> what holds during that one call."""

_FEW = 2


@dataclass(frozen=True)
class InsideView(View):
    """A view that leaves the inputs, and perturbs what the network makes of them.

    Attributes:
        name: For tables.
        perturb: Leaves the inputs.
        during: What holds while the network sees them.
        applies: (network, inputs) -> whether it has what is perturbed.
        wanted: What it has to have, for messages.
    """

    during: During
    applies: Callable[[nn.Module, Inputs], bool]
    wanted: str

    @contextmanager
    def on(self, model: nn.Module, generator: torch.Generator) -> Iterator[See]:
        """See `View.on`. One seed is drawn for each batch, however often it is then seen.

        Raises:
            DataError: When a batch is to be seen by a network without what is perturbed.
        """
        seeds: Any = WeakIdKeyDictionary()  # seen tensors are known by identity while they live
        proven = False

        def see(inputs: Inputs) -> Inputs:
            nonlocal proven
            proven = proven or self.applies(model, inputs)
            if not proven:
                raise self._nothing_there(model)
            same = mapped(lambda each: each.view_as(each), fitted(inputs, model))
            seeds[_known_by(same)] = int(torch.randint(2**62, (), generator=generator))
            return same

        with _during_calls(model, self.during, seeds):
            yield see

    def _nothing_there(self, model: nn.Module) -> DataError:
        return DataError(
            f"{type(model).__name__} for the view {self.name!r}",
            wanted=self.wanted,
            advice="Choose other views, or pass a callable of (inputs, generator)",
        )


def unperturbed(inputs: Inputs, _generator: torch.Generator) -> Inputs:
    """The inputs as they are."""
    return inputs


def _known_by(inputs: Inputs) -> Tensor:
    ids = token_ids(inputs)
    return tensors_of(inputs)[0] if ids is None else ids


@contextmanager
def _during_calls(model: nn.Module, during: During, seeds: Any) -> Iterator[None]:
    """Calls of the network with a tensor that has a seed happen under `during`."""
    stack = ExitStack()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
        seed = next((seeds[each] for each in given if each in seeds), None)
        if seed is not None and module is model:
            inputs = kwargs or given[0]
            stack.enter_context(during(module, inputs, torch.Generator().manual_seed(seed)))

    def after(*_: object) -> None:
        stack.close()

    handles = [
        model.register_forward_pre_hook(before, with_kwargs=True, prepend=True),
        model.register_forward_hook(after, always_call=True),
    ]
    try:
        yield
    finally:
        stack.close()
        for handle in handles:
            handle.remove()


def embedding_noise(deviations: float) -> During:
    """Gaussian noise on what the network's embedding makes of the tokens, before positions.

    Args:
        deviations: In standard deviations of that output over all tokens that are no padding.
    """

    @contextmanager
    def during(model: nn.Module, inputs: Inputs, generator: torch.Generator) -> Iterator[None]:
        def add(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
            spread = _of_tokens(output, inputs).float().std(correction=0)
            drawn = torch.randn(output.shape, generator=generator).to(output)
            return output + (deviations * spread).to(output) * drawn

        with _on_embedding(model, inputs, add):
            yield

    return during


def _of_tokens(output: Tensor, inputs: Inputs) -> Tensor:
    """Rows of an embedding's output without those of padding, where that is known."""
    mask = inputs.get(MASK) if isinstance(inputs, Mapping) else None
    fits = mask is not None and mask.shape == output.shape[:-1] and bool((mask > 0).any())
    return output[mask > 0] if fits and mask is not None else output


@contextmanager
def _on_embedding(
    model: nn.Module, inputs: Inputs, change: Callable[..., Tensor | None]
) -> Iterator[None]:
    """Hook the embedding that is called with the token numbers, whatever others there are."""
    ids = token_ids(inputs)

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Any, output: Any) -> Tensor | None:
        received = (*args, *kwargs.values())[0]
        if ids is None or not isinstance(received, Tensor) or received.numel() != ids.numel():
            return None  # embeddings of positions may be called with a shape
        same = torch.equal(received.reshape(ids.shape), ids)
        return change(module, args, output) if same else None

    handles = [
        module.register_forward_hook(hook, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def embeds(model: nn.Module, inputs: Inputs) -> bool:
    """Whether the network has an embedding that is called with the token numbers."""
    reached: list[bool] = []
    few = fitted(rows(inputs, slice(_FEW)), model)
    if token_ids(few) is not None:
        with _on_embedding(model, few, lambda *_: reached.append(True)):
            logits_of(model, few)
    return bool(reached)


@contextmanager
def own_dropout(model: nn.Module, _inputs: Inputs, generator: torch.Generator) -> Iterator[None]:
    """The network's dropout modules at work, as in training (Gal & Ghahramani 2016).

    torch's random state and the mode of every module are as before afterwards.
    """
    resting = [module for module in dropouts(model) if not module.training]
    device, seed = device_of(model), generator.initial_seed()
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed all devices
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        for module in resting:
            module.training = True
        try:
            yield
        finally:
            for module in resting:
                module.training = False


def dropouts(model: nn.Module) -> list[nn.Module]:
    """The dropout modules of a network that would drop something."""
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    return [each for each in model.modules() if isinstance(each, kinds) and each.p > 0]
