"""LIP and LASER: fewer singular triples of the head."""

from __future__ import annotations

import torch

from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Subject, linear


@baseline("LIP / LASER head", place=13)
def head_svd(subject: Subject) -> float:
    """LIP / LASER: the head's weight cut to its leading singular triples (2505.16159, 2312.13558).

    The rank by the holdout. Deviation: LIP's second step, label ambiguity purification, is
    not part of it.
    """
    weight_KD, bias_K = subject.parameters()
    left_KR, values_R, right_RD = torch.linalg.svd(weight_KD.double(), full_matrices=False)
    return subject.best(
        [
            linear((left_KR[:, :rank] * values_R[:rank]) @ right_RD[:rank], bias_K)
            for rank in range(1, len(values_R) + 1)
        ]
    )
