"""truncate: the paper's cut alone."""

from __future__ import annotations

from torch import nn

from tailcut.errors import HeadError
from tailcut.network.head import Head
from tailcut.network.modules import inner, network_in, state_of
from tailcut.network.stream import own_copy
from tailcut.network.surgery import folded, like
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum


def truncate(
    model: nn.Module, spectrum: Spectrum, rank: int, *, head: str | None = None
) -> nn.Module:
    """The paper's cut alone: the head behind the leading directions, folded into a copy.

    W' = W V_r V_r^T and b' = b + W (I - V_r V_r^T) mean (arXiv 2603.02293v1, later withdrawn,
    known by its abstract).

    Args:
        model: Stays as it is.
        spectrum: Of the features that its head receives; uncentred for a head without bias.
        rank: Directions to keep, 1..spectrum.rank.
        head: Name of the head; the last defined Linear of the spectrum's width if not given.

    Raises:
        HeadError: No such layer.
        DataError: A rank that the spectrum does not have, or no bias with a centred one.
    """
    model = network_in(model)
    twin = own_copy(inner(model))
    found = _head_of_width(twin, spectrum.width, head)
    readout = Readout.project(spectrum, *found.parameters(twin))
    return like(model, state_of(folded(twin, found, *readout.fold(rank))))


def _head_of_width(model: nn.Module, width: int, name: str | None) -> Head:
    linear = {
        each: module
        for each, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.in_features == width
    }
    wanted = next(reversed(linear), "") if name is None else name
    if wanted not in linear:
        text = "" if name is None else f" called {name!r}"
        raise HeadError(
            f"{type(model).__name__} has no linear layer{text} that reads {width} features",
            wanted="the head whose input features the spectrum describes",
            advice=f"Name it with head=...; of this width it has {', '.join(linear)}"
            if linear
            else "Pass the network that the spectrum was taken of",
        )
    module = linear[wanted]
    return Head(wanted, width, module.out_features, module.bias is not None)
