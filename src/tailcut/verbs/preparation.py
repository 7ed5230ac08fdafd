"""Preparation: which views to use, which filters to fit readouts behind, and the holdout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tailcut.errors import DataError
from tailcut.network.batches import Batch
from tailcut.network.filters import UNTOUCHED, Filter, truncated_copy
from tailcut.network.fine_tuning import FineTuning
from tailcut.network.inside_views import InsideView
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.layer_statistics import Coverage
from tailcut.network.views import View, Views, as_views, noise_for
from tailcut.numerics.draws import torch_generator
from tailcut.numerics.own_head import OwnHead
from tailcut.numerics.scores import Scores
from tailcut.verbs.policy import (
    DEFAULT_FILTERS,
    DENOISINGS,
    FINE_TUNINGS,
    MEMORY_CEILING,
    TRUNCATIONS,
    default_filter,
    filters_for_readouts,
    kinds_of_filters,
)
from tailcut.verbs.screening import Screened, first, labels_of, screen
from tailcut.verbs.survey import Survey

REFERENCE = TRUNCATIONS[-1]
"""Of the network that has forgotten most labels and still sees."""

REFERENCE_OF_TEXTS = DENOISINGS[-1]
"""The same where noise is added to an embedding: truncation leaves its memory (docs/LOG.md)."""

_COUNTED = 1024
"""Samples that the BatchNorm statistics behind a filter are taken on."""


@dataclass(frozen=True, eq=False)
class Holdout:
    """Samples that the network never trained on, with the labels that they were given.

    Attributes:
        batches: Their inputs.
        labels_N: Their given labels.
        features: Penultimate features (N x D) behind each filter that was tried, on the CPU.
    """

    batches: list[Batch]
    labels_N: Tensor
    features: dict[Filter, Tensor] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{len(self.labels_N)} held-out labels"


@dataclass(frozen=True, eq=False)
class Preparation:
    """What is settled before any readout is fitted.

    Attributes:
        survey: Of the untouched network.
        layers: Input moments of all its layers.
        screened: The views.
        holdout: The held-out samples; None without any.
        tried: Filters that the own head is a candidate behind, UNTOUCHED first.
        default: The filter that is likely to be best.
        filters: To fit readouts behind: with a holdout the default among them; without one there
            is a single one.
        fine_tuning: Since the pretrained weights, where they are known.
    """

    survey: Survey
    layers: LayerMoments
    screened: list[Screened]
    holdout: Holdout | None
    tried: tuple[Filter, ...]
    default: Filter
    filters: list[Filter]
    fine_tuning: FineTuning | None = None
    _networks: dict[Filter, nn.Module] = field(default_factory=dict)

    @property
    def views(self) -> list[View]:
        """Views that readouts are fitted on."""
        return [screened.view for screened in self.screened if screened.kept]

    @property
    def forgotten(self) -> float:
        """Share of the labels that the network forgets under each of these views, 0..1."""
        return 1 - max([0, *(each.memorisation for each in self.screened if each.kept)])

    @property
    def estimates_noise(self) -> bool:
        """Whether the noise can be estimated: under some view the network forgets its labels.

        Without views the samples as they are must show it, and without a holdout the share of
        their labels that is predicted, which is as much as can be remembered.
        """
        kept = [each.memorisation for each in self.screened if each.kept]
        plain = self.survey.memorisation
        return (
            min(kept or [self.survey.agreement.share if plain is None else plain]) <= MEMORY_CEILING
        )

    def network(self, chosen: Filter) -> nn.Module:
        """The network behind a filter; those that readouts are fitted behind are kept."""
        if chosen in self._networks:
            return self._networks[chosen]
        made = filtered(self.survey, self.layers, chosen, self.fine_tuning)
        if chosen in self.filters:
            self._networks[chosen] = made
        return made

    def held_out_features(self, chosen: Filter) -> Tensor:
        """Features (N x D) of the held-out samples behind a filter."""
        assert self.holdout is not None
        known = self.holdout.features
        if chosen not in known:
            model, batches = self.network(chosen), self.holdout.batches
            known[chosen] = self.survey.head.features_of(model, batches)
        return known[chosen]

    @property
    def coverage(self) -> Coverage | None:
        """Which layers the filters reach; None where none was to be filtered."""
        return self.layers.coverage if self.layers.seen else None


def nothing_to_cut(survey: Survey) -> Preparation:
    """Nothing measured and nothing to filter: for a network that is left as it is."""
    layers = LayerMoments(survey.model, len(survey.sample), skip=survey.head.names)
    return Preparation(survey, layers, [], None, (UNTOUCHED,), UNTOUCHED, [UNTOUCHED])


def prepare(
    survey: Survey,
    views: Views,
    depth: str,
    *,
    seed: int,
    step: Callable[[str], None],
    pretrained: nn.Module | None = None,
) -> Preparation:
    """Measure the views and find the filters.

    With a holdout one of the filters is found by the own head of each truncated network,
    without a pass over the training data.
    """
    tuned = None if pretrained is None else fine_tuning(survey, pretrained)
    step("layers and views")
    inputs, deep = survey.sample[0].inputs, depth != "head"
    chosen = as_views(views, inputs, survey.model)
    noise = noise_for(inputs, survey.model) if deep else None
    layers = _layer_moments(survey, noise, seed, needed=bool(chosen) or deep)
    if depth == "all" and not layers.inputs:
        raise _nothing_to_filter(layers)
    inside = isinstance(noise, InsideView) and layers.noisy
    reference = filtered(survey, layers, REFERENCE_OF_TEXTS if inside else REFERENCE)
    screened = screen(survey, reference, chosen, seed=seed, choose=views == "auto")
    kinds = _kinds(layers, screened, noise, tuned) if deep else []
    tried = (UNTOUCHED, *(each for kind in kinds for each in kind))
    defaults = [DEFAULT_FILTERS[kind] for kind in kinds if kind in DEFAULT_FILTERS] or [UNTOUCHED]
    if not survey.holdout:
        default, *_ = defaults
        filters = [default if depth == "all" else UNTOUCHED]
        return Preparation(survey, layers, screened, None, tried, default, filters, tuned)
    step("filters")
    losses_NF, holdout = _losses(survey, layers, tried, tuned)
    allowed = slice(depth == "all", None)
    losses_NF, choosable = losses_NF[:, allowed], tried[allowed]
    default = default_filter(losses_NF, choosable, defaults)
    filters = filters_for_readouts(losses_NF.mean(0).tolist(), choosable, default)
    return Preparation(survey, layers, screened, holdout, tried, default, filters, tuned)


def fine_tuning(survey: Survey, pretrained: nn.Module) -> FineTuning:
    """What fine-tuning changed, as far as the policy keeps any of it; see `FineTuning.of`."""
    head, most = survey.head, FINE_TUNINGS[-1].fine_tuning
    assert most is not None
    return FineTuning.of(survey.model, pretrained, skip=head.names, most=most)


def _losses(
    survey: Survey, layers: LayerMoments, tried: Sequence[Filter], tuned: FineTuning | None
) -> tuple[Tensor, Holdout]:
    """Held-out log losses (N x F) of the own head behind each filter."""
    holdout, losses = Holdout(survey.holdout, labels_of(survey.holdout)), []
    for each in tried:
        model = filtered(survey, layers, each, tuned)
        features_ND = survey.head.features_of(model, holdout.batches)
        holdout.features[each] = features_ND
        own = OwnHead(*survey.head.parameters(model))
        losses.append(Scores.of(own.prefix_logits(features_ND), holdout.labels_N).losses()[:, 0])
    return torch.stack(losses, 1), holdout


def _kinds(
    layers: LayerMoments,
    screened: Sequence[Screened],
    noise: View | None,
    tuned: FineTuning | None,
) -> list[tuple[Filter, ...]]:
    """Of filters, by whether noise makes the network forget; truncations if it takes none."""
    known = bool(tuned)
    if not layers.inputs:
        return [FINE_TUNINGS] if known else []
    if not layers.noisy:
        return kinds_of_filters(forgets=False, pretrained=known)
    forgets = [each.memorisation <= MEMORY_CEILING for each in screened if each.view == noise]
    return kinds_of_filters(forgets=forgets[0] if forgets else None, pretrained=known)


def _layer_moments(survey: Survey, noise: View | None, seed: int, *, needed: bool) -> LayerMoments:
    layers = LayerMoments(
        survey.model, sum(map(len, survey.sample)), skip=survey.head.names, seed=seed
    )
    if not needed:
        return layers
    if noise is None:
        for batch in survey.sample:
            layers.update(batch.inputs)
        return layers
    with noise.on(survey.model, torch_generator(seed, "noise in the inputs")) as see:
        for batch in survey.sample:
            layers.update(batch.inputs, see(batch.inputs))
    return layers


def filtered(
    survey: Survey, layers: LayerMoments | None, chosen: Filter, tuned: FineTuning | None = None
) -> nn.Module:
    """The network behind a filter, its BatchNorm counted on the first of the sample.

    Args:
        survey: Of the untouched network.
        layers: Input moments of its layers; for filters that go by them.
        chosen: The filter.
        tuned: What fine-tuning changed; for filters that keep a part of it.
    """
    counted = [(batch.inputs, batch.labels) for batch in first(survey.sample, _COUNTED)]
    return truncated_copy(survey.model, layers, chosen, counted, tuned)


def _nothing_to_filter(layers: LayerMoments) -> DataError:
    reasons = layers.coverage.reasons or "it has no other"
    return DataError(
        f"a network of which no layer but the head can be filtered ({reasons})",
        wanted='for depth="all" one layer or more that gives weight x input + bias',
        advice='Use depth="head", which cuts the features alone',
    )
