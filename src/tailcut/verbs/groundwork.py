"""Groundwork: which views to use, who judges, and how strongly to truncate the layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tailcut.network.filters import LayerMoments, truncated_copy
from tailcut.network.stream import Batch, logits_of
from tailcut.network.views import View, Views, as_views
from tailcut.numerics.choice import halves, standard_error_rule
from tailcut.numerics.scores import Scores
from tailcut.verbs.screening import Screened, labels_of, screen
from tailcut.verbs.survey import Survey
from tailcut.verbs.viewing import viewed

UNTOUCHED = math.inf
"""The filter strength that leaves every layer as it is."""

STRENGTHS = (10_000.0, 3_000.0, 1_000.0, 300.0, 100.0)
"""Filter strengths tried: half a decade apart, gentle first."""

ALLOWED = {"head": (UNTOUCHED,), "all": STRENGTHS, "auto": (UNTOUCHED, *STRENGTHS)}
"""Filter strengths of each depth."""

REFERENCE_STRENGTH = 300.0
"""Of the network that has forgotten most labels and still sees."""

_FREE_OF_MEMORY = 0.1


@dataclass(frozen=True, eq=False)
class Jury:
    """Samples that judge: held-out ones, or training samples under a memory-free view.

    Attributes:
        batches: Inputs as they are judged.
        labels_N: Their given labels.
        view: None for held-out samples.
    """

    batches: list[Batch]
    labels_N: Tensor
    view: View | None

    @property
    def described(self) -> str:
        """For sentences: how many of what."""
        if self.view is None:
            return f"{len(self.labels_N)} held-out labels"
        return f"{len(self.labels_N)} training labels under the view {self.view.name!r}"


@dataclass(frozen=True, eq=False)
class Groundwork:
    """What is settled before any readout is fitted.

    Attributes:
        survey: Of the untouched network.
        layers: Input moments of all its layers.
        screened: The views.
        jury: Who judges; None if nobody can.
        tried: Filter strengths whose own head was judged, UNTOUCHED first.
        own: Its scores at each of them; None without a jury.
        strengths: The filter strengths worth fitting readouts for, one or two.
    """

    survey: Survey
    layers: LayerMoments
    screened: list[Screened]
    jury: Jury | None
    tried: tuple[float, ...]
    own: Scores | None
    strengths: list[float]

    @property
    def views(self) -> list[View]:
        """Views that readouts are fitted on."""
        return [screened.view for screened in self.screened if screened.kept]

    def network(self, strength: float) -> nn.Module:
        """The network with every layer truncated, BatchNorm statistics taken on the sample."""
        return _truncated(self.survey, self.layers, strength)


def lay(
    survey: Survey, views: Views, depth: str, *, seed: int, step: Callable[[str], None]
) -> Groundwork:
    """Measure the views, seat the jury, and find the filter strength.

    The strength is found by the own head of each truncated network, on each half of the jury:
    no pass over the training data. Without a jury it stays in the middle of those allowed.
    """
    step("layers and views")
    allowed = ALLOWED[depth]
    chosen = as_views(views, survey.sample[0].inputs)
    layers = _layer_moments(survey, seed, needed=bool(chosen) or depth != "head")
    screened = screen(
        survey,
        _truncated(survey, layers, REFERENCE_STRENGTH),
        chosen,
        seed=seed,
        choose=views == "auto",
    )
    jury = _seat(survey, screened, seed)
    tried = tuple(dict.fromkeys((UNTOUCHED, *allowed)))
    if jury is None:
        middle = allowed[len(allowed) // 2]
        return Groundwork(survey, layers, screened, None, tried, None, [middle])
    step("filter strengths")
    own = Scores.joined([_judge(_truncated(survey, layers, each), jury) for each in tried])
    places = [place for place, strength in enumerate(tried) if strength in allowed]
    best = _best_on_halves(own, places, seed)
    strengths = [allowed[place] for place in best]
    return Groundwork(survey, layers, screened, jury, tried, own, strengths)


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


def _seat(survey: Survey, screened: Sequence[Screened], seed: int) -> Jury | None:
    if survey.holdout:
        return Jury(survey.holdout, labels_of(survey.holdout), None)
    free = [s for s in screened if s.kept and s.memorisation <= _FREE_OF_MEMORY]
    if not free:
        return None
    view = min(free, key=lambda s: abs(s.memorisation)).view
    batches = viewed(survey.sample, view, seed + 1)
    return Jury(batches, labels_of(batches), view)


def _judge(model: nn.Module, jury: Jury) -> Scores:
    def logits() -> Iterator[Tensor]:
        for batch in jury.batches:
            yield logits_of(model, batch.inputs)[:, None]

    return Scores.of(logits(), jury.labels_N)


def _best_on_halves(own: Scores, places: list[int], seed: int) -> list[int]:
    """Which of the places has the least loss on each half: one, or two where they differ."""
    gentleness_C = torch.arange(len(places))
    best = [
        standard_error_rule(own.losses(mine_N)[:, places], gentleness_C, 0)
        for mine_N, _ in halves(len(own.predictions_NC), seed)
    ]
    return list(dict.fromkeys(best))
