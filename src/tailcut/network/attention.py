"""Attention with fused projections: what its two linear maps receive, which are no modules."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tailcut.network.head import sharers


def fused_attentions(model: nn.Module) -> dict[str, nn.MultiheadAttention]:
    """Attention by name whose query, key and value have one weight, its own parameter."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention)
        and "in_proj_weight" in dict(module.named_parameters(recurse=False))
        and not sharers(model, module)
    }


@contextmanager
def on_projections(
    attentions: Mapping[str, nn.MultiheadAttention], told: Callable[[str, Tensor], object]
) -> Iterator[None]:
    """Tell what the projections of every self-attention receive: N x tokens x width.

    For the attention called "a" the input of its `in_proj_weight` goes by "a", that of its
    output projection by "a.out_proj". The latter is what a twin puts out whose output
    projection is the identity. Attention to other tokens than its own is passed over.

    Args:
        attentions: By name.
        told: Receives a name and a tensor.
    """
    handles = [
        module.register_forward_pre_hook(_telling(name, module, told), with_kwargs=True)
        for name, module in attentions.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _telling(
    name: str, attention: nn.MultiheadAttention, told: Callable[[str, Tensor], object]
) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    twin, signature = _unprojected(attention), inspect.signature(attention.forward)

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = signature.bind(*args, **kwargs).arguments
        if given["query"] is given["key"] is given["value"]:
            for key, rows in (
                (name, given["query"]),
                (f"{name}.out_proj", twin(*args, **kwargs)[0]),
            ):
                told(key, rows if attention.batch_first else rows.transpose(0, 1))

    return hook


def _unprojected(attention: nn.MultiheadAttention) -> nn.MultiheadAttention:
    """A copy that returns the mixed values as they are."""
    twin = copy.deepcopy(attention)
    with torch.no_grad():
        twin.out_proj.weight.copy_(torch.eye(attention.embed_dim))
        if twin.out_proj.bias is not None:
            twin.out_proj.bias.zero_()
    return twin
