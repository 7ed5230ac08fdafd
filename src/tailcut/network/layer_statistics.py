"""Second moments of what every layer of a network receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.network.layers import Weight


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

    def __str__(self) -> str:
        every = 0 < self.filtered == self.of
        return "all layers" if every else f"{self.filtered} of {self.of} layers"


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
        grams: sum p p^T (G x P x P, float64) by name, of the layers that were called.
        noise_grams: sum (q - p)(q - p)^T, the same.
    """

    def __init__(
        self,
        layers: Mapping[str, Weight],
        skipped: Mapping[str, str],
        grams: Mapping[str, Tensor],
        noise_grams: Mapping[str, Tensor],
    ) -> None:
        self._layers, self._skipped = dict(layers), dict(skipped)
        self._grams, self._noise_grams = dict(grams), dict(noise_grams)

    @property
    def layers(self) -> Mapping[str, Weight]:
        """Weights that can be filtered, by name."""
        return dict(self._layers)

    @property
    def skipped(self) -> Mapping[str, str]:
        """Why other layers cannot be, by name."""
        return dict(self._skipped)

    @property
    def grams(self) -> Mapping[str, Tensor]:
        """Sum of p p^T (G x P x P, float64), by name; of layers that were called."""
        return dict(self._grams)

    @property
    def noise_grams(self) -> Mapping[str, Tensor]:
        """Sum of (q - p)(q - p)^T (G x P x P, float64), by name; empty without noise."""
        return dict(self._noise_grams)

    @property
    def coverage(self) -> Coverage:
        """Which layers are filtered, of those that the network has."""
        idle = {name: "it was never called" for name in self._layers if name not in self._grams}
        skipped = self._skipped | idle
        return Coverage(len(self._grams), len(self._grams) + len(skipped), skipped)

    def second_GPP(self, name: str) -> Tensor:
        """Second moment of a layer's inputs, scaled to trace 1 in each group (G x P x P)."""
        return self._grams[name] / self._scale_G(name)[:, None, None]

    def noise_GPP(self, name: str) -> Tensor:
        """Second moment of what noise changes about them, in the same unit; 0 without noise."""
        if name not in self._noise_grams:
            return torch.zeros_like(self._grams[name])
        return self._noise_grams[name] / self._scale_G(name)[:, None, None]

    def _scale_G(self, name: str) -> Tensor:
        trace_G = self._grams[name].diagonal(dim1=1, dim2=2).sum(1)
        return torch.where(trace_G > 0, trace_G, 1)
