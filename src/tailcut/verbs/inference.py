"""Inference: all training samples behind one filter, and the labels to fit readouts to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.network.filters import Filter
from tailcut.numerics.crossfit import Folds
from tailcut.numerics.latent import Estimate, Latent
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics
from tailcut.verbs.preparation import Preparation
from tailcut.verbs.survey import Survey
from tailcut.verbs.targets import AS_THEY_ARE, GIVEN, Targets
from tailcut.verbs.viewing import fold_moments


@dataclass(frozen=True, eq=False)
class Inferred:
    """All training samples behind one filter, and their true labels inferred.

    Attributes:
        spectrum: Of the features.
        moments: Of the features, with the labels of each of the targets.
        estimates: Of the noise, by each of the inferred labels.
    """

    spectrum: Spectrum
    moments: dict[Targets, Statistics]
    estimates: dict[Targets, Estimate]


def infer(
    preparation: Preparation,
    behind: Filter,
    train: Batches,
    targets: Collection[Targets],
    *,
    seed: int,
    step: Callable[[str], None],
) -> Inferred:
    """Take the moments of the views, or of the samples where there are none, and infer labels.

    Where some class is too rare for its labels to be inferred, only the given ones are there.

    Args:
        preparation: What is settled before.
        behind: A filter.
        train: Read once.
        targets: Which labels to infer; the given ones are always there.
        seed: Of the views.
        step: Called with every batch.
    """
    survey, model = preparation.survey, preparation.network(behind)
    folds = fold_moments(
        model,
        survey.head,
        train,
        preparation.views,
        n=survey.moments.n,
        seed=seed,
        step=step,
    )
    step("true labels")
    whole = folds.whole()
    found = Inferred(Spectrum.of(whole), {GIVEN: whole}, {})
    evidence = preparation.forgotten
    with suppress(DataError):
        half = folds.along(found.spectrum, half_rank(found.spectrum))
        for each, state in states(half, evidence, targets):
            labels_NK = state.labels(0 if each.self_training else evidence)
            if not half.every_class_in(labels_NK):
                continue  # no readout can be fitted to labels of which a class has vanished
            found.moments[each] = folds.relabelled(whole, labels_NK)
            found.estimates[each] = state.estimate
    return found


def as_they_are(survey: Survey) -> Inferred:
    """The training samples without views, on the untouched network, with their given labels."""
    return Inferred(survey.spectrum, {AS_THEY_ARE: survey.moments.only("given")}, {})


def half_rank(spectrum: Spectrum) -> int:
    """Half of the directions: what true labels are inferred with."""
    return max(1, spectrum.rank // 2)


def states(
    folds: Folds, evidence: float, targets: Collection[Targets]
) -> Iterator[tuple[Targets, Latent]]:
    """The latent labels of each of the targets, but for the given ones.

    Args:
        folds: Of the features.
        evidence: See `Latent.labels`.
        targets: Which.
    """
    soft_NK = torch.nn.functional.one_hot(folds.given_N, folds.classes).double()
    most = max((each.rounds for each in targets), default=0)
    inferred = folds.latents(most, evidence) if most else iter(())
    for rounds in range(most + 1):
        state = next(inferred) if rounds else None
        soft_NK = soft_NK if state is None else state.labels(evidence)
        for each in targets:
            if each.rounds != rounds:
                continue
            if each.self_training and folds.every_class_in(soft_NK):
                yield each, folds.self_trained(soft_NK, each.self_training)
            elif state is not None and not each.self_training:
                yield each, state
