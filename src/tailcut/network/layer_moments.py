"""Moments of what every layer of a network receives, and which of its layers can be filtered."""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from tailcut._typing import Inputs
from tailcut.network.bare import BareWeight, bare_weights
from tailcut.network.calls import Call, on_call
from tailcut.network.inputs import count, rows
from tailcut.network.layer_statistics import LayerInputs, LayerStatistics
from tailcut.network.layers import Layer, Reading, Weight, layers_in
from tailcut.network.patches import draw, patches_wanted
from tailcut.network.proof import (
    FIXED,
    NO_PRODUCT,
    NOT_FINITE,
    matrices_in,
    obstacles,
    proven,
    strangers,
)
from tailcut.network.stream import logits_of
from tailcut.numerics.draws import torch_generator

_CHECKED, _OTHER = 8, 0.75
"""Samples that a copy of the network sees with all weights times another factor than 1."""


class LayerMoments(LayerStatistics):
    """Second moments of the inputs of every linear layer of a network, batch by batch.

    The fused input projection of a self-attention counts as a Linear, by the attention's name.
    No tensor is added to in place: what is read, or derived by `frozen`, stays as it was.
    P x P products are taken in the layer's own dtype (in half precision float32), sums in
    float64: a filter only has to tell small directions from large ones, unlike the features' own
    tail. Of wide layers, and where there are few samples, rows are held instead: at most 512,
    fewer where all layers together would need more than a GiB.
    A layer is left alone, and named with the reason, if recomputing what it gives from what it
    receives does not give the same in every call, or if its weight is computed or shared.

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
        self.model, self.samples, self.seen = model, samples, 0
        self.modules = layers_in(model)
        skipped = obstacles(model, self.modules) | strangers(model, self.modules)
        skipped = {name: why for name, why in skipped.items() if name not in skip}
        layers = {
            name: weight
            for name, weight in weights_of(self.modules).items()
            if name not in skip and name not in skipped
        }
        super().__init__(layers, skipped, {})
        self.bare: dict[str, BareWeight] = {}
        self._wanted: dict[str, int] = {}
        self.generator = torch_generator(seed, "patches")

    def frozen(self) -> LayerStatistics:
        """What is known so far; later updates do not change it."""
        return LayerStatistics(self._layers, self._skipped, self._inputs)

    def update(self, inputs: Inputs, noisy: Inputs | None = None) -> LayerMoments:
        """Add a batch and return self.

        Args:
            inputs: Of the network.
            noisy: The same with noise. A layer that then receives something of another shape,
                as where inputs choose their way, counts as one that noise does not change.
        """
        held: dict[str, deque[Tensor | None]] = defaultdict(deque)

        def add(name: str, patches_GMP: Tensor) -> None:
            known = self._inputs.get(name, LayerInputs())
            patches_GMP = patches_GMP.clone()  # what follows may work in place
            full = known.second.held >= self._wanted[name]
            self._inputs[name] = known if full else known.plus(patches_GMP)
            held[name].append(None if full else patches_GMP)

        def compare(name: str, patches_GMP: Tensor) -> None:
            before_GMP = held[name].popleft() if held[name] else None
            if before_GMP is not None and before_GMP.shape == patches_GMP.shape:
                changes_GMP = patches_GMP - before_GMP
                self._inputs[name] = self._inputs[name].plus_changes(changes_GMP)

        if not self.seen:
            self._add_bare_weights(rows(inputs, slice(_CHECKED)))
            self._require_following(rows(inputs, slice(_CHECKED)))
            shapes = {name: weight.matrix_GOP for name, weight in self._layers.items()}
            self._wanted = patches_wanted(shapes)
        start = self.generator.get_state()
        self._pass(inputs, add)
        if noisy is not None:
            self.generator.set_state(start)  # the same positions again
            self._pass(noisy, compare)
        self.seen += count(inputs)
        return self

    def _add_bare_weights(self, inputs: Inputs) -> None:
        """Count matrices that lie in no layer as layers where inputs are multiplied by them."""
        self.bare = bare_weights(self.model, self.modules, inputs)
        for name, layer in self.bare.items():
            home = name.removesuffix(layer.key).removesuffix(".")
            self._skipped.pop(home, None)
            others = {f"{home}.{key}".removeprefix(".") for key in matrices_in(layer.module)}
            self._skipped.update(dict.fromkeys(others - set(self.bare), NO_PRODUCT))
        self._skipped.update(obstacles(self.model, self.bare))
        for name, weight in weights_of(self.bare).items():
            if name not in self._skipped:
                self._layers[name] = weight

    def _require_following(self, inputs: Inputs) -> None:
        """Skip layers that are unlike their weight, or that stay alike when that is changed.

        As those that cache it, or standardise it.
        """
        twin = copy.deepcopy(self.model)
        modules, unlike = layers_in(twin), dict[str, str]()

        def check(name: str, call: Call) -> None:
            found = proven(modules[name], call)
            if isinstance(found, str):
                unlike.update({name + part: found for part in modules[name].weights()})

        hooks = {layer.module: partial(check, name) for name, layer in modules.items()}
        bare = {name: layer.inside(twin, name) for name, layer in self.bare.items()}
        modules |= bare
        with on_call(
            hooks, [(each.parameter, partial(check, name)) for name, each in bare.items()]
        ):
            logits_of(twin, inputs)
            as_it_is = dict(unlike)
            for name, weight in weights_of(modules).items():
                if name in self._layers:
                    weight.write(_OTHER * weight.matrix_GOP)
            logits_of(twin, inputs)
        for name in unlike:
            self._skip(name, as_it_is.get(name, FIXED))

    def _pass(self, inputs: Inputs, take: Callable[[str, Tensor], None]) -> None:
        """Tell of the patches (G x M x P) that each layer receives, call by call."""
        n = count(inputs)

        def watching(name: str, layer: Layer) -> Callable[[Call], None]:
            return lambda call: self._receive(name, layer, call, n, take)

        hooks = {
            layer.module: watching(name, layer)
            for name, layer in self.modules.items()
            if any(name + part in self._layers for part in layer.weights())
        }
        bare = [(layer.parameter, watching(name, layer)) for name, layer in self.bare.items()]
        with on_call(hooks, bare):
            logits_of(self.model, inputs)

    def _receive(
        self, name: str, layer: Layer, call: Call, n: int, take: Callable[[str, Tensor], None]
    ) -> None:
        readings = proven(layer, call)
        for part in layer.weights():
            full = name + part
            if full not in self._layers:
                continue
            if isinstance(readings, str):
                self._skip(full, readings)
                continue
            patches_GMP = self._patches(full, readings[part], n)
            if torch.isfinite(patches_GMP).all():
                take(full, patches_GMP)
            else:
                self._skip(full, NOT_FINITE)

    def _skip(self, name: str, why: str) -> None:
        if name in self._layers:
            for known in (self._layers, self._inputs):
                known.pop(name, None)
            self._skipped[name] = why

    def _patches(self, name: str, reading: Reading, n: int) -> Tensor:
        """As many as the batch's part of all samples asks for: G x M x P."""
        weight = self._layers[name]
        before, after = (
            self._wanted[name] * each // self.samples for each in (self.seen, self.seen + n)
        )
        drawn = draw(reading.rows.detach(), after - before, self.generator, axes=reading.axes)
        patches_MGP = drawn.reshape(len(drawn), weight.groups, weight.matrix_GOP.shape[2])
        return patches_MGP.transpose(0, 1).to(torch.promote_types(drawn.dtype, torch.float32))


def weights_of(layers: Mapping[str, Layer]) -> dict[str, Weight]:
    """Every weight of some layers by its full name."""
    return {
        name + part: weight
        for name, layer in layers.items()
        for part, weight in layer.weights().items()
    }
