"""The controls of the claims: where an effect must be absent, and what was there."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from tailcut.lab.claims.features import Probe
from tailcut.lab.claims.measures import cut_by_holdout, place_of_classes
from tailcut.lab.claims.record import Record
from tailcut.lab.claims.results import Results
from tailcut.lab.claims.study import Study


def controls(results: Results) -> list[tuple[str, float, float]]:
    """What is looked at, its mean over the seeds and their standard deviation.

    Those of studies that are not there are left out. Accuracies are on true test
    labels, ranks the measured one next to the number of classes.
    """
    preset = results.preset
    rows: list[tuple[str, Study, Callable[[Record], float]]] = [
        ("true labels: paper's cut by the holdout minus last epoch", preset.clean(), _gained),
        ("random labels only: last epoch", preset.random(), lambda r: r.last),
        ("random labels only: probe on them, best rank", preset.random(), _best_probe),
        ("permuted labels: probe on them, all directions", preset.base, _permuted),
        ("given labels: probe on the leading directions", preset.base, _leading),
        ("given labels: probe on as many random directions", preset.base, _random_directions),
        ("given labels: probe with the leading directions removed", preset.base, _removed),
        ("untrained network: probe on given labels, best rank", preset.base, _untrained),
        ("raw inputs: probe on given labels, best rank", preset.pixels(), _best_probe),
    ]
    found = [
        (name, results.each(study, measured))
        for name, study, measured in rows
        if results.knows(study)
    ]
    return [(name, statistics.fmean(each), statistics.stdev(each)) for name, each in found]


def _probe(record: Record) -> Probe:
    return record.probes[-1]


def _gained(record: Record) -> float:
    return cut_by_holdout(record) - record.last


def _best_probe(record: Record) -> float:
    return max(_probe(record)["given"]["leading"]["test"])


def _untrained(record: Record) -> float:
    return max(record.probes[0]["given"]["leading"]["test"])


def _permuted(record: Record) -> float:
    return _probe(record)["permuted"][-1]


def _leading(record: Record) -> float:
    return _probe(record)["given"]["leading"]["test"][place_of_classes(_probe(record))]


def _random_directions(record: Record) -> float:
    return _probe(record)["random subspace"][place_of_classes(_probe(record))]


def _removed(record: Record) -> float:
    return _probe(record)["given"]["tail"]["test"][place_of_classes(_probe(record))]
