"""Second moments of what every layer of a network receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from tailcut.network.dual import Dual
from tailcut.network.layers import Weight
from tailcut.network.second_moment import SecondMoment


@dataclass(frozen=True)
class Coverage:
    """How many layers, the head aside, the filters reach.

    Attributes:
        filtered: Layers proven to be linear maps, in weights of their own.
        of: All layers.
        skipped: Why not the others, by name.
    """

    filtered: int
    of: int
    skipped: dict[str, str]

    @property
    def reasons(self) -> str:
        """Each reason once, with the first layer that it holds for, and how many others."""
        found: dict[str, list[str]] = {}
        for name, why in self.skipped.items():
            found.setdefault(why, []).append(name)
        others = {
            why: f" and {len(each) - 1} more" * (len(each) > 1) for why, each in found.items()
        }
        return "; ".join(f"{each[0]}{others[why]}: {why}" for why, each in found.items())

    def __str__(self) -> str:
        every = 0 < self.filtered == self.of
        return "all layers" if every else f"{self.filtered} of {self.of} layers"


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """What one layer receives, and what noise changes about it; adding gives another one.

    Attributes:
        second: Of the inputs.
        noise: Of what noise changes; None without any.
    """

    second: SecondMoment = field(default_factory=SecondMoment)
    noise: SecondMoment | None = None

    def plus(self, rows_GMP: Tensor) -> LayerInputs:
        """With more inputs, which the caller must not change later."""
        return replace(self, second=self.second.plus(rows_GMP))

    def plus_changes(self, rows_GMP: Tensor) -> LayerInputs:
        """With more of what noise changes."""
        return replace(self, noise=(self.noise or SecondMoment()).plus(rows_GMP))

    @cached_property
    def dual(self) -> Dual | None:
        """The way to filter while rows are held; None with a Gram matrix."""
        noise = self.noise or SecondMoment()
        if self.second.summed_GPP is not None or noise.summed_GPP is not None:
            return None
        return Dual(self.second.parts, noise.parts)

    @property
    def scarce(self) -> bool:
        """Whether noise is known from fewer than two rows for each input."""
        return self.noise is not None and self.noise.rows > 0 and self.second.scarce

    @property
    def second_GPP(self) -> Tensor:
        """Second moment of the inputs, scaled to trace 1 in each group (G x P x P)."""
        return self.second.gram_GPP / self._scale_G[:, None, None]

    @property
    def noise_GPP(self) -> Tensor:
        """Second moment of what noise changes about them, in the same unit; 0 without noise."""
        if self.noise is None:
            return torch.zeros_like(self.second.gram_GPP)
        return self.noise.gram_GPP / self._scale_G[:, None, None]

    @property
    def _scale_G(self) -> Tensor:
        trace_G = self.second.gram_GPP.diagonal(dim1=1, dim2=2).sum(1)
        return torch.where(trace_G > 0, trace_G, 1)


class LayerStatistics:
    """Uncentred second moments of the inputs of layers, and of what noise changes about them.

    For a Linear of the inputs themselves, for a convolution of its patches (P = in_channels /
    groups x kernel area), group by group: 1/m sum p p^T over a random sample of positions, and
    1/m sum (q - p)(q - p)^T with q what the layer receives there once there is noise in the
    network's input. There is nothing here that changes them; `LayerMoments` is the kind that
    grows, and what is read from it stays as it was.

    Args:
        layers: Weights that can be filtered, by name: those of the network itself.
        skipped: Why not the others, by name.
        inputs: What was received by name, of the layers that were called.
    """

    def __init__(
        self,
        layers: Mapping[str, Weight],
        skipped: Mapping[str, str],
        inputs: Mapping[str, LayerInputs],
    ) -> None:
        self._layers, self._skipped, self._inputs = dict(layers), dict(skipped), dict(inputs)

    @property
    def layers(self) -> Mapping[str, Weight]:
        """Weights that can be filtered, by name."""
        return dict(self._layers)

    @property
    def skipped(self) -> Mapping[str, str]:
        """Why other layers cannot be, by name."""
        return dict(self._skipped)

    @property
    def inputs(self) -> Mapping[str, LayerInputs]:
        """What was received, by name; of layers that were called."""
        return dict(self._inputs)

    @property
    def noisy(self) -> bool:
        """Whether noise was measured in any layer."""
        return any(each.noise is not None for each in self._inputs.values())

    @property
    def grams(self) -> Mapping[str, Tensor]:
        """Sum of p p^T (G x P x P, float64), by name: made for layers whose rows are held."""
        return {name: each.second.gram_GPP for name, each in self._inputs.items()}

    @property
    def noise_grams(self) -> Mapping[str, Tensor]:
        """Sum of (q - p)(q - p)^T (G x P x P, float64), by name; empty without noise."""
        return {
            name: each.noise.gram_GPP
            for name, each in self._inputs.items()
            if each.noise is not None
        }

    @property
    def coverage(self) -> Coverage:
        """Which layers are filtered, of those that the network has."""
        idle = {name: "it was never called" for name in self._layers if name not in self._inputs}
        skipped = self._skipped | idle
        return Coverage(len(self._inputs), len(self._inputs) + len(skipped), skipped)

    def second_GPP(self, name: str) -> Tensor:
        """Second moment of a layer's inputs, scaled to trace 1 in each group (G x P x P)."""
        return self._inputs[name].second_GPP

    def noise_GPP(self, name: str) -> Tensor:
        """Second moment of what noise changes about them, in the same unit; 0 without noise."""
        return self._inputs[name].noise_GPP
