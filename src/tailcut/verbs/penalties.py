"""How clearly a candidate must lead to be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tailcut.network.filters import Filter
from tailcut.verbs.readouts import Candidate


def handicaps(candidates: Sequence[Candidate], gentle: Filter) -> Tensor:
    """By how many standard errors of their loss candidates must be better to be chosen.

    None for readouts fitted to all directions behind the gentle filter. Half of one for the
    network's own head, which was trained on the wrong labels. One behind the other filter,
    which the same jury has found. Two for fewer directions, of which there are many, and which
    hardly ever help once the labels are inferred (docs/LOG.md).
    """
    widest: dict[Candidate, int | None] = {}
    for each in candidates:
        widest[replace(each, rank=None)] = each.rank  # ranks ascend

    def handicap(each: Candidate) -> float:
        if each.rank != widest[replace(each, rank=None)]:
            return 2
        return 0.5 if each.readout in ("own head", "project") else float(each.filter != gentle)

    return torch.tensor([handicap(each) for each in candidates])
