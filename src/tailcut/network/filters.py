"""Deep truncation: every linear layer is filtered by the moments of its own inputs."""

from __future__ import annotations

import copy
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tailcut._typing import Batches, Inputs
from tailcut.errors import DataError
from tailcut.network.attention import fused_attentions, on_projections
from tailcut.network.batches import read
from tailcut.network.head import linear_layers, plain, sharers
from tailcut.network.stream import logits_of, on_input
from tailcut.numerics.checks import float64

Layer: TypeAlias = nn.Linear | nn.Conv2d | nn.MultiheadAttention
BatchNorm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm

_PATCHES_PER_DIMENSION = 16
"""Input patches drawn for each layer, in multiples of its patch size P."""

_FLOOR = 1e-7
"""Of the white part of a filter: what float32 products leave of directions without input."""


@dataclass(frozen=True)
class Filter:
    """What every layer keeps of its inputs: W <- W S ((1 - 1/a) S + I/a + b N)^-1.

    S is the second moment of the layer's inputs, of trace 1, and N that of what noise in the
    network's input changes about them, in the same unit. Biases stay, as the moments are
    uncentred. A rational filter needs no eigendecomposition: it is one Cholesky solve.

    Attributes:
        strength: a, at least 1; *smaller* cuts more, infinity does not. Alone it is SAP's
            scaling a s / ((a - 1) s + 1) of a direction with share s, a ridge filter with
            penalty about 1/a (Kodge et al., AAAI 2025).
        denoising: b; larger cuts more, 0 does not. Alone, with b = 1, it is the Wiener filter:
            of all linear maps of the noisy inputs that which is nearest to W p in the mean square.
    """

    strength: float = math.inf
    denoising: float = 0.0

    def __str__(self) -> str:
        parts = [] if math.isinf(self.strength) else [f"truncated at {self.strength:g}"]
        if self.denoising:
            parts.append(f"denoised at {self.denoising:g}")
        return f"all layers {' and '.join(parts)}" if parts else ""

    def __call__(self, weight_GOP: Tensor, second_GPP: Tensor, noise_GPP: Tensor) -> Tensor:
        """The weight (G x O x P, float64) that this filter makes of one."""
        white = max(1 / self.strength, _FLOOR)
        eye_PP = torch.eye(second_GPP.shape[1], dtype=second_GPP.dtype, device=second_GPP.device)
        total_GPP = (1 - white) * second_GPP + white * eye_PP + self.denoising * noise_GPP
        kept_GPO = (weight_GOP @ second_GPP).transpose(1, 2)
        solved_GPO = torch.cholesky_solve(kept_GPO, torch.linalg.cholesky(total_GPP))
        return solved_GPO.transpose(1, 2)


UNTOUCHED = Filter()
"""The filter that leaves every layer as it is."""


class LayerMoments:
    """Uncentred second moments of the inputs of every linear layer, and of what noise changes.

    For a Linear of the inputs themselves, for a Conv2d of its patches (P = in_channels /
    groups x kernel area), group by group: 1/m sum p p^T over a random sample of positions, and
    1/m sum (q - p)(q - p)^T with q what the layer receives there once there is noise in the
    network's input. The fused input projection of a self-attention counts as a Linear, by the
    attention's name.
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
        self.noise_grams: dict[str, Tensor] = {}
        self.generator = torch.Generator().manual_seed(seed)

    def update(self, inputs: Inputs, noisy: Inputs | None = None) -> LayerMoments:
        """Add a batch and return self.

        Args:
            inputs: Of the network.
            noisy: The same with noise. A layer that then receives something of another shape,
                as where inputs choose their way, counts as one that noise does not change.
        """
        held: dict[str, deque[Tensor]] = defaultdict(deque)

        def add(name: str, patches_GMP: Tensor) -> None:
            self._add(self.grams, name, patches_GMP)
            if noisy is not None:
                held[name].append(patches_GMP.clone())  # what follows may work in place

        def compare(name: str, patches_GMP: Tensor) -> None:
            before_GMP = held[name].popleft() if held[name] else None
            if before_GMP is not None and before_GMP.shape == patches_GMP.shape:
                self._add(self.noise_grams, name, patches_GMP - before_GMP)

        start = self.generator.get_state()
        self._pass(inputs, add)
        if noisy is not None:
            self.generator.set_state(start)  # the same positions again
            self._pass(noisy, compare)
        return self

    def second_GPP(self, name: str) -> Tensor:
        """Second moment of a layer's inputs, scaled to trace 1 in each group (G x P x P)."""
        return self.grams[name] / self._scale_G(name)[:, None, None]

    def noise_GPP(self, name: str) -> Tensor:
        """Second moment of what noise changes about them, in the same unit; 0 without noise."""
        if name not in self.noise_grams:
            return torch.zeros_like(self.grams[name])
        return self.noise_grams[name] / self._scale_G(name)[:, None, None]

    def _scale_G(self, name: str) -> Tensor:
        trace_G = self.grams[name].diagonal(dim1=1, dim2=2).sum(1)
        return torch.where(trace_G > 0, trace_G, 1)

    def _pass(self, inputs: Inputs, told: Callable[[str, Tensor], None]) -> None:
        """Tell of the patches (G x M x P) that each layer receives, call by call."""

        def receive(name: str, received: Tensor) -> None:
            if name in self.layers:  # the output projection of an attention may be none of those
                told(name, self._patches(self.layers[name], received))

        hooks: dict[nn.Module, Callable[[Tensor], None]] = {
            layer: partial(receive, name)
            for name, layer in self.layers.items()
            if name not in self.attentions
        }
        with on_input(hooks), on_projections(self.attentions, receive):
            logits_of(self.model, inputs)

    def _patches(self, layer: Layer, received: Tensor) -> Tensor:
        width, samples = _weight(layer)[0].numel(), len(received)
        wanted = -(-_PATCHES_PER_DIMENSION * width * samples // self.samples)
        patches_GMP = _draw_patches(layer, received.detach(), wanted, self.generator)
        return patches_GMP.to(torch.promote_types(patches_GMP.dtype, torch.float32))

    @staticmethod
    def _add(grams: dict[str, Tensor], name: str, patches_GMP: Tensor) -> None:
        gram_GPP = float64(patches_GMP.transpose(1, 2) @ patches_GMP)
        grams[name] = grams[name] + gram_GPP if name in grams else gram_GPP


def truncated_copy(
    model: nn.Module, moments: LayerMoments, chosen: Filter, batches: Batches
) -> nn.Module:
    """A copy with every layer filtered and its BatchNorm statistics taken anew.

    Args:
        model: The untouched network; the idle filter returns it as it is.
        moments: Taken on it.
        chosen: The filter.
        batches: Training inputs for the BatchNorm statistics; their labels are not used.
    """
    if chosen == UNTOUCHED:
        return model
    twin = copy.deepcopy(model)
    truncate_layers(twin, moments, chosen)
    reestimate_batchnorm(twin, batches)
    return twin


def truncate_layers(model: nn.Module, moments: LayerMoments, chosen: Filter) -> None:
    """Filter, in place, every layer whose inputs were seen.

    Args:
        model: A copy of the network the moments were taken on.
        moments: Of the *untouched* network; measured better than layer by layer.
        chosen: The filter.
    """
    for name in moments.grams:
        layer = moments.layers[name]
        weight, groups = _weight(layer), getattr(layer, "groups", 1)
        second_GPP, noise_GPP = moments.second_GPP(name), moments.noise_GPP(name)
        weight_GOP = float64(weight.detach()).reshape(groups, -1, second_GPP.shape[1])
        target = _weight(model.get_submodule(name))
        with torch.no_grad():
            target.copy_(chosen(weight_GOP, second_GPP, noise_GPP).reshape(target.shape))


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
