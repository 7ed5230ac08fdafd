"""SAP: scaled activation projection of every layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Subject
from tailcut.network.batches import read
from tailcut.network.filters import Filter, truncate_layers
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.stream import own_copy

SAP_STRENGTHS = (1e4, 3e4, 1e5, 3e5, 1e6)
"""The paper's grid."""

_TRUSTED = 1000
"""Training samples of least loss, whose inputs tell the directions."""


@baseline("SAP", images_only=True, place=8)
def sap(subject: Subject) -> float:
    """SAP: scaled activation projection (Kodge et al., AAAI 2025).

    Every layer, the head too, is filtered by a s / ((a - 1) s + 1) in the directions of its
    inputs on the 1 000 training samples of least loss; no BatchNorm step. Deviation: patch
    moments come from a random draw of positions.
    """
    given = subject.train_features[1]
    weight_KD, bias_K = subject.parameters()
    logits_NK = subject.train_features[0] @ weight_KD.T + bias_K
    losses_N = torch.nn.functional.cross_entropy(logits_NK, given, reduction="none")
    trusted_N = torch.zeros(len(given), dtype=torch.bool)
    trusted_N[losses_N.argsort()[:_TRUSTED]] = True
    layers, place = LayerMoments(own_copy(subject.network), int(trusted_N.sum())), 0
    for batch in read(subject.train):
        trusted_n = trusted_N[place : place + len(batch)]
        place += len(batch)
        assert isinstance(batch.inputs, Tensor)
        if trusted_n.any():
            layers.update(batch.inputs[trusted_n])
    return subject.best_network(
        _truncated(subject.network, layers, strength) for strength in SAP_STRENGTHS
    )


def _truncated(network: nn.Module, moments: LayerMoments, strength: float) -> nn.Module:
    twin = own_copy(network)
    truncate_layers(twin, moments, Filter(strength))
    return twin
