"""Groundwork: which views to use, who judges, and how to filter the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from tailcut._typing import Inputs
from tailcut.errors import DataError
from tailcut.network.batches import Batch
from tailcut.network.filters import (
    UNTOUCHED,
    Filter,
    truncated_copy,
)
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.layer_statistics import Coverage
from tailcut.network.stream import logits_of
from tailcut.network.views import VIEWS, View, Views, as_views
from tailcut.numerics.draws import torch_generator
from tailcut.numerics.scores import Scores
from tailcut.verbs.screening import MEMORY_CEILING, Screened, labels_of, screen
from tailcut.verbs.survey import Survey

TRUNCATIONS = tuple(Filter(strength) for strength in (10_000.0, 3_000.0, 1_000.0, 300.0))
"""By the size of a layer's inputs alone: half a decade apart."""

DENOISINGS = tuple(Filter(denoising=weight) for weight in (1.0, 3.0))
"""By what noise in the network's input changes about a layer's: likewise."""

REFERENCE = Filter(300.0)
"""Of the network that has forgotten most labels and still sees."""

GENTLE = {TRUNCATIONS: Filter(3_000.0), DENOISINGS: Filter(denoising=2.0)}
"""What is likely to be best, and costs clean networks hardly anything (docs/LOG.md)."""

_NOISE = VIEWS["noise/4"]
_COUNTED = 1024
"""Samples that the BatchNorm statistics behind a filter are taken on."""


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
        tried: Filters behind which the own head was judged, UNTOUCHED first.
        own_NCK: Its logits for the jury at each of them; None without a jury.
        filters: To fit readouts behind: a gentle one last; with a jury before it UNTOUCHED and
            that which the own head and the jury speak for.
    """

    survey: Survey
    layers: LayerMoments
    screened: list[Screened]
    jury: Jury | None
    tried: tuple[Filter, ...]
    own_NCK: Tensor | None
    filters: list[Filter]

    @property
    def views(self) -> list[View]:
        """Views that readouts are fitted on."""
        return [screened.view for screened in self.screened if screened.kept]

    @property
    def gentle(self) -> Filter:
        """The filter that is taken unless the jury speaks clearly for another."""
        return self.filters[-1]

    @property
    def forgotten(self) -> float:
        """Share of the labels that the network lets go of under each of these views, 0..1."""
        return 1 - max([0, *(each.memorisation for each in self.screened if each.kept)])

    @property
    def tells_noise(self) -> bool:
        """Whether the noise can be told: under some view the network lets go of what it remembers.

        Without views the samples as they are must tell, and without a holdout the share of
        their labels that is predicted, which is as much as can be remembered.
        """
        kept = [each.memorisation for each in self.screened if each.kept]
        plain = self.survey.memorisation
        return (
            min(kept or [self.survey.agreement.share if plain is None else plain]) <= MEMORY_CEILING
        )

    def network(self, chosen: Filter) -> nn.Module:
        """The network behind a filter: the same whenever it is asked for."""
        return _truncated(self.survey, self.layers, chosen)

    @property
    def coverage(self) -> Coverage | None:
        """Which layers the filters reach; None where none was to be filtered."""
        return self.layers.coverage if self.layers.seen else None


def bare(survey: Survey) -> Groundwork:
    """Nothing measured and nothing to filter: for a network that is left as it is."""
    layers = LayerMoments(survey.model, len(survey.sample), skip=[survey.head.name])
    return Groundwork(survey, layers, [], None, (UNTOUCHED,), None, [UNTOUCHED])


def lay(
    survey: Survey, views: Views, depth: str, *, seed: int, step: Callable[[str], None]
) -> Groundwork:
    """Measure the views, seat the jury, and find the filters.

    One is gentle. With a jury there is another, found by the own head of each truncated network
    without a pass over the training data.
    """
    step("layers and views")
    chosen = as_views(views, survey.sample[0].inputs)
    deep = depth != "head"
    layers = _layer_moments(survey, seed, needed=bool(chosen) or deep, noisy=deep)
    if depth == "all" and not layers.grams:
        raise _nothing_to_filter(layers)
    reference = _truncated(survey, layers, REFERENCE)
    screened = screen(survey, reference, chosen, seed=seed, choose=views == "auto")
    kinds = _kinds(layers, screened) if deep and layers.grams else []
    tried = (UNTOUCHED, *(each for kind in kinds for each in kind))
    gentle = GENTLE[kinds[0]] if kinds else UNTOUCHED
    if not survey.holdout:
        return Groundwork(survey, layers, screened, None, tried, None, [gentle])
    step("filters")
    jury = Jury(survey.holdout, labels_of(survey.holdout))
    models = (_truncated(survey, layers, each) for each in tried)
    own_NCK = torch.stack([_logits(model, jury) for model in models], 1)
    losses = Scores.of([own_NCK], jury.labels_N).losses().mean(0).tolist()
    loss_of = dict(zip(tried, losses, strict=True))
    if depth == "all":
        del loss_of[UNTOUCHED]
    found = [*({UNTOUCHED} & set(loss_of)), _for_readouts(loss_of)]
    filters = [each for each in dict.fromkeys(found) if each != gentle] + [gentle]
    return Groundwork(survey, layers, screened, jury, tried, own_NCK, filters)


def _kinds(layers: LayerMoments, screened: Sequence[Screened]) -> list[tuple[Filter, ...]]:
    """Denoisings if noise makes the network forget its labels, else truncations.

    Where that was not measured, as for views of the caller's, both; truncations first.
    """
    forgets = [each.memorisation <= MEMORY_CEILING for each in screened if each.view == _NOISE]
    if not layers.noise_grams or forgets == [False]:
        return [TRUNCATIONS]
    return [DENOISINGS] if forgets else [TRUNCATIONS, DENOISINGS]


def _for_readouts(loss_of: dict[Filter, float]) -> Filter:
    """The filter of least loss, or the next stronger denoising.

    Measured (docs/LOG.md): readouts that are fitted behind a denoising want more of it than
    the own head, which was made for all that the layers tell.
    """
    best = min(loss_of, key=loss_of.__getitem__)
    stronger = dict(pairwise((UNTOUCHED, *DENOISINGS))).get(best)
    return stronger if stronger in loss_of else best


def _layer_moments(survey: Survey, seed: int, *, needed: bool, noisy: bool) -> LayerMoments:
    layers = LayerMoments(
        survey.model, sum(map(len, survey.sample)), skip=[survey.head.name], seed=seed
    )
    generator = torch_generator(seed, "noise in the inputs")
    for batch in survey.sample if needed else ():
        layers.update(batch.inputs, _noisy(batch.inputs, generator) if noisy else None)
    return layers


def _noisy(inputs: Inputs, generator: torch.Generator) -> Inputs | None:
    """None for inputs that take no noise, such as tokens."""
    try:
        return _NOISE(inputs, generator)
    except DataError:
        return None


def _truncated(survey: Survey, layers: LayerMoments, chosen: Filter) -> nn.Module:
    return truncated_copy(survey.model, layers, chosen, _first(survey.sample, _COUNTED))


def _first(sample: Sequence[Batch], n: int) -> list[tuple[Inputs, Tensor]]:
    """As many batches as hold n samples, or all."""
    before = [0, *accumulate(map(len, sample))]
    kept = [batch for batch, so_far in zip(sample, before, strict=False) if so_far < n]
    return [(batch.inputs, batch.labels) for batch in kept]


def _nothing_to_filter(layers: LayerMoments) -> DataError:
    skipped = layers.coverage.skipped
    reasons = "; ".join(f"{name}: {why}" for name, why in skipped.items()) or "it has no other"
    return DataError(
        f"a network of which no layer but the head can be filtered ({reasons})",
        wanted='for depth="all" one layer or more that gives weight x input + bias',
        advice='Use depth="head", which cuts the features alone',
    )


def _logits(model: nn.Module, jury: Jury) -> Tensor:
    return torch.cat([logits_of(model, batch.inputs).cpu() for batch in jury.batches])
