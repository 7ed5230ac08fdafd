"""Figures of one study, read off its record."""

from __future__ import annotations

import numpy as np

from tailcut.lab.claims.features import Probe
from tailcut.lab.claims.record import Record

_MISSED = 0.2
"""How far the best epoch or rank is missed, up and down."""


def cut_by_holdout(record: Record) -> float:
    """Test accuracy of the own head at the rank that is best on the noisy holdout."""
    own = own_head(record)
    return own["test"][int(np.argmax(own["holdout"]))]


def best_cut(record: Record) -> float:
    """Test accuracy of the own head at the rank that is best on test, which nobody knows."""
    return max(own_head(record)["test"])


def repaired(record: Record) -> float:
    """Test accuracy after the repair of a study that has one."""
    assert record.repair is not None
    return record.repair["after"]


def still_repeated(record: Record) -> float:
    """Share of wrong training labels that the own head repeats at the rank best by test."""
    own = own_head(record)
    return own["flipped given"][int(np.argmax(own["test"]))]


def cost_of_rank(record: Record) -> float:
    """Accuracy lost where the best rank is missed by a fifth, up and down on average."""
    ranks, accuracies = record.probes[-1]["ranks"], own_head(record)["test"]
    return _cost(ranks, accuracies)


def cost_of_epoch(record: Record) -> float:
    """Accuracy lost where the best epoch is missed by a fifth, up and down on average."""
    epochs = record.epochs
    return _cost([each.epoch for each in epochs], [each.test for each in epochs])


def _cost(places: list[int], accuracies: list[float]) -> float:
    """Between measured places the accuracy is taken to be linear in the logarithm."""
    best = int(np.argmax(accuracies))
    missed = np.log([places[best] * (1 - _MISSED), places[best] * (1 + _MISSED)])
    return accuracies[best] - float(np.interp(missed, np.log(places), accuracies).mean())


def last_accuracy(record: Record) -> float:
    """On the true test labels, after the last epoch."""
    return record.last


def first_probe(record: Record) -> Probe:
    """Of the untrained network."""
    return record.probes[0]


def first_index(record: Record) -> float:
    """Segregation index of the untrained network."""
    return first_probe(record)["segregation"]["index"]


def used_width(probe: Probe) -> float:
    """Effective rank over width."""
    return probe["effective_rank"] / probe["width"]


def last_segregation(record: Record, name: str) -> float:
    """A figure of the segregation after the last epoch."""
    return record.probes[-1]["segregation"][name]


def change_of_segregation(record: Record, name: str) -> float:
    """From the first trained epoch to the last."""
    return last_segregation(record, name) - record.probes[1]["segregation"][name]


def own_head(record: Record) -> Probe:
    """The network's own head at every rank, after the last epoch."""
    return record.probes[-1]["own"]


def true_probe(record: Record) -> float:
    """Test accuracy of a probe fitted to the true labels in all directions."""
    return record.probes[-1]["true"]["leading"]["test"][-1]


def share_of(record: Record, reached: float, best: float) -> float:
    """Of the gap between the last epoch and something better; at least a point is taken."""
    return (reached - record.last) / max(best - record.last, 0.01)


def place_of_classes(probe: Probe) -> int:
    """Of the measured rank next to ten, the number of classes, with a tail behind it."""
    return int(np.argmin([abs(rank - 10) for rank in probe["ranks"][:-1]]))


def tail_minus_leading(record: Record) -> float:
    """Wrong labels predicted by a probe of the tail, less those of the leading directions."""
    probe = record.probes[-1]
    place, given = place_of_classes(probe), probe["given"]
    return given["tail"]["flipped given"][place] - given["leading"]["flipped given"][place]
