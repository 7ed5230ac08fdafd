"""Deep truncation: every linear layer is filtered in the spectrum of its own inputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tailcut._typing import Batches, Inputs
from tailcut.errors import DataError
from tailcut.network.attention import fused_attentions, on_projections
from tailcut.network.head import linear_layers, plain, sharers
from tailcut.network.stream import logits_of, on_input, read
from tailcut.numerics.checks import float64

Layer: TypeAlias = nn.Linear | nn.Conv2d | nn.MultiheadAttention
BatchNorm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
Filter: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(weight G x O x P, second moment of trace 1 G x P x P) -> filtered weight G x O x P."""

_PATCHES_PER_DIMENSION = 16
"""Input patches drawn for each layer, in multiples of its patch size P."""


class LayerMoments:
    """Uncentred second moments of the inputs of every linear layer, in one pass.

    For a Linear of the inputs themselves, for a Conv2d of its patches (P = in_channels /
    groups x kernel area), group by group: 1/m sum p p^T over a random sample of positions. The
    fused input projection of a self-attention counts as a Linear, by the attention's name.
    Products are taken in the layer's own dtype (in half precision float32), sums in float64: a
    filter only has to tell small directions from large ones, unlike the features' own tail.
    A layer whose weight is computed, or shared with another module, is left alone.

    Args:
        model: The untouched network, in evaluation mode.
        samples: How many samples the updates will bring in all.
        skip: Names of layers to leave alone (the head).
        seed: Of the positions drawn.
    """

    def __init__(
        self, model: nn.Module, samples: int, skip: Iterable[str] = (), seed: int = 0
    ) -> None:
        skip = set(skip)
        self.model, self.samples = model, samples
        self.attentions = fused_attentions(model)
        self.layers: dict[str, Layer] = {
            name: layer
            for name, layer in linear_layers(model).items()
            if name not in skip and plain(layer) and not sharers(model, layer)
        } | self.attentions
        self.grams: dict[str, Tensor] = {}
        self.generator = torch.Generator().manual_seed(seed)

    def update(self, inputs: Inputs) -> LayerMoments:
        """Add a batch and return self."""
        told: dict[nn.Module, Callable[[Tensor], None]] = {
            layer: partial(self._add, name)
            for name, layer in self.layers.items()
            if name not in self.attentions
        }
        with on_input(told), on_projections(self.attentions, self._add):
            logits_of(self.model, inputs)
        return self

    def second_GPP(self, name: str) -> Tensor:
        """Second moment of a layer's inputs, scaled to trace 1 in each group (G x P x P)."""
        gram_GPP = self.grams[name]
        trace_G = gram_GPP.diagonal(dim1=1, dim2=2).sum(1).clamp(min=torch.finfo().tiny)
        return gram_GPP / trace_G[:, None, None]

    def _add(self, name: str, received: Tensor) -> None:
        if name not in self.layers:  # the output projection of an attention may be one of those
            return
        layer, samples = self.layers[name], len(received)
        width = _weight(layer)[0].numel()
        wanted = -(-_PATCHES_PER_DIMENSION * width * samples // self.samples)
        patches_GMP = _draw_patches(layer, received.detach(), wanted, self.generator)
        patches_GMP = patches_GMP.to(torch.promote_types(patches_GMP.dtype, torch.float32))
        gram_GPP = float64(patches_GMP.transpose(1, 2) @ patches_GMP)
        self.grams[name] = self.grams[name] + gram_GPP if name in self.grams else gram_GPP


def truncated_copy(
    model: nn.Module, moments: LayerMoments, strength: float, batches: Batches
) -> nn.Module:
    """A copy with every layer softly truncated and its BatchNorm statistics taken anew.

    Args:
        model: The untouched network; an infinite strength returns it as it is.
        moments: Taken on it.
        strength: See `soft`.
        batches: Training inputs for the BatchNorm statistics; their labels are not used.
    """
    if math.isinf(strength):
        return model
    twin = copy.deepcopy(model)
    truncate_layers(twin, moments, soft(strength))
    reestimate_batchnorm(twin, batches)
    return twin


def truncate_layers(model: nn.Module, moments: LayerMoments, filtered: Filter) -> None:
    """Filter, in place, every layer whose inputs were seen.

    Each weight becomes W V diag(phi) V^T with V the directions of the layer's inputs; biases
    stay, as the moments are uncentred (SAP: Kodge et al., AAAI 2025).

    Args:
        model: A copy of the network the moments were taken on.
        moments: Of the *untouched* network; measured better than layer by layer.
        filtered: `soft(strength)` or `hard(share)`.
    """
    for name in moments.grams:
        layer = moments.layers[name]
        weight, groups = _weight(layer), getattr(layer, "groups", 1)
        second_GPP = moments.second_GPP(name)
        weight_GOP = float64(weight.detach()).reshape(groups, -1, len(second_GPP[0]))
        target = _weight(model.get_submodule(name))
        with torch.no_grad():
            target.copy_(filtered(weight_GOP, second_GPP).reshape(target.shape))


def soft(strength: float) -> Filter:
    """phi(s) = a s / ((a - 1) s + 1), s the share of a direction: 1 for s = 1, a s in the tail.

    SAP's scaling, a ridge filter with penalty about 1/a. As phi is rational, no
    eigendecomposition is needed: W phi(C) = a W C ((a - 1) C + I)^-1, one Cholesky solve.

    Args:
        strength: a; *smaller* cuts more, infinity leaves the layer as it is.
    """

    def filtered(weight_GOP: Tensor, second_GPP: Tensor) -> Tensor:
        eye_PP = torch.eye(second_GPP.shape[1], dtype=second_GPP.dtype, device=second_GPP.device)
        factor_GPP = torch.linalg.cholesky((strength - 1) * second_GPP + eye_PP)
        kept_GOP = strength * weight_GOP @ second_GPP
        return torch.cholesky_solve(kept_GOP.transpose(1, 2), factor_GPP).transpose(1, 2)

    return filtered


def hard(share: float) -> Filter:
    """phi keeps the fewest leading directions that hold `share` of the second moment.

    Args:
        share: 0..1 of the trace; 1 leaves the layer as it is on the inputs seen.
    """

    def filtered(weight_GOP: Tensor, second_GPP: Tensor) -> Tensor:
        shares_GP, basis_GPP = torch.linalg.eigh(second_GPP)
        dropped_GP = shares_GP.clamp(min=0).cumsum(1) < (1 - share) - 1e-12
        kept_GPP = basis_GPP * (~dropped_GP)[:, None, :]
        return weight_GOP @ kept_GPP @ basis_GPP.transpose(1, 2)

    return filtered


@torch.no_grad()
def reestimate_batchnorm(model: nn.Module, loader: Batches) -> bool:
    """Replace, in place, BatchNorm's running statistics by averages over a loader.

    Everything but BatchNorm stays in evaluation mode (no dropout); the average is plain, each
    batch counting the same (momentum None). Batches of one sample are passed over, as they
    have no variance.

    Args:
        model: In evaluation mode.
        loader: Training inputs; their labels are not used.

    Returns:
        Whether there was any BatchNorm with running statistics.

    Raises:
        DataError: No batch of two samples or more.
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, BatchNorm) and module.track_running_stats
    ]
    if not norms:
        return False
    read_any = False
    with _averaging(norms):
        for batch in read(loader):
            if len(batch) > 1:
                read_any = True
                logits_of(model, batch.inputs)
    if not read_any:
        raise DataError(
            "batches of one sample each, for BatchNorm statistics",
            wanted="a batch of two samples or more",
            advice="Raise the loader's batch size",
        )
    return True


@contextmanager
def _averaging(norms: Iterable[BatchNorm]) -> Iterator[None]:
    """Running statistics start anew, and become plain averages of those of every batch."""
    momenta = {norm: norm.momentum for norm in norms}
    for norm in momenta:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
            norm.eval()


def _weight(layer: nn.Module) -> Tensor:
    """The weight that is filtered (O x P, or as a convolution has it)."""
    fused = isinstance(layer, nn.MultiheadAttention)
    weight = layer.in_proj_weight if fused else layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _draw_patches(layer: Layer, inputs: Tensor, wanted: int, generator: torch.Generator) -> Tensor:
    """About `wanted` inputs of a layer, drawn with replacement if there are more: G x M x P."""
    if not isinstance(layer, nn.Conv2d):
        return _draw(inputs.reshape(-1, inputs.shape[-1]), wanted, generator).unsqueeze(0)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = nn.functional.pad(inputs, _padding(layer), mode=mode)
    for axis in (0, 1):
        span = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        padded = padded.unfold(2 + axis, span, layer.stride[axis])
    windows = padded[..., :: layer.dilation[0], :: layer.dilation[1]]
    windows = windows.permute(0, 2, 3, 1, 4, 5)
    patches = _draw(windows, wanted, generator, axes=3)
    return patches.reshape(len(patches), layer.groups, -1).transpose(0, 1)


def _padding(layer: nn.Conv2d) -> list[int]:
    """Left, right, top, bottom."""
    if not isinstance(layer.padding, str):
        return [side for amount in reversed(layer.padding) for side in (amount, amount)]
    spare = layer.padding == "same"
    sizes = zip(reversed(layer.dilation), reversed(layer.kernel_size), strict=True)
    totals = [spare * dilation * (size - 1) for dilation, size in sizes]
    return [side for total in totals for side in (total // 2, total - total // 2)]


def _draw(rows: Tensor, wanted: int, generator: torch.Generator, axes: int = 1) -> Tensor:
    """Rows along the leading axes: all of them, or `wanted` drawn at random."""
    count = int(torch.Size(rows.shape[:axes]).numel())
    if count <= wanted:
        return rows.reshape(count, *rows.shape[axes:])
    picked = torch.randint(count, (wanted,), generator=generator)
    places = torch.unravel_index(picked.to(rows.device), rows.shape[:axes])
    return rows[places]
