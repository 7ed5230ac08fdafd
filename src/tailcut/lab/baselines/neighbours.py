"""Nearest neighbours among the training features."""

from __future__ import annotations

import torch

from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Subject

_NEIGHBOURS = 5


@baseline("5 nearest neighbours", folds=False, place=7)
def nearest_neighbours(subject: Subject) -> float:
    """Majority of the 5 nearest training features by cosine (as in Ketha & Ramaswamy 2025)."""
    features_ND, given_N = subject.train_features
    unit_ND = torch.nn.functional.normalize(features_ND)
    asked_ND, true_N = subject.test_features
    hits = 0
    for rows_n in torch.arange(len(asked_ND)).split(1000):
        near_nM = (asked_ND[rows_n] @ unit_ND.T).topk(_NEIGHBOURS).indices
        hits += int((given_N[near_nM].mode(1)[0] == true_N[rows_n]).sum())
    return hits / len(asked_ND)
