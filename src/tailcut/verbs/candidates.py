"""Candidates: every way to cut, judged on samples whose labels the network never learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby

import pandas as pd
import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.network.head import Head
from tailcut.network.stream import Batch, read
from tailcut.numerics.choice import Choice, Gain, choose, cross_fitted
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.latent import Latent, half_rank
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.scores import Scores
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.groundwork import (
    MOST_ROUNDS,
    ROUNDS,
    UNTOUCHED,
    Groundwork,
    Jury,
    fit_lda,
)
from tailcut.verbs.viewing import fold_moments

READOUTS = ("project", "centroid", "ridge", "lda")

_TRIED = ("project", "centroid", "lda")
"""By default: ridge has LDA's directions in another scale, and is there for who asks for it."""

ROUNDS_TRIED = (0, 1, 2, 4, MOST_ROUNDS)
"""Rounds of inferring the true labels; 0 fits the given labels."""


@dataclass(frozen=True)
class Candidate:
    """One way to cut: filter strength, readout, kept rank, and the labels it is fitted to.

    The readout "own head" is the network's head as it is, without a rank. After rounds of
    inferring the true labels a readout is fitted to their posteriors, after none to the
    labels as they were given.
    """

    strength: float
    readout: str
    rank: int | None
    rounds: int = 0

    def __str__(self) -> str:
        rank = f" at rank {self.rank}" if self.rank else ""
        labels = f" on labels inferred in {self.rounds} rounds" if self.rounds > 1 else ""
        labels = " on labels inferred in one round" if self.rounds == 1 else labels
        layers = "" if math.isinf(self.strength) else f", all layers truncated at {self.strength:g}"
        return f"{self.readout}{rank}{labels}{layers}"


@dataclass(frozen=True, eq=False)
class Weighed:
    """All candidates and what the jury says of them.

    Attributes:
        groundwork: Views and filter strengths.
        jury: Who judged these candidates; None if nobody could.
        candidates: C of them; the first is the untouched network.
        scores: Column for column; None without a jury.
        choice: None without a jury.
        models: The (truncated) network of each strength that readouts were fitted on.
        moments: Of its features on views of all training samples, by strength and rounds; the
            last label set is the one to fit.
        latent: True labels inferred behind the last, the strongest filter; None where none
            were asked for, or some class is too rare.
    """

    groundwork: Groundwork
    jury: Jury | None
    candidates: list[Candidate]
    scores: Scores | None
    choice: Choice | None
    models: dict[float, nn.Module]
    moments: dict[tuple[float, int], Moments]
    latent: Latent | None

    def best_cut(self) -> int:
        """The candidate of least loss, the untouched network aside; without a jury the last."""
        if self.choice is None:
            return len(self.candidates) - 1
        return 1 + int(self.choice.loss_C[1:].argmin())

    def accuracy_of(self, index: int) -> float | None:
        """Of a candidate on the jury's labels; None without a jury."""
        return None if self.choice is None else float(self.choice.accuracy_C[index])

    def network(self, strength: float) -> nn.Module:
        """The network with all layers truncated at a strength."""
        if strength in self.models:
            return self.models[strength]
        return self.groundwork.network(strength)

    def cross_fitted_gain(self, seed: int) -> Gain | None:
        """Of the best cut, whatever it gains; None without a jury."""
        if self.scores is None or self.jury is None:
            return None
        ranks_C = _ranks(self.candidates, self.groundwork.survey.head.width)
        return cross_fitted(
            self.scores,
            self.jury.labels_N,
            ranks_C,
            seed=seed,
            first=1,
            transition_KK=_chances(self.latent),
        )

    def accuracies_on(self, batches: Batches) -> list[float]:
        """Of every candidate on other labels: true ones, to report and never to choose."""
        head = self.groundwork.survey.head
        read_once = list(read(batches, head.classes))
        labels_N = torch.cat([batch.labels.cpu() for batch in read_once])
        features: dict[float, Tensor] = {}
        found: list[float] = []
        for like, group in groupby(self.candidates, lambda each: replace(each, rank=None)):
            model = self.network(like.strength)
            if like.strength not in features:
                features[like.strength] = features_of(head, model, read_once)
            features_ND, ranks = features[like.strength], [each.rank for each in group]
            if ranks == [None]:
                weight_KD, bias_K = head.parameters(model)
                logits_NK = features_ND @ weight_KD.cpu().T
                predicted_NR = (logits_NK if bias_K is None else logits_NK + bias_K.cpu()).argmax(1)
                predicted_NR = predicted_NR[:, None]
            else:
                moments = self.moments[like.strength, like.rounds]
                made = make_readout(like.readout, moments, head, model)
                predicted_NR = made.predictions(features_ND, [r for r in ranks if r]).cpu()
            found += (predicted_NR == labels_N[:, None]).double().mean(0).tolist()
        return found

    def temperature(self, index: int) -> float:
        """Of least loss on the jury's labels; without a jury, of the inferred ones."""
        if self.scores is None:
            return self.latent.temperature if index and self.latent else 1.0
        return float(self.scores.temperatures_C[index])

    def table(self, chosen: int, clean: Batches | None = None) -> pd.DataFrame:
        """Candidates with accuracy and loss on the jury's labels, the chosen one marked.

        With true labels of other samples there is the accuracy on them, too.
        """
        rows = [(c.strength, c.readout, c.rank, c.rounds) for c in self.candidates]
        table = pd.DataFrame(rows, columns=["strength", "readout", "rank", "rounds"])
        table["rank"] = table["rank"].astype("Int64")
        if self.choice is not None:
            table["accuracy"] = self.choice.accuracy_C.numpy()
            table["log_loss"] = self.choice.loss_C.numpy()
        if clean is not None:
            table["clean"] = self.accuracies_on(clean)
        table["chosen"] = table.index == chosen
        return table


def weigh(
    groundwork: Groundwork,
    train: Batches,
    *,
    depth: str,
    readout: str,
    rank: int | str,
    seed: int,
    step: Callable[[str], None],
) -> Weighed:
    """Fit every candidate that the caller's dials allow on all training samples, and judge it.

    Without a jury there is one candidate: see `_unjudged`.
    """
    survey, jury, strengths = groundwork.survey, groundwork.jury, groundwork.strengths
    fitted = survey.head.bias and readout != "project"
    rounds = 0 if readout == "project" else MOST_ROUNDS if jury else ROUNDS
    models = {strength: groundwork.network(strength) for strength in strengths}
    moments: dict[tuple[float, int], Moments] = {}
    last: Latent | None = None
    for strength, model in models.items():
        found, last = _moments(groundwork, model, train, rounds=rounds, seed=seed, step=step)
        moments.update({(strength, after): each for after, each in found.items()})
    step("candidates")
    if jury is None:
        return _unjudged(groundwork, models, moments, last, readout=readout, rank=rank)
    names: Sequence[str] = (readout,)
    if readout == "auto":
        names = _TRIED if fitted else ("project",)
    chances_KK = _chances(last)
    own_heads = depth != "head" and readout in ("auto", "project") and rank == "auto"
    candidates, parts = _own_heads(groundwork, jury, chances_KK, all_of_them=own_heads)
    for strength, model in models.items():
        features_ND = features_of(survey.head, model, jury.batches)
        for name, after in _fits(names, [r for r in ROUNDS_TRIED if (strength, r) in moments]):
            made = make_readout(name, moments[strength, after], survey.head, model)
            ranks = geometric_ranks(made.max_rank) if rank == "auto" else made.ranks([int(rank)])
            candidates += [Candidate(strength, name, r, after) for r in ranks]
            logits = made.prefix_logits(features_ND, ranks)
            parts.append(Scores.of(logits, jury.labels_N, chances_KK))
    scores, ranks_C = Scores.joined(parts), _ranks(candidates, survey.head.width)
    choice = choose(scores, jury.labels_N, ranks_C, seed=seed, transition_KK=chances_KK)
    return Weighed(groundwork, jury, candidates, scores, choice, models, moments, last)


def _chances(latent: Latent | None) -> Tensor | None:
    """P(given | true) by which the jury's labels are read; None takes them as they are."""
    return None if latent is None else latent.transition_KK


def _fits(names: Sequence[str], rounds: Sequence[int]) -> list[tuple[str, int]]:
    """Readouts with the rounds that they are fitted after; `project` fits no labels."""
    return [(name, r) for name in names for r in (rounds if name != "project" else rounds[:1])]


def _moments(
    groundwork: Groundwork,
    model: nn.Module,
    train: Batches,
    *,
    rounds: int,
    seed: int,
    step: Callable[[str], None],
) -> tuple[dict[int, Moments], Latent | None]:
    """Of all training samples under the views, by rounds, and the labels inferred last.

    Where some class is too rare for its labels to be inferred, only the given ones are there.
    """
    survey = groundwork.survey
    folds = fold_moments(
        model, survey.head, train, groundwork.views, n=survey.moments.n, seed=seed, step=step
    )
    moments, last = {0: folds.whole()}, None
    step("true labels")
    with suppress(DataError):
        states = folds.latents(rounds, fit_lda, Spectrum.of(moments[0])) if rounds else ()
        for after, last in enumerate(states, 1):
            if after in (*ROUNDS_TRIED, rounds):
                moments[after] = folds.whole(last.posterior_NK)
    return moments, last


def _unjudged(
    groundwork: Groundwork,
    models: dict[float, nn.Module],
    moments: dict[tuple[float, int], Moments],
    latent: Latent | None,
    *,
    readout: str,
    rank: int | str,
) -> Weighed:
    """The one cut that is made without a choice: LDA on the inferred labels at half the ranks.

    For a caller who fits no labels, the own head behind the filter, at the rank asked for.
    """
    (strength, model), head = next(iter(models.items())), groundwork.survey.head
    name = "lda" if readout == "auto" else readout
    rounds = max(after for _, after in moments) if head.bias else 0
    if rounds == 0 and rank == "auto":
        cut = Candidate(strength, "own head", None)
    else:
        made = make_readout(name if rounds else "project", moments[strength, rounds], head, model)
        kept = half_rank(made) if rank == "auto" else made.ranks([int(rank)])[0]
        cut = Candidate(strength, made.name, kept, rounds)
    candidates = [Candidate(UNTOUCHED, "own head", None), cut]
    return Weighed(groundwork, None, candidates, None, None, models, moments, latent)


def make_readout(name: str, moments: Moments, head: Head, model: nn.Module) -> Readout:
    """A readout by name, of the last label set; `project` takes the head that is in the model."""
    if name == "project":
        weight_KD, bias_K = head.parameters(model)
        return Readout.project(Spectrum.of(moments, centred=head.bias), weight_KD, bias_K)
    fits = {"ridge": Readout.ridge, "centroid": Readout.centroid, "lda": Readout.lda}
    return fits[name](moments, moments.label_sets[-1])


def features_of(head: Head, model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """Penultimate features (N x D), on the CPU."""
    return torch.cat([head.features_and_logits(model, b.inputs)[0].cpu() for b in batches])


def _ranks(candidates: Sequence[Candidate], width: int) -> Tensor:
    """Kept ranks; a head that reads all directions keeps the width."""
    return torch.tensor([width if each.rank is None else each.rank for each in candidates])


def _own_heads(
    groundwork: Groundwork, jury: Jury, chances_KK: Tensor | None, *, all_of_them: bool
) -> tuple[list[Candidate], list[Scores]]:
    """The untouched network, and its own head behind each filter strength."""
    assert groundwork.own_NCK is not None
    strengths = groundwork.tried if all_of_them else (UNTOUCHED,)
    own = Scores.of([groundwork.own_NCK[:, : len(strengths)]], jury.labels_N, chances_KK)
    return [Candidate(strength, "own head", None) for strength in strengths], [own]
