"""Groundwork: which views to use, who judges, and how strongly to truncate the layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tailcut.network.filters import LayerMoments, truncated_copy
from tailcut.network.stream import Batch, logits_of
from tailcut.network.views import View, Views, as_views
from tailcut.numerics.choice import halves
from tailcut.numerics.scores import Scores, standard_error_rule
from tailcut.verbs.screening import Screened, labels_of, screen
from tailcut.verbs.survey import Survey

UNTOUCHED = math.inf
"""The filter strength that leaves every layer as it is."""

STRENGTHS = (10_000.0, 3_000.0, 1_000.0, 300.0, 100.0)
"""Filter strengths tried: half a decade apart, gentle first."""

ALLOWED = {"head": (UNTOUCHED,), "all": STRENGTHS, "auto": (UNTOUCHED, *STRENGTHS)}
"""Filter strengths of each depth."""

REFERENCE_STRENGTH = 300.0
"""Of the network that has forgotten most labels and still sees."""

UNJUDGED_STRENGTH = 3_000.0
"""Where nobody can choose: it costs clean networks hardly anything (docs/LOG.md)."""


@dataclass(frozen=True, eq=False)
class Jury:
    """Held-out samples, which judge.

    Attributes:
        batches: Their inputs.
        labels_N: Their given labels.
    """

    batches: list[Batch]
    labels_N: Tensor

    @property
    def described(self) -> str:
        """For sentences: how many of what."""
        return f"{len(self.labels_N)} held-out labels"


@dataclass(frozen=True, eq=False)
class Groundwork:
    """What is settled before any readout is fitted.

    Attributes:
        survey: Of the untouched network.
        layers: Input moments of all its layers.
        screened: The views.
        jury: The held-out samples; None without any.
        tried: Filter strengths whose own head was judged, UNTOUCHED first.
        own_NCK: Its logits for the jury at each of them; None without a jury.
        strengths: The filter strengths worth fitting readouts for, one or two, gentle first.
    """

    survey: Survey
    layers: LayerMoments
    screened: list[Screened]
    jury: Jury | None
    tried: tuple[float, ...]
    own_NCK: Tensor | None
    strengths: list[float]

    @property
    def views(self) -> list[View]:
        """Views that readouts are fitted on."""
        return [screened.view for screened in self.screened if screened.kept]

    @property
    def memory(self) -> float:
        """Mean memorisation under the views that readouts are fitted on."""
        left = [screened.memorisation for screened in self.screened if screened.kept]
        return sum(left) / len(left) if left else 1.0

    def network(self, strength: float) -> nn.Module:
        """The network with every layer truncated, BatchNorm statistics taken on the sample."""
        return _truncated(self.survey, self.layers, strength)


def lay(
    survey: Survey, views: Views, depth: str, *, seed: int, step: Callable[[str], None]
) -> Groundwork:
    """Measure the views, seat the jury, and find the filter strength.

    The strength is found by the own head of each truncated network, on each half of the jury:
    no pass over the training data. Without a jury it is a gentle one.
    """
    step("layers and views")
    allowed = ALLOWED[depth]
    chosen = as_views(views, survey.sample[0].inputs)
    layers = _layer_moments(survey, seed, needed=bool(chosen) or depth != "head")
    reference = _truncated(survey, layers, REFERENCE_STRENGTH)
    screened = screen(survey, reference, chosen, seed=seed, choose=views == "auto")
    tried = tuple(dict.fromkeys((UNTOUCHED, *allowed)))
    if not survey.holdout:
        gentle = UNJUDGED_STRENGTH if UNJUDGED_STRENGTH in allowed else allowed[0]
        return Groundwork(survey, layers, screened, None, tried, None, [gentle])
    step("filter strengths")
    jury = Jury(survey.holdout, labels_of(survey.holdout))
    models = (_truncated(survey, layers, each) for each in tried)
    own_NCK = torch.stack([_logits(model, jury) for model in models], 1)
    scores = Scores.of([own_NCK], jury.labels_N)
    places = [place for place, strength in enumerate(tried) if strength in allowed]
    best = sorted(_best_on_halves(scores, places, seed))
    strengths = [allowed[place] for place in best]
    return Groundwork(survey, layers, screened, jury, tried, own_NCK, strengths)


def _layer_moments(survey: Survey, seed: int, *, needed: bool) -> LayerMoments:
    layers = LayerMoments(
        survey.model, sum(map(len, survey.sample)), skip=[survey.head.name], seed=seed
    )
    for batch in survey.sample if needed else ():
        layers.update(batch.inputs)
    return layers


def _truncated(survey: Survey, layers: LayerMoments, strength: float) -> nn.Module:
    batches = [(batch.inputs, batch.labels) for batch in survey.sample]
    return truncated_copy(survey.model, layers, strength, batches)


def _logits(model: nn.Module, jury: Jury) -> Tensor:
    return torch.cat([logits_of(model, batch.inputs).cpu() for batch in jury.batches])


def _best_on_halves(own: Scores, places: list[int], seed: int) -> list[int]:
    """Which of the places has the least loss on each half: one, or two where they differ."""
    gentleness_C = torch.arange(len(places))
    best = [
        standard_error_rule(own.losses(mine_N)[:, places], gentleness_C, 0)
        for mine_N, _ in halves(len(own.predictions_NC), seed)
    ]
    return list(dict.fromkeys(best))
