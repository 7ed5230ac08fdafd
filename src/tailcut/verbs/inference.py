"""Inference: the labels that readouts are fitted to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.numerics.crossfit import Folds
from tailcut.numerics.latent import Latent, Reading
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics
from tailcut.verbs.groundwork import Groundwork
from tailcut.verbs.viewing import fold_moments

ROUNDS = 4
"""Of inferring the true labels, where nobody can choose how many."""

MOST_ROUNDS = 8
"""Of inferring the true labels; the noise rate is best after so many (docs/LOG.md)."""

SELF_TRAINING = 2
"""Rounds of self-training: fewer leave memory in, more forget the rare (docs/LOG.md)."""

_TRIED = (1, ROUNDS)
_SELF_TRAINED = (0, ROUNDS)
"""Rounds of inference after which a readout is fitted, and after which self-training begins."""

_LET_GO, _SURE = 0.05, 0.9
"""Share of the labels let go of, and mean largest probability, that speak for self-training."""


@dataclass(frozen=True)
class Material:
    """The labels that a readout is fitted to.

    Attributes:
        rounds: Of inferring the true labels by expectation maximisation; 0 for those given.
        self_training: Rounds of self-training after them.
    """

    rounds: int = 0
    self_training: int = 0

    def __str__(self) -> str:
        parts = []
        if self.rounds:
            parts.append(f" on labels inferred in {_counted(self.rounds)}")
        if self.self_training:
            parts.append(f" after {_counted(self.self_training)} of self-training")
        return ",".join(parts)


GIVEN = Material()
"""The labels as they are given."""


@dataclass(frozen=True, eq=False)
class Inferred:
    """All training samples behind one filter, and their true labels inferred.

    Attributes:
        spectrum: Of the features.
        moments: Of the features; the last label set is the one to fit.
        readings: What each of the inferred labels say of the noise.
    """

    spectrum: Spectrum
    moments: dict[Material, Statistics]
    readings: dict[Material, Reading]

    @property
    def preferred(self) -> Material:
        """What to fit to where nobody can choose.

        Labels after self-training, if it lets clearly more of those given go: then features
        cling to them under the views, too. And if it can tell the classes apart for sure.
        """
        inferred = self.readings.get(Material(ROUNDS))
        trained = self.readings.get(Material(ROUNDS, SELF_TRAINING))
        if inferred is None or trained is None:
            return GIVEN
        let_go = trained.noise.rate - inferred.noise.rate
        trusted = let_go > _LET_GO and trained.sureness > _SURE
        return Material(ROUNDS, SELF_TRAINING if trusted else 0)


def infer(
    groundwork: Groundwork,
    model: nn.Module,
    train: Batches,
    *,
    fitted: bool,
    seed: int,
    step: Callable[[str], None],
) -> Inferred:
    """Take the moments of the views, or of the samples where there are none, and infer labels.

    Where no labels are to be fitted, or some class is too rare for its labels to be inferred,
    only the given ones are there.
    """
    survey, n = groundwork.survey, groundwork.survey.moments.n
    folds = fold_moments(model, survey.head, train, groundwork.views, n=n, seed=seed, step=step)
    step("true labels")
    whole = folds.whole()
    found = Inferred(Spectrum.of(whole), {GIVEN: whole}, {})
    if not fitted:
        return found
    evidence = groundwork.forgotten
    with suppress(DataError):
        half = folds.along(found.spectrum, half_rank(found.spectrum))
        states = (_to_choose_from if groundwork.jury else _unjudged)(half, evidence)
        for material, state in states:
            labels_NK = state.labels(0 if material.self_training else evidence)
            if not half.every_class_in(labels_NK):
                continue  # no readout can be fitted to labels of which a class has vanished
            found.moments[material] = folds.relabelled(whole, labels_NK)
            found.readings[material] = state.reading
    return found


def half_rank(spectrum: Spectrum) -> int:
    """Half of the directions: what true labels are inferred with."""
    return max(1, spectrum.rank // 2)


def _to_choose_from(folds: Folds, evidence: float) -> Iterator[tuple[Material, Latent]]:
    """All states that a jury may choose from."""
    soft_NK = torch.nn.functional.one_hot(folds.given_N, folds.classes).double()
    states = folds.latents(ROUNDS, evidence)
    for rounds in range(ROUNDS + 1):
        if rounds:
            state = next(states)
            soft_NK = state.labels(evidence)
            if rounds in _TRIED:
                yield Material(rounds), state
        if rounds in _SELF_TRAINED and folds.every_class_in(soft_NK):
            trained = folds.self_trained(soft_NK, SELF_TRAINING)
            yield Material(rounds, SELF_TRAINING), trained


def _unjudged(folds: Folds, evidence: float) -> Iterator[tuple[Material, Latent]]:
    """What `Inferred.preferred` may prefer."""
    *_, inferred = folds.latents(ROUNDS, evidence)
    yield Material(ROUNDS), inferred
    soft_NK = inferred.labels(evidence)
    if folds.every_class_in(soft_NK):
        yield Material(ROUNDS, SELF_TRAINING), folds.self_trained(soft_NK, SELF_TRAINING)


def _counted(rounds: int) -> str:
    return "one round" if rounds == 1 else f"{rounds} rounds"
