"""Find the linear head of a network, and prove that it gives the logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from tailcut._typing import Inputs
from tailcut.errors import DataError, HeadError
from tailcut.network.batches import Batch
from tailcut.network.inputs import rows
from tailcut.network.own_weight import require_own_weight
from tailcut.network.stream import first_input, logits_of, on_input

_PROOF_SAMPLES = 8
Linear = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_AND = " + "
_LOOSEST = 0.02
"""Relative tolerance of the proof in half precision: wider, and any small layer would pass."""


@dataclass(frozen=True)
class Head:
    """Where a network turns features into logits: logits = W h + b.

    Two layers whose outputs are averaged are one head, whose features lie side by side.

    Attributes:
        name: Of the module, as in `model.named_modules()`; of two, with " + " between.
        width: D, of two together.
        classes: K.
        bias: Whether it has one.
    """

    name: str
    width: int
    classes: int
    bias: bool

    @property
    def names(self) -> list[str]:
        """Of its modules: one, or two."""
        return self.name.split(_AND)

    def modules(self, model: nn.Module) -> list[Linear]:
        """The head inside a model of this class."""
        found = [model.get_submodule(name) for name in self.names]
        return [module for module in found if isinstance(module, Linear)]

    def parameters(self, model: nn.Module) -> tuple[Tensor, Tensor | None]:
        """Weight (K x D) and bias (K,) of the head inside a model of this class."""
        modules = self.modules(model)
        weights = [each.weight.detach().flatten(1) for each in modules]
        biases = [each.bias.detach() for each in modules if each.bias is not None]
        if len(modules) == 1:
            return weights[0], biases[0] if biases else None
        bias_K = torch.stack(biases).mean(0) if biases else None
        return torch.cat(weights, 1) / 2, bias_K

    @torch.no_grad()
    def write(self, model: nn.Module, weight_KD: Tensor, bias_K: Tensor | None) -> None:
        """Put other parameters into the head of a model of this class, in the head's dtype."""
        modules = self.modules(model)
        widths = [each.weight.flatten(1).shape[1] for each in modules]
        parts = (len(modules) * weight_KD).split(widths, 1)
        for module, part in zip(modules, parts, strict=True):
            module.weight.copy_(part.reshape(module.weight.shape))
            if module.bias is not None and bias_K is not None:
                module.bias.copy_(bias_K)

    def features_and_logits(self, model: nn.Module, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """What the head receives (N x D), and the logits (N x K) of the model."""
        modules = self.modules(model)
        with ExitStack() as stack:
            seen = [stack.enter_context(first_input(module)) for module in modules]
            logits_NK = logits_of(model, inputs)
        for name, each in zip(self.names, seen, strict=True):
            if len(each) != 1:
                raise HeadError(
                    f"the head {name!r} ran {len(each)} times in one forward pass",
                    wanted="a head that runs once",
                    advice="Fold several crops or views of a sample into the batch instead",
                )
        # under autocast they are of another dtype
        received = [each[0].to(one.weight.dtype) for each, one in zip(seen, modules, strict=True)]
        if len(received) == 1:
            return self._rows(model, received[0], logits_NK), logits_NK
        for name, each, module in zip(self.names, received, modules, strict=True):
            if each.numel() != len(logits_NK) * module.weight[0].numel():
                raise _other_rows(name, each, logits_NK)
        return torch.cat([each.flatten(1) for each in received], 1), logits_NK

    def features_of(self, model: nn.Module, batches: Iterable[Batch]) -> Tensor:
        """What the head receives (N x D) from several batches, on the CPU."""
        return torch.cat([self.features_and_logits(model, b.inputs)[0].cpu() for b in batches])

    def _rows(self, model: nn.Module, received: Tensor, logits_NK: Tensor) -> Tensor:
        """One feature row a sample: of several positions, the one that gave the logits.

        Their mean may have given them too: W mean(h) + b is the mean of the outputs.
        """
        if received.shape == (len(logits_NK), self.width):
            return received
        if received.ndim > 2 and not isinstance(self.modules(model)[0], nn.Linear):
            received = received.flatten(2).transpose(1, 2)
        if received.numel() % (len(logits_NK) * self.width):
            raise _other_rows(self.name, received, logits_NK)
        received_NTD = received.reshape(len(logits_NK), -1, self.width)
        received_NTD = torch.cat([received_NTD, received_NTD.mean(1, keepdim=True)], 1)
        weight_KD, bias_K = self.parameters(model)
        outputs_NTK = nn.functional.linear(received_NTD, weight_KD, bias_K)
        distance_NT = (outputs_NTK - logits_NK[:, None]).abs().amax(2)
        rows_N = torch.arange(len(logits_NK), device=received.device)
        return received_NTD[rows_N, distance_NT.argmin(1)]


def _other_rows(name: str, received: Tensor, logits_NK: Tensor) -> HeadError:
    return HeadError(
        f"the head {name!r} received inputs of shape {tuple(received.shape)} for "
        f"{len(logits_NK)} samples",
        wanted="as many positions for each sample",
        advice="Wrap the model so that its last step is a linear layer on each sample",
    )


def find_head(model: nn.Module, inputs: Inputs) -> Head:
    """The Linear (or 1x1 convolution) whose output *is* the logits, proven on a few samples.

    Where there is none, two of them whose mean is.

    Every linear layer that runs is a candidate; the head is the one from whose captured
    input the model's own logits can be recomputed. No table of architectures is needed, and
    a network that only looks as if it ended in a linear layer is refused.

    Args:
        model: In evaluation mode.
        inputs: One batch.

    Raises:
        HeadError: No linear layer, none that gives the logits, one that runs twice, or one whose
            weight is not a parameter of its own.
        DataError: Logits that are not finite.
    """
    inputs = rows(inputs, slice(_PROOF_SAMPLES))
    ran, logits_NK = _layers_that_run(model, inputs)
    _require_finite(model, logits_NK)
    if not ran:
        raise HeadError(
            f"no linear layer runs in {type(model).__name__}",
            wanted="a network whose logits come from a Linear (or a 1x1 convolution)",
            advice="Pass the classifier itself rather than its backbone",
        )
    if logits_NK.shape[1] < 2:
        raise HeadError(
            f"{type(model).__name__} has one output",
            wanted="one logit for each class, two for yes and no",
            advice="Replace the last layer, of weight w and bias b, by a Linear with two outputs: "
            "weight torch.cat([0 * w, w]), bias torch.cat([0 * b, b])",
        )
    trials: dict[str, float | HeadError] = {}
    for head in (_as_head(model, name) for name in reversed(ran)):
        if head.classes == logits_NK.shape[1]:
            trials[head.name] = error = _error(head, model, inputs)
            if isinstance(error, float) and error <= _tolerance(logits_NK):
                return _with_own_weights(model, head)
    if pair := _averaged_pair(model, inputs, logits_NK, list(trials)):
        return _with_own_weights(model, pair)
    raise _no_head(model, logits_NK, trials)


def _with_own_weights(model: nn.Module, head: Head) -> Head:
    for name in head.names:
        require_own_weight(model, name)
    return head


def linear_layers(model: nn.Module) -> dict[str, Linear]:
    """Every Linear and convolution of a model by name, each module once."""
    return {name: each for name, each in model.named_modules() if isinstance(each, Linear)}


def _layers_that_run(model: nn.Module, inputs: Inputs) -> tuple[list[str], Tensor]:
    """Names of the layers that could be a head, as they first run, and the logits."""
    ran: list[str] = []
    listeners: dict[nn.Module, Callable[[Tensor], object]] = {
        layer: lambda _, name=name: ran.append(name)
        for name, layer in linear_layers(model).items()
        if isinstance(layer, nn.Linear) or (set(layer.kernel_size) == {1} and layer.groups == 1)
    }
    with on_input(listeners):
        logits_NK = logits_of(model, inputs)
    return list(dict.fromkeys(ran)), logits_NK


def _require_finite(model: nn.Module, logits_NK: Tensor) -> None:
    broken = int((~torch.isfinite(logits_NK)).any(1).sum())
    if broken:
        raise DataError(
            f"{type(model).__name__} gives NaN or infinite logits for {broken} of the first "
            f"{len(logits_NK)} samples",
            wanted="finite logits",
            advice="Look for broken inputs or weights, or for an overflow in half precision",
        )


def _as_head(model: nn.Module, name: str) -> Head:
    module = linear_layers(model)[name]
    classes, width = module.weight.flatten(1).shape
    return Head(name, width, classes, module.bias is not None)


def _error(head: Head, model: nn.Module, inputs: Inputs) -> float | HeadError:
    """Largest difference between the recomputed and the model's own logits, or why none."""
    try:
        features_ND, logits_NK = head.features_and_logits(model, inputs)
    except HeadError as error:
        return error
    recomputed_NK = nn.functional.linear(features_ND, *head.parameters(model))
    return float((recomputed_NK - logits_NK).abs().max())


def _tolerance(logits_NK: Tensor) -> float:
    """A few hundred roundings of the largest logit, in half precision a few."""
    relative = min(256 * torch.finfo(logits_NK.dtype).eps, _LOOSEST)
    return float(logits_NK.abs().max()) * relative + 1e-12


def _no_head(
    model: nn.Module, logits_NK: Tensor, trials: dict[str, float | HeadError]
) -> HeadError:
    name = type(model).__name__
    errors = {key: error for key, error in trials.items() if isinstance(error, float)}
    if not trials:
        return HeadError(
            f"no linear layer of {name} has {logits_NK.shape[1]} outputs, the number of its logits",
            wanted="a network whose logits come from a Linear (or a 1x1 convolution)",
            advice="Pass a classifier whose last step is linear",
        )
    for error in trials.values():
        if isinstance(error, HeadError) and not errors:
            return error
    closest = min(errors, key=lambda key: errors[key])
    return HeadError(
        f"the logits of {name} do not come from its linear layers: those recomputed from the "
        f"closest, {closest!r}, differ by up to {errors[closest]:.3g}",
        wanted="logits = W h + b, with h what that layer receives",
        advice=f"Wrap the model so that it returns the output of that layer; {_why(logits_NK)}",
    )


def _why(logits_NK: Tensor) -> str:
    """The likely reason why the outputs of a model are not those of a linear layer."""
    one = torch.ones((), device=logits_NK.device)
    if torch.allclose(logits_NK.float().sum(1), one, atol=1e-3):
        return "its outputs sum to 1, so it ends in a softmax: return the logits before it"
    if torch.allclose(logits_NK.float().exp().sum(1), one, atol=1e-3):
        return "its outputs are log-probabilities: return the logits before the log-softmax"
    if (logits_NK >= 0).all():
        return "no output is negative, as after a ReLU or a sigmoid: return what comes before it"
    return "the last step must be linear"


def _averaged_pair(
    model: nn.Module, inputs: Inputs, logits_NK: Tensor, names: list[str]
) -> Head | None:
    """Two layers whose mean output is the logits, as in distilled transformers."""
    for second, first in combinations(names, 2):
        parts = [_as_head(model, name) for name in (first, second)]
        if parts[0].bias == parts[1].bias:
            width = sum(part.width for part in parts)
            pair = Head(_AND.join((first, second)), width, parts[0].classes, parts[0].bias)
            error = _error(pair, model, inputs)
            if isinstance(error, float) and error <= _tolerance(logits_NK):
                return pair
    return None
