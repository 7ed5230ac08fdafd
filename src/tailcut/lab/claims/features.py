"""What the head of a network receives of some samples, held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tailcut.lab.samples import Samples
from tailcut.network.batches import read
from tailcut.network.head import Head

Probe = dict[str, Any]
"""Plain values of one state of a network, as they stand in a JSON file."""


@dataclass(frozen=True, eq=False)
class Features:
    """What the head receives and what the labels are: N x D features, held in memory.

    Attributes:
        features_ND: Float32, on the CPU.
        logits_NK: Of the network's own head.
        given_N: Noisy labels.
        clean_N: True ones.
    """

    features_ND: Tensor
    logits_NK: Tensor
    given_N: Tensor
    clean_N: Tensor

    @classmethod
    def of(cls, network: nn.Module, head: Head, samples: Samples) -> Features:
        """One pass over some samples; samples of no class (open-set noise) are left out."""
        clean_N = samples.given if samples.clean is None else samples.clean
        inside_n = torch.nonzero(clean_N >= 0).flatten()
        samples = samples.rows(inside_n)
        parts = [
            [part.cpu() for part in head.features_and_logits(network, batch.inputs)]
            for batch in read(samples.loader(500))
        ]
        features_ND, logits_NK = (torch.cat(list(each)) for each in zip(*parts, strict=True))
        return cls(features_ND.float(), logits_NK.float(), samples.given, clean_N[inside_n])

    @property
    def flipped_N(self) -> Tensor:
        """Which labels are wrong."""
        return self.given_N != self.clean_N


def share_right(predicted_NR: Tensor, labels_N: Tensor) -> list[float]:
    """Accuracy of each column of predictions."""
    return (predicted_NR == labels_N[:, None]).double().mean(0).tolist()
