"""Candidates: every way to cut, judged on samples whose labels the network never learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import groupby

import pandas as pd
import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import concerning
from tailcut.network.batches import read
from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.network.head import Head
from tailcut.numerics.choice import Choice, Gain, choose, cross_fitted
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.latent import Noise, Reading
from tailcut.numerics.scores import Scores
from tailcut.verbs.groundwork import Groundwork, Jury
from tailcut.verbs.inference import (
    GIVEN,
    MOST_ROUNDS,
    ROUNDS,
    Inferred,
    Material,
    infer,
    reading_of,
)
from tailcut.verbs.penalties import handicaps
from tailcut.verbs.readouts import Candidate, features_of, make_readout

_TRIED = ("project", "lda")
"""By default: ridge has LDA's directions in another scale, and nearest means never win."""


@dataclass(frozen=True, eq=False)
class Weighed:
    """All candidates and what the jury says of them.

    Attributes:
        groundwork: Views and filters.
        jury: Who judged these candidates; None if nobody could.
        candidates: C of them; the first is the untouched network.
        scores: Column for column; None without a jury.
        choice: None without a jury.
        models: The network behind each filter that readouts were fitted on.
        inferred: Views of all training samples behind each, and their true labels.
        reading: How the jury reads its labels; None as they are given: where no labels were
            inferred, or some class is too rare.
    """

    groundwork: Groundwork
    jury: Jury | None
    candidates: list[Candidate]
    scores: Scores | None
    choice: Choice | None
    models: dict[Filter, nn.Module]
    inferred: dict[Filter, Inferred]
    reading: Reading | None

    @property
    def suspicion(self) -> Reading | None:
        """The noise as inference alone has it, which takes no hard sample for a wrong label.

        Behind the last filter.
        """
        *_, inferred = self.inferred.values()
        readings = inferred.readings
        return readings.get(Material(MOST_ROUNDS), readings.get(Material(ROUNDS)))

    def told(self, index: int) -> str:
        """A candidate in words."""
        return self.candidates[index].told(str(self.groundwork.coverage))

    @property
    def noise(self) -> Noise | None:
        """As the jury reads its labels; None where it cannot be told."""
        if self.reading is None or not self.groundwork.tells_noise:
            return None
        return self.reading.noise

    def best_cut(self) -> int:
        """The candidate to choose, the untouched network aside; without a jury the last."""
        return len(self.candidates) - 1 if self.choice is None else self.choice.best

    def accuracy_of(self, index: int) -> float | None:
        """Of a candidate on the jury's labels; None without a jury."""
        return None if self.choice is None else float(self.choice.accuracy_C[index])

    def network(self, chosen: Filter) -> nn.Module:
        """The network behind a filter."""
        if chosen in self.models:
            return self.models[chosen]
        return self.groundwork.network(chosen)

    def cross_fitted_gain(self, seed: int) -> Gain | None:
        """Of the best cut, whatever it gains; None without a jury."""
        if self.scores is None or self.jury is None:
            return None
        return cross_fitted(
            self.scores,
            self.jury.labels_N,
            handicaps(self.candidates, self.groundwork.gentle),
            seed=seed,
            first=1,
            transition_KK=_chances(self.reading),
        )

    def accuracies_on(self, batches: Batches) -> list[float]:
        """Of every candidate on other labels: true ones, to report and never to choose."""
        head = self.groundwork.survey.head
        features: dict[Filter, tuple[Tensor, Tensor]] = {}
        found: list[float] = []
        for like, group in groupby(self.candidates, lambda each: replace(each, rank=None)):
            model = self.network(like.filter)
            if like.filter not in features:
                features[like.filter] = _read(head, model, batches)
            (features_ND, labels_N), ranks = features[like.filter], [each.rank for each in group]
            if ranks == [None]:
                weight_KD, bias_K = head.parameters(model)
                logits_NK = features_ND @ weight_KD.cpu().T
                predicted_NR = (logits_NK if bias_K is None else logits_NK + bias_K.cpu()).argmax(1)
                predicted_NR = predicted_NR[:, None]
            else:
                inferred = self.inferred[like.filter]
                made = make_readout(like.readout, inferred, like.material, head, model)
                predicted_NR = made.predictions(features_ND, [r for r in ranks if r]).cpu()
            found += (predicted_NR == labels_N[:, None]).double().mean(0).tolist()
        return found

    def temperature(self, index: int) -> float:
        """By the jury's labels; without a jury, of what the readouts say of the inferred ones."""
        if self.scores is None:
            cut = self.candidates[index]
            reading = self.inferred[cut.filter].readings.get(cut.material) if index else None
            return 1.0 if reading is None else reading.temperature
        return self.scores.temperature(index)

    def table(self, chosen: int, clean: Batches | None = None) -> pd.DataFrame:
        """Candidates with accuracy and loss on the jury's labels, the chosen one marked.

        With true labels of other samples there is the accuracy on them, too.
        """
        names = ["strength", "denoising", "readout", "rank", "rounds", "self_training"]
        rows = [
            (*astuple(each.filter), each.readout, each.rank, *astuple(each.material))
            for each in self.candidates
        ]
        table = pd.DataFrame(rows, columns=names)
        table["rank"] = table["rank"].astype("Int64")
        if self.choice is not None:
            table["accuracy"] = self.choice.accuracy_C.numpy()
            table["log_loss"] = self.choice.loss_C.numpy()
        if clean is not None:
            with concerning("the samples with true labels"):
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
    survey, jury = groundwork.survey, groundwork.jury
    fitted = readout != "project"
    models = {each: groundwork.network(each) for each in groundwork.filters}
    inferred = {
        each: infer(groundwork, model, train, fitted=fitted, seed=seed, step=step)
        for each, model in models.items()
    }
    step("candidates")
    if jury is None:
        return _unjudged(groundwork, models, inferred, readout=readout, rank=rank)
    names: Sequence[str] = (readout,)
    if readout == "auto":
        names = _TRIED if fitted else ("project",)
    features = {each: features_of(survey.head, models[each], jury.batches) for each in models}
    reading = reading_of(groundwork, features, inferred)
    chances_KK = _chances(reading)
    own_heads = depth != "head" and readout in ("auto", "project") and rank == "auto"
    candidates, parts = _own_heads(groundwork, jury, chances_KK, all_of_them=own_heads)
    for behind, model in models.items():
        for name, material in _fits(names, inferred[behind]):
            made = make_readout(name, inferred[behind], material, survey.head, model)
            ranks = geometric_ranks(made.max_rank) if rank == "auto" else made.ranks([int(rank)])
            candidates += [Candidate(behind, name, r, material) for r in ranks]
            logits = made.prefix_logits(features[behind], ranks)
            parts.append(Scores.of(logits, jury.labels_N, chances_KK))
    scores = Scores.joined(parts)
    handicaps_C = handicaps(candidates, groundwork.gentle)
    choice = choose(scores, jury.labels_N, handicaps_C, seed=seed, transition_KK=chances_KK)
    return Weighed(groundwork, jury, candidates, scores, choice, models, inferred, reading)


def untouched(groundwork: Groundwork) -> Weighed:
    """The network as it is for the only candidate, and nobody to judge it."""
    alone = [Candidate(UNTOUCHED, "own head", None)]
    return Weighed(groundwork, None, alone, None, None, {}, {}, None)


def _chances(reading: Reading | None) -> Tensor | None:
    """P(given | true) by which the jury's labels are read; None takes them as they are."""
    return None if reading is None else reading.noise.transition_KK


def _fits(names: Sequence[str], inferred: Inferred) -> list[tuple[str, Material]]:
    """Readouts with what they are fitted to.

    `project` fits no labels, and beside LDA the others none of expectation maximisation.
    """

    def takes(name: str, material: Material) -> bool:
        if name == "project":
            return material == GIVEN
        return name == "lda" or len(names) == 1 or material.rounds == 0

    return [(name, each) for name in names for each in inferred.moments if takes(name, each)]


def _unjudged(
    groundwork: Groundwork,
    models: dict[Filter, nn.Module],
    inferred: dict[Filter, Inferred],
    *,
    readout: str,
    rank: int | str,
) -> Weighed:
    """The one cut that is made without a choice: LDA on the inferred labels.

    For a caller who fits no labels, it is the own head behind the filter, at the rank asked for.
    """
    (behind, model), head = next(iter(models.items())), groundwork.survey.head
    found = inferred[behind]
    name = "lda" if readout == "auto" else readout
    preferred = found.preferred
    fitted = preferred != GIVEN
    if not fitted and rank == "auto":
        cut = Candidate(behind, "own head", None)
    else:
        material = preferred if fitted else GIVEN
        made = make_readout(name if fitted else "project", found, material, head, model)
        kept = made.max_rank if rank == "auto" else made.ranks([int(rank)])[0]
        cut = Candidate(behind, made.name, kept, material)
    candidates = [Candidate(UNTOUCHED, "own head", None), cut]
    reading = found.readings.get(preferred)
    return Weighed(groundwork, None, candidates, None, None, models, inferred, reading)


def _read(head: Head, model: nn.Module, loader: Batches) -> tuple[Tensor, Tensor]:
    """Penultimate features and labels, in the order of this pass."""
    features, labels = [], []
    for batch in read(loader, head.classes):
        features.append(head.features_and_logits(model, batch.inputs)[0].cpu())
        labels.append(batch.labels.cpu())
    return torch.cat(features), torch.cat(labels)


def _own_heads(
    groundwork: Groundwork, jury: Jury, chances_KK: Tensor | None, *, all_of_them: bool
) -> tuple[list[Candidate], list[Scores]]:
    """The untouched network, and its own head behind each filter."""
    assert groundwork.own_NCK is not None
    filters = groundwork.tried if all_of_them else (UNTOUCHED,)
    own = Scores.of([groundwork.own_NCK[:, : len(filters)]], jury.labels_N, chances_KK)
    return [Candidate(each, "own head", None) for each in filters], [own]
