"""Inference: the labels that readouts are fitted to, and how the jury's labels are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.network.filters import Filter
from tailcut.numerics.latent import FoldMoments, Latent, Reading, relabelled
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.scores import Scores, standard_error_rule
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.groundwork import Groundwork
from tailcut.verbs.viewing import fold_moments

ROUNDS = 4
"""Of inferring the true labels, where nobody can choose how many."""

MOST_ROUNDS = 8
"""Of inferring the true labels; the noise rate is best after so many (docs/LOG.md)."""

SELF_TRAINING = 2
"""Rounds of self-training: fewer leave memory in, more forget the rare (docs/LOG.md)."""

_TRIED = (1, 2, 4, MOST_ROUNDS)
_SELF_TRAINED = (0, 2, 4)
_LET_GO, _SURE = 0.05, 0.9
"""Share of the labels let go of, and mean largest probability, that speak for self-training."""


Samples: TypeAlias = Literal["views", "as they are", "both"]


@dataclass(frozen=True)
class Material:
    """What a readout is fitted to: labels, and samples.

    Attributes:
        rounds: Of inferring the true labels by expectation maximisation; 0 for those given.
        self_training: Rounds of self-training after them.
        samples: "views" of them (as they are, where there are none), "as they are", or "both".
    """

    rounds: int = 0
    self_training: int = 0
    samples: Samples = "views"

    def __str__(self) -> str:
        parts = []
        if self.rounds:
            parts.append(f" on labels inferred in {_counted(self.rounds)}")
        if self.self_training:
            parts.append(f" after {_counted(self.self_training)} of self-training")
        if self.samples == "as they are":
            parts.append(" of samples as they are")
        return ",".join(parts)


GIVEN = Material()
"""Views of the samples, with the labels as they are given."""


@dataclass(frozen=True, eq=False)
class Inferred:
    """All training samples behind one filter, and their true labels inferred.

    Attributes:
        spectra: Of the features, by kind of samples.
        moments: Of the features; the last label set is the one to fit.
        readings: What each of the inferred labels, of views, say of the noise.
    """

    spectra: dict[Samples, Spectrum]
    moments: dict[Material, Moments]
    readings: dict[Material, Reading]


def infer(
    groundwork: Groundwork,
    model: nn.Module,
    train: Batches,
    *,
    fitted: bool,
    seed: int,
    step: Callable[[str], None],
) -> Inferred:
    """Take the moments and infer the labels, by views alone: there is less memory.

    With a jury readouts may be fitted to views, or, with labels that self-training has let go
    of, to samples as they are, which remember the given ones. Without a jury the last
    material, on both, is the one to fit. Where no labels are to be fitted, or some class
    is too rare for its labels to be inferred, only the given ones are there.
    """
    survey, views = groundwork.survey, groundwork.views
    groups = [views, []] if views else [[]]
    viewed, *plain = fold_moments(
        model, survey.head, train, groups, n=survey.moments.n, seed=seed, step=step
    )
    parts: dict[Samples, list[FoldMoments]] = {"views": [viewed]}
    if plain and groundwork.jury:
        parts["as they are"] = plain
    elif plain:
        parts["both"] = [viewed, *plain]
    step("true labels")
    wholes: dict[Samples, Moments] = {
        samples: Moments.merged([fold for part in each for fold in part.folds])
        for samples, each in parts.items()
    }
    spectra: dict[Samples, Spectrum] = {
        samples: Spectrum.of(whole) for samples, whole in wholes.items()
    }
    moments = {GIVEN: wholes["views"]}
    readings: dict[Material, Reading] = {}
    with suppress(DataError):
        if groundwork.jury:
            states = _to_choose_from(viewed, spectra["views"])
        else:
            states = _unjudged(viewed, spectra["views"])
        for material, state in states if fitted else ():
            readings[material] = state.reading
            labels_NK = state.probabilities_NK if material.self_training else state.posterior_NK
            for samples, whole in wholes.items():
                if samples != "as they are" or material.self_training:
                    fitting = relabelled(whole, parts[samples], labels_NK)
                    moments[replace(material, samples=samples)] = fitting
    return Inferred(spectra, moments, readings)


def reading_of(
    groundwork: Groundwork, features: Mapping[Filter, Tensor], inferred: Mapping[Filter, Inferred]
) -> Reading | None:
    """The noisiest reading that explains the jury's labels as well as any; None without any.

    Of those after the last round of inference and after self-training. Each is as good as the
    likelihood it gives the jury's labels by LDA on any labels behind any filter, at half of
    the ranks; within one standard error of the best, the noisiest is taken, since what the
    features remember of wrong labels only ever hides noise.

    Args:
        groundwork: With a jury.
        features: Of the jury behind each filter (N x D).
        inferred: By filter.
    """
    jury = groundwork.jury
    readings = [
        reading
        for each in inferred.values()
        for material, reading in each.readings.items()
        if material.self_training or material.rounds == MOST_ROUNDS
    ]
    if jury is None or not readings:
        return None
    logits = []
    for behind, each in inferred.items():
        for material, moments in each.moments.items():
            spectrum = each.spectra[material.samples]
            readout = fit_lda(moments, moments.label_sets[-1], spectrum)
            logits.append(readout.logits(features[behind], readout.max_rank).cpu())
    losses = []
    for reading in readings:
        scores = Scores.of([torch.stack(logits, 1)], jury.labels_N, reading.noise.transition_KK)
        losses_NC = scores.losses()
        losses.append(losses_NC[:, losses_NC.mean(0).argmin()])
    rates_C = torch.tensor([reading.noise.rate for reading in readings])
    return readings[standard_error_rule(torch.stack(losses, 1), -rates_C, 1)]


def fit_lda(moments: Moments, label_set: str, spectrum: Spectrum) -> Readout:
    """The readout that true labels are inferred with: LDA in half of the directions."""
    return Readout.lda(moments, label_set, spectrum=spectrum, rank=half_rank(spectrum))


def half_rank(spectrum: Spectrum) -> int:
    """Half of the directions."""
    return max(1, spectrum.rank // 2)


def _to_choose_from(folds: FoldMoments, spectrum: Spectrum) -> Iterator[tuple[Material, Latent]]:
    """All states that a jury may choose from."""
    soft_NK = torch.nn.functional.one_hot(folds.given_N, folds.classes).double()
    states = folds.latents(MOST_ROUNDS, fit_lda, spectrum)
    for rounds in range(MOST_ROUNDS + 1):
        if rounds:
            state = next(states)
            soft_NK = state.posterior_NK
            if rounds in _TRIED:
                yield Material(rounds), state
        if rounds in _SELF_TRAINED:
            trained = folds.self_trained(soft_NK, SELF_TRAINING, fit_lda, spectrum)
            yield Material(rounds, SELF_TRAINING), trained


def _unjudged(folds: FoldMoments, spectrum: Spectrum) -> Iterator[tuple[Material, Latent]]:
    """What is inferred where nobody can choose, and self-training after it where it helps.

    It is for features that cling to given labels under the views, too: self-training then finds
    clearly more of them wrong. And it is for classes that it can tell apart for sure.
    """
    *_, inferred = folds.latents(ROUNDS, fit_lda, spectrum)
    yield Material(ROUNDS), inferred
    trained = folds.self_trained(inferred.posterior_NK, SELF_TRAINING, fit_lda, spectrum)
    sure = float(trained.probabilities_NK.amax(1).mean()) > _SURE
    if sure and trained.rate - inferred.rate > _LET_GO:
        yield Material(ROUNDS, SELF_TRAINING), trained


def _counted(rounds: int) -> str:
    return "one round" if rounds == 1 else f"{rounds} rounds"
