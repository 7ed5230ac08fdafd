"""Evaluation: what the held-out labels say of every candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd
import torch
from torch import Tensor

from tailcut._typing import Batches
from tailcut.errors import concerning
from tailcut.network.batches import read
from tailcut.network.filters import Filter
from tailcut.numerics.choice import Choice, choose
from tailcut.numerics.latent import Estimate, Noise
from tailcut.numerics.scores import Scores
from tailcut.verbs.candidates import (
    Candidate,
    all_candidates,
    default_candidate,
    untouched,
)
from tailcut.verbs.inference import Inferred, infer
from tailcut.verbs.options import Options
from tailcut.verbs.policy import NOISY, TARGETS, UNSEEN_TARGETS, default_of
from tailcut.verbs.preparation import Holdout, Preparation
from tailcut.verbs.targets import GIVEN

_CELLS = 2**24
"""Numbers of logits that are evaluated at once."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All candidates and what the held-out labels say of them.

    Attributes:
        preparation: Views and filters.
        inferred: The training samples behind each filter that readouts are fitted behind.
        candidates: C of them, the untouched network first.
        best: The candidate that would be cut to.
        scores: Column for column, each under the noise that it explains the labels by; None
            without a holdout.
        choice: None without a holdout.
    """

    preparation: Preparation
    inferred: dict[Filter, Inferred]
    candidates: list[Candidate]
    best: Candidate
    scores: Scores | None = None
    choice: Choice | None = None

    @property
    def untouched(self) -> Candidate:
        """The network as it is."""
        return self.candidates[0]

    @property
    def holdout(self) -> Holdout | None:
        """None without one."""
        return self.preparation.holdout

    def describe(self, candidate: Candidate) -> str:
        """A candidate in words."""
        return candidate.cut.describe(str(self.preparation.coverage))

    def column(self, candidate: Candidate) -> int:
        """Its place in the scores."""
        return next(place for place, each in enumerate(self.candidates) if each is candidate)

    @property
    def noise(self) -> Noise | None:
        """By the best candidate and the held-out labels, else by inference; None if unknown.

        Without a holdout a rate of less than a tenth is unknown.
        """
        if self.scores is not None:
            assert self.scores.wrong_C is not None
            assert self.scores.transition_CKK is not None
            best = self.column(self.best)
            rate = float(self.scores.wrong_C[best])
            return Noise(rate, self.scores.transition_CKK[best].double())
        known = self.estimate if self.preparation.estimates_noise else None
        if known is None or known.noise.rate < NOISY:
            return None  # a network that remembers its labels hides that they are wrong
        return known.noise

    @property
    def estimate(self) -> Estimate | None:
        """Of the noise, by the labels that the best candidate is fitted to; None for given ones."""
        found = self.inferred.get(self.best.filter)
        return None if found is None else found.estimates.get(self.best.targets)

    def temperature(self, candidate: Candidate) -> float:
        """By the held-out labels; without them, of what the readouts say of the inferred ones."""
        if self.scores is not None:
            return self.scores.temperature(self.column(candidate))
        found = self.inferred.get(candidate.filter)
        estimate = None if found is None else found.estimates.get(candidate.targets)
        return 1.0 if estimate is None else estimate.temperature

    def table(self, chosen: Candidate, clean: Batches | None = None) -> pd.DataFrame:
        """Candidates with accuracy and loss on the held-out labels, the chosen one marked.

        With true labels of other samples there is the accuracy on them, too.
        """
        table = pd.DataFrame([row(each) for each in self.candidates])
        for name in ("rank", "fine_tuning"):
            table[name] = table[name].astype("Int64")
        if self.choice is not None:
            table["accuracy"] = self.choice.accuracy_C.numpy()
            table["log_loss"] = self.choice.loss_C.numpy()
        if clean is not None:
            with concerning("the samples with true labels"):
                table["clean"] = self._accuracies(clean)
        table["chosen"] = [each is chosen for each in self.candidates]
        return table

    def _accuracies(self, batches: Batches) -> list[float]:
        """Of every candidate on other labels: true ones, to report and never to choose."""
        seen: dict[Filter, tuple[Tensor, Tensor]] = {}
        found: list[float] = []
        for group in _with_one_readout(self.candidates):
            behind, made = group[0].filter, group[0].readout
            if behind not in seen:
                seen[behind] = self._read(behind, batches)
            features_ND, labels_N = seen[behind]
            predicted_NR = made.predictions(features_ND, [each.rank for each in group]).cpu()
            found += (predicted_NR == labels_N[:, None]).double().mean(0).tolist()
        return found

    def _read(self, behind: Filter, batches: Batches) -> tuple[Tensor, Tensor]:
        """Features behind a filter, and labels, in the order of this pass."""
        head, model = self.preparation.survey.head, self.preparation.network(behind)
        features, labels = [], []
        for batch in read(batches, head.classes):
            features.append(head.features_of(model, [batch]))
            labels.append(batch.labels.cpu().clone())
        return torch.cat(features), torch.cat(labels)


def row(candidate: Candidate) -> dict[str, object]:
    """A candidate as plain values, by the names of the table's columns."""
    return {
        "strength": candidate.filter.strength,
        "denoising": candidate.filter.denoising,
        "fine_tuning": candidate.filter.fine_tuning,
        "readout": candidate.readout.name,
        "rank": candidate.rank,
        "rounds": candidate.targets.rounds,
        "self_training": candidate.targets.self_training,
        "views": candidate.targets.views,
    }


def evaluate(
    preparation: Preparation, train: Batches, options: Options, *, step: Callable[[str], None]
) -> Evaluation:
    """Fit every candidate that the caller's options allow, and evaluate it on the holdout.

    Without a holdout there are the untouched network and the default candidate.
    """
    holdout = preparation.holdout
    targets = (UNSEEN_TARGETS,) if holdout is None else TARGETS
    inferred = {
        each: infer(
            preparation,
            each,
            train,
            targets if options.fits_labels else (GIVEN,),
            seed=options.seed,
            step=step,
        )
        for each in preparation.filters
    }
    step("candidates")
    if holdout is None:
        ((behind, found),) = inferred.items()
        best = default_candidate(preparation, behind, found, options)
        return Evaluation(preparation, inferred, [untouched(preparation), best], best)
    candidates = list(all_candidates(preparation, inferred, options))
    default = default_of([each.cut for each in candidates], preparation.default)
    scores = Scores.joined(list(_scored(candidates, preparation, holdout, options.seed)))
    choice = choose(scores, holdout.labels_N, default, seed=options.seed, forced=options.asked)
    best = candidates[choice.best]
    return Evaluation(preparation, inferred, candidates, best, scores, choice)


def unevaluated(preparation: Preparation) -> Evaluation:
    """The network as it is for the only candidate."""
    alone = untouched(preparation)
    return Evaluation(preparation, {}, [alone], alone)


def _scored(
    candidates: Sequence[Candidate], preparation: Preparation, holdout: Holdout, seed: int
) -> Iterator[Scores]:
    """Of the candidates in their order, a few ranks at a time."""
    classes = preparation.survey.head.classes
    few = max(1, _CELLS // (classes * max(len(holdout.labels_N), classes)))
    for group in _with_one_readout(candidates):
        features_ND = preparation.held_out_features(group[0].filter)
        ranks = [each.rank for each in group]
        for place in range(0, len(ranks), few):
            logits = group[0].readout.prefix_logits(features_ND, ranks[place : place + few])
            yield Scores.explained(torch.cat(list(logits)), holdout.labels_N, seed)


def _with_one_readout(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """Neighbours that differ in rank alone."""
    for _, group in groupby(candidates, lambda each: (each.filter, id(each.readout))):
        yield list(group)
