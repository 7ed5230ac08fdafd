"""Interclass confusion (Goel et al., TMLR 2024): what unlearning and a repair come to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.lab.baselines.registry import BASELINES
from tailcut.lab.baselines.ssd import forgotten
from tailcut.lab.baselines.subject import Subject
from tailcut.network.stream import accuracy

TOLD = 0.1
"""Share of the wrong labels that a developer is told of: enough for poison, the paper says."""


def corrective(
    own: Subject,
    repaired: nn.Module,
    two: Batches,
    clean_N: Tensor,
    rivals: Mapping[str, float],
) -> dict[str, dict[str, float]]:
    """Accuracy on all classes and on the two that were confused, by method.

    SSD on the audit's suspects is among the rivals; here it is also told which labels are wrong,
    which no user knows: all of them, or a tenth.

    Args:
        own: The network.
        repaired: By tailcut.
        two: Test batches of the confused classes.
        clean_N: True labels of the training samples.
        rivals: Accuracy of the others on all classes.
    """
    wrong_N = own.train_features[1] != clean_N
    told_N = torch.rand(len(wrong_N), generator=torch.Generator().manual_seed(0)) < TOLD
    networks = {
        "last epoch": own.network,
        "tailcut": repaired,
        "SSD told a tenth of the wrong labels": forgotten(own, wrong_N & told_N),
        "SSD told all wrong labels": forgotten(own, wrong_N),
    }
    subject = own.evaluated_on(two)
    theirs = {method: rival(subject) for method, rival in BASELINES.items()}
    return {
        "all classes": {name: accuracy(each, own.test) for name, each in networks.items()}
        | {method: rivals[method] for method in BASELINES if method in rivals},
        "confused classes": {name: accuracy(each, two) for name, each in networks.items()} | theirs,
    }
