"""The network's own head among the readouts: no direction is looked at, none is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tailcut._typing import Ranks
from tailcut.numerics.checks import float64


@dataclass(frozen=True, eq=False)
class OwnHead:
    """logits = W h + b, with what a readout offers; its only rank is D.

    Attributes:
        weight_KD: W.
        bias_K: b; None for a head without bias.
    """

    weight_KD: Tensor
    bias_K: Tensor | None
    name: ClassVar[str] = "own head"

    @property
    def max_rank(self) -> int:
        """D: all directions, also those in which the features do not vary."""
        return self.weight_KD.shape[1]

    def fold(self, rank: int) -> tuple[Tensor, Tensor | None]:
        """Weight and bias as they are."""
        del rank
        return self.weight_KD, self.bias_K

    def scaled(self, factor: float) -> OwnHead:
        """The same predictions with logits times a factor."""
        bias_K = None if self.bias_K is None else factor * self.bias_K
        return OwnHead(factor * self.weight_KD, bias_K)

    def logits(self, features_ND: Tensor, rank: int) -> Tensor:
        """Logits (N x K, float64)."""
        del rank
        logits_NK = float64(features_ND) @ float64(self.weight_KD).to(features_ND.device).T
        return logits_NK if self.bias_K is None else logits_NK + self.bias_K.to(logits_NK)

    def prefix_logits(self, features_ND: Tensor, ranks: Ranks = "all") -> Iterator[Tensor]:
        """Logits (N x 1 x K, float64): one rank."""
        del ranks
        yield self.logits(features_ND, self.max_rank)[:, None]

    def predictions(self, features_ND: Tensor, ranks: Ranks = "all") -> Tensor:
        """Predicted classes (N x 1)."""
        return torch.cat([part.argmax(2) for part in self.prefix_logits(features_ND, ranks)])
