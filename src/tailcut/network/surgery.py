"""Fold a readout into a copy of the network, and prove that it is the same function."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tailcut._typing import Inputs
from tailcut.errors import HeadError
from tailcut.network.head import Head
from tailcut.network.modules import copied, inner, load_state, state_of
from tailcut.network.stream import evaluated, logits_of
from tailcut.numerics.readout import Readout


def folded(model: nn.Module, head: Head, weight_KD: Tensor, bias_K: Tensor | None) -> nn.Module:
    """A copy of the model with another head: same class, keys, shapes and dtypes.

    Args:
        model: Stays as it is.
        head: Where to write.
        weight_KD: New weight, any dtype; cast to the head's.
        bias_K: New bias; a head without one accepts only none, or zeros.

    Raises:
        HeadError: A bias for a head that has none.
    """
    if bias_K is not None and bias_K.any():
        require_bias(head)
    twin = copy.deepcopy(model)
    head.write(twin, weight_KD, bias_K)
    return twin


def require_bias(head: Head) -> None:
    """Refuse to fold a readout with a bias into a head without one.

    Raises:
        HeadError: A head without bias.
    """
    if not head.bias:
        raise HeadError(
            f"a bias to fold into the head {head.name!r}, which has none",
            wanted="a cut without a bias",
            advice='Use readout="project", which has an uncentred form for such heads',
        )


def equivalence(
    before: nn.Module, head: Head, readout: Readout, rank: int, after: nn.Module, inputs: Inputs
) -> float:
    """Largest difference between folded and explicitly projected logits, relative to the largest.

    Args:
        before: The network whose features the readout was fitted on.
        head: Its head.
        readout: What was folded.
        rank: At which rank.
        after: The folded network.
        inputs: Any batch.
    """
    features_ND, _ = head.features_and_logits(before, inputs)
    explicit_NK = readout.logits(features_ND, rank)
    folded_NK = logits_of(after, inputs).to(explicit_NK)
    return float((folded_NK - explicit_NK).abs().max() / explicit_NK.abs().max())


def changed_tensors(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """The tensors of `before` that `after` holds otherwise: all that an undo needs."""
    new = state_of(after)
    return {
        name: tensor.detach().cpu().clone()
        for name, tensor in state_of(before).items()
        if not torch.equal(tensor, new[name].to(tensor.device))
    }


def with_tensors(model: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """A copy of the model with some tensors of its state replaced, bit for bit."""
    twin = copied(model)
    load_state(twin, {**state_of(twin), **tensors})
    return twin


def ready(model: nn.Module) -> nn.Module:
    """A copy as it is measured: in evaluation mode, with the weights that it has there."""
    return evaluated(copied(model))


def like(model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """A copy of the model with another state: its device, flags and dtypes, ready to predict."""
    twin = ready(model)
    load_state(inner(twin), state)
    return twin
