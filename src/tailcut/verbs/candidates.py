"""Candidates: every way to cut, judged on samples whose labels the network never learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.network.head import Head
from tailcut.network.stream import Batch
from tailcut.network.views import View
from tailcut.numerics.choice import Choice, Gain, choose, cross_fitted
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.scores import Scores
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.groundwork import UNTOUCHED, Groundwork, Jury
from tailcut.verbs.survey import Survey
from tailcut.verbs.viewing import draws, through_views

READOUTS = ("project", "centroid", "ridge", "lda")


@dataclass(frozen=True)
class Candidate:
    """One way to cut: filter strength, readout and kept rank.

    The readout "own head" is the network's head as it is, without a rank.
    """

    strength: float
    readout: str
    rank: int | None

    def __str__(self) -> str:
        rank = f" at rank {self.rank}" if self.rank else ""
        layers = "" if math.isinf(self.strength) else f", all layers truncated at {self.strength:g}"
        return f"{self.readout}{rank}{layers}"


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
        moments: Of its features on views of all training samples.
    """

    groundwork: Groundwork
    jury: Jury | None
    candidates: list[Candidate]
    scores: Scores | None
    choice: Choice | None
    models: dict[float, nn.Module]
    moments: dict[float, Moments]

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
        return cross_fitted(self.scores, self.jury.labels_N, ranks_C, seed=seed, first=1)

    def temperature(self, index: int) -> float:
        """Of least log loss on the jury's labels; 1 without a jury."""
        return 1.0 if self.scores is None else float(self.scores.temperatures_C[index])

    def table(self, chosen: int) -> pd.DataFrame:
        """Candidates with accuracy and log loss on the jury's labels, the chosen one marked."""
        rows = [(c.strength, c.readout, c.rank) for c in self.candidates]
        table = pd.DataFrame(rows, columns=["strength", "readout", "rank"])
        table["rank"] = table["rank"].astype("Int64")
        if self.choice is not None:
            table["accuracy"] = self.choice.accuracy_C.numpy()
            table["log_loss"] = self.choice.loss_C.numpy()
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

    A jury of training samples under a view may judge only the network's own head: a fitted
    readout finds whatever memory the view has left in the features, and would be praised for
    it (docs/LOG.md).
    """
    survey, jury = groundwork.survey, groundwork.jury
    own_only = not survey.head.bias or (jury is not None and jury.view is not None)
    names: Sequence[str] = (readout,)
    if readout == "auto":
        names = ("project",) if own_only else READOUTS
    elif readout != "project" and jury is not None and jury.view is not None:
        jury = None
    own_heads = depth != "head" and readout in ("auto", "project") and rank == "auto"
    candidates, parts = _own_heads(groundwork, all_of_them=own_heads and jury is not None)
    models = {strength: groundwork.network(strength) for strength in groundwork.strengths}
    moments = {
        strength: view_moments(survey, model, train, groundwork.views, seed=seed, step=step)
        for strength, model in models.items()
    }
    step("candidates")
    for strength, model in models.items():
        features_ND = None if jury is None else features_of(survey.head, model, jury.batches)
        for name in names:
            made = make_readout(name, moments[strength], survey.head, model)
            ranks = geometric_ranks(made.max_rank) if rank == "auto" else made.ranks([int(rank)])
            candidates += [Candidate(strength, name, r) for r in ranks]
            if jury is not None and features_ND is not None:
                parts.append(Scores.of(made.prefix_logits(features_ND, ranks), jury.labels_N))
    if jury is None:
        return Weighed(groundwork, None, candidates, None, None, models, moments)
    scores = Scores.joined(parts)
    choice = choose(scores, jury.labels_N, _ranks(candidates, survey.head.width), seed=seed)
    return Weighed(groundwork, jury, candidates, scores, choice, models, moments)


def view_moments(
    survey: Survey,
    model: nn.Module,
    train: Batches,
    views: Sequence[View],
    *,
    seed: int,
    step: Callable[[str], None],
) -> Moments:
    """Moments of all training samples under every view (as they are, without any)."""
    head = survey.head
    moments = Moments(head.width, head.classes)
    repeats = draws(survey.moments.n, views)
    for batch, _, inputs in through_views(
        train, views, classes=head.classes, repeats=repeats, seed=seed
    ):
        step("views of the training data")
        for each in inputs:
            moments.update(head.features_and_logits(model, each)[0], given=batch.labels)
    return moments


def make_readout(name: str, moments: Moments, head: Head, model: nn.Module) -> Readout:
    """A readout by name; `project` takes the head that is in the model."""
    if name == "project":
        weight_KD, bias_K = head.parameters(model)
        return Readout.project(Spectrum.of(moments, centred=head.bias), weight_KD, bias_K)
    fits = {"ridge": Readout.ridge, "centroid": Readout.centroid, "lda": Readout.lda}
    return fits[name](moments)


def features_of(head: Head, model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """Penultimate features (N x D), on the CPU."""
    return torch.cat([head.features_and_logits(model, b.inputs)[0].cpu() for b in batches])


def _ranks(candidates: Sequence[Candidate], width: int) -> Tensor:
    """Kept ranks; a head that reads all directions keeps the width."""
    return torch.tensor([width if each.rank is None else each.rank for each in candidates])


def _own_heads(
    groundwork: Groundwork, *, all_of_them: bool
) -> tuple[list[Candidate], list[Scores]]:
    """The untouched network, and its own head behind each filter strength."""
    strengths = groundwork.tried if all_of_them else (UNTOUCHED,)
    if groundwork.own is None:
        return [Candidate(UNTOUCHED, "own head", None)], []
    own = groundwork.own.first(len(strengths))
    return [Candidate(strength, "own head", None) for strength in strengths], [own]
