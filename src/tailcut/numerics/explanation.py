"""The label noise that explains held-out labels best, for each candidate its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tailcut.numerics.checks import float64

_START = 0.4
"""Share of wrong labels to begin with; 0.2 and 0.6 choose the same (docs/LOG.md)."""

_TURNS = 10
"""Of maximisation; 30 choose the same (docs/LOG.md)."""

_EACH = 3
"""Turns between two searches for the temperature."""

_TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)

_PRIOR = 10.0
"""Pseudo-labels of each true class, wrong as often as all are and as often for each other class.

With 50 labels of a class its own row mostly follows from them, with 5 by the average of all.
"""


def own_noise(
    logits_NCK: Tensor, given_N: Tensor, start: float | Tensor = _START
) -> tuple[Tensor, Tensor]:
    """P(given | true) under which each candidate explains the labels best.

    Of greatest posterior for sum_n log sum_z softmax(logits_n / t)_z T[z, y_n], by expectation
    maximisation in T, the temperature t chosen on the way. The prior of a row is that of
    symmetric noise of the rate found so far, worth `_PRIOR` labels, and no class is given for
    another more often than for itself: classes keep their names. So a candidate that is sure of
    the true classes is not blamed for labels that contradict it in the way that noise does.

    Args:
        logits_NCK: Of C candidates on N samples whose labels they never saw.
        given_N: Those labels.
        start: Share of wrong labels to begin with, for each candidate or for all of them.

    Returns:
        T (C x K x K), and the share of labels that are wrong then (C,), 0..1.
    """
    logits_NCK = float64(logits_NCK)
    logits_NCK = (logits_NCK - logits_NCK.amax(2, keepdim=True)).nan_to_num(nan=0.0)
    given_N = given_N.to(logits_NCK.device)
    n, candidates, classes = logits_NCK.shape
    wrong_C = torch.as_tensor(start).to(logits_NCK).expand(candidates)
    transition_CKK, probabilities_NCK = _symmetric(wrong_C, classes), logits_NCK
    for turn in range(_TURNS):
        chances_NCK = transition_CKK[:, :, given_N].permute(2, 0, 1)
        if turn % _EACH == 0:
            probabilities_NCK = _at_best_temperature(logits_NCK, chances_NCK)
        posterior_NCK = probabilities_NCK * chances_NCK
        posterior_NCK /= posterior_NCK.sum(2, keepdim=True).clamp(min=torch.finfo().tiny)
        counts_CKK = torch.zeros_like(transition_CKK)
        counts_CKK.index_add_(2, given_N, posterior_NCK.permute(1, 2, 0))
        wrong_C = 1 - counts_CKK.diagonal(dim1=1, dim2=2).sum(1) / max(n, 1)
        counts_CKK += _PRIOR * _symmetric(wrong_C, classes)
        diagonal_CK = counts_CKK.diagonal(dim1=1, dim2=2)
        diagonal_CK.copy_(counts_CKK.amax(2))
        transition_CKK = counts_CKK / counts_CKK.sum(2, keepdim=True)
    return transition_CKK, wrong_C


def _symmetric(wrong_C: Tensor, classes: int) -> Tensor:
    """Rows of symmetric noise: 1 - e on the diagonal, e / (K - 1) beside it (C x K x K)."""
    wrong_C11 = wrong_C[:, None, None]
    eye_KK = torch.eye(classes, dtype=wrong_C.dtype, device=wrong_C.device)
    return (1 - wrong_C11) * eye_KK + wrong_C11 / (classes - 1) * (1 - eye_KK)


def _at_best_temperature(logits_NCK: Tensor, chances_NCK: Tensor) -> Tensor:
    """Probabilities of each candidate at the temperature under which labels are likeliest."""
    best_C = logits_NCK.new_full((logits_NCK.shape[1],), -math.inf)
    found_NCK = torch.empty_like(logits_NCK)
    for temperature in _TEMPERATURES:
        probabilities_NCK = (logits_NCK / temperature).softmax(2)
        likelihood_NC = (probabilities_NCK * chances_NCK).sum(2).clamp(min=torch.finfo().tiny)
        mean_C = likelihood_NC.log().mean(0)
        better_C = mean_C > best_C
        best_C = torch.where(better_C, mean_C, best_C)
        found_NCK = torch.where(better_C[:, None], probabilities_NCK, found_NCK)
    return found_NCK
