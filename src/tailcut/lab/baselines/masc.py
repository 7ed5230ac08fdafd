"""MASC and VeLPIC: one subspace for each class."""

from __future__ import annotations

import torch
from torch import Tensor

from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Classifier, Subject, linear

_MASC_SHARES = (1, 0.75, 0.99)


@baseline("MASC, last layer", folds=False, place=11)
def masc(subject: Subject) -> float:
    """MASC: nearest class subspace by angle (Ketha & Ramaswamy 2025).

    argmax_c |P_c h| / |h| with P_c the leading uncentred directions of class c; of rank 1, or
    of 75 or 99 % of the energy, by the holdout. Last hidden layer only.
    """
    features_ND, given_N = subject.train_features
    bases = [directions(features_ND[given_N == k]) for k in range(subject.head.classes)]

    def classifier(share: float) -> Classifier:
        return lambda asked_ND: torch.stack(
            [
                (asked_ND.double() @ basis_DD[:, : _rank_of(energy_D, share)]).norm(dim=1)
                for energy_D, basis_DD in bases
            ],
            1,
        )

    return subject.best([classifier(share) for share in _MASC_SHARES])


@baseline("VeLPIC", place=12)
def velpic(subject: Subject) -> float:
    """VeLPIC: MASC of rank 1 as a linear head (Ketha & Ramaswamy 2025).

    logits_c = <h, v_c> with v_c the first uncentred direction of class c, turned so that the
    training features lie on its positive side on average; no bias.
    """
    features_ND, given_N = subject.train_features
    mean_D = features_ND.double().mean(0)
    rows: list[Tensor] = []
    for k in range(subject.head.classes):
        first_D = directions(features_ND[given_N == k])[1][:, 0]
        rows.append(first_D * (1 if first_D @ mean_D >= 0 else -1))
    return subject.accuracy(linear(torch.stack(rows), torch.zeros(len(rows))))


def directions(features_nD: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (D,), largest first, and uncentred directions (columns of D x D)."""
    features_nD = features_nD.double()
    energy_D, basis_DD = torch.linalg.eigh(features_nD.T @ features_nD)
    return energy_D.flip(0).clamp(min=0), basis_DD.flip(1)


def _rank_of(energy_D: Tensor, share: float) -> int:
    """1, or the fewest directions that hold a share of the energy."""
    if share == 1:
        return 1
    return 1 + int((energy_D.cumsum(0) < share * energy_D.sum()).sum())
