"""Explicit Spectral Truncation: the cut of the withdrawn paper, at every rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Subject
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum


@baseline("paper's cut", place=1)
def papers_cut(subject: Subject) -> float:
    """The own head behind the leading directions of the penultimate features, nothing else.

    Explicit Spectral Truncation as the abstract of arXiv 2603.02293v1 (later withdrawn) has
    it. How the rank is to be chosen, it does not say: here by the holdout.
    """
    return papers_choice(papers_curve(subject))


def papers_choice(curve: dict[str, list[Any]]) -> float:
    """Test accuracy of a `papers_curve` at the rank that is best on the holdout."""
    return curve["test"][int(np.argmax(curve["holdout"]))]


def papers_curve(subject: Subject) -> dict[str, list[Any]]:
    """The paper's cut at eight ranks an octave.

    Returns:
        `rank`, `holdout` (accuracy on held-out given labels) and `test` (on true ones).
    """
    readout = Readout.project(Spectrum.of(subject.moments), *subject.parameters())
    ranks = geometric_ranks(readout.max_rank, per_octave=8)
    found: dict[str, list[Any]] = {"rank": list(ranks)}
    for name, (features_ND, labels_N) in (
        ("holdout", subject.holdout_features),
        ("test", subject.test_features),
    ):
        predicted_NR = readout.predictions(features_ND, ranks)
        found[name] = (predicted_NR == labels_N[:, None]).double().mean(0).tolist()
    return found
