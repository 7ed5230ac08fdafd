"""Which views keep what is seen, and under which the network has forgotten its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from tailcut.network.batches import Batch
from tailcut.network.stream import logits_of
from tailcut.network.view import View
from tailcut.numerics.draws import torch_generator
from tailcut.verbs.policy import views_kept
from tailcut.verbs.survey import Survey, memorisation

_SCREENED_BATCHES = 4

_HELD_OUT = 1024
"""Held-out samples, or a batch more, that each view is looked at under."""


@dataclass(frozen=True)
class ViewEffect:
    """What a view does to the network.

    Attributes:
        name: Of the view.
        content: Share of predictions that survive it in a truncated network, which has little
            memory to lose: low means that the view changes what is seen.
        memorisation: m of the untouched network under the view.
        kept: Whether readouts are fitted on it.
    """

    name: str
    content: float
    memorisation: float
    kept: bool


@dataclass(frozen=True)
class Screened(ViewEffect):
    """The same with the view itself."""

    view: View


def screen(
    survey: Survey, reference: nn.Module, views: Sequence[View], *, seed: int, choose: bool
) -> list[Screened]:
    """Measure every view on a part of the sample; nothing is assumed of it.

    m compares agreement with the given labels under the view on training samples and on
    unseen ones *under the same view*. Without held-out samples the reference stands in for
    the unseen: a filtered network has forgotten most labels, so where the untouched one
    agrees with them more often, it remembers.

    Args:
        survey: Of the untouched network.
        reference: A strongly truncated copy of it; of text networks a denoised one.
        views: To measure.
        seed: Of the perturbations.
        choose: Keep the best four that pass, if any; else all of them, as the caller asked for
            them.
    """
    sample = survey.sample[:_SCREENED_BATCHES]
    holdout = first(survey.holdout, _HELD_OUT)
    labels_N, held_N = labels_of(sample), labels_of(holdout)
    plain_N = predicted(reference, sample)
    measured = []
    for view in views:
        forgetful_N = predicted_under(view, reference, sample, seed)
        if holdout:
            unseen = _share(predicted_under(view, survey.model, holdout, seed), held_N)
        else:
            unseen = _share(forgetful_N, labels_N)
        agreement = _share(predicted_under(view, survey.model, sample, seed), labels_N)
        measured.append((view, _share(forgetful_N, plain_N), memorisation(agreement, unseen)))
    kept = (
        views_kept([(content, m) for _, content, m in measured]) if choose else range(len(measured))
    )
    return [
        Screened(view.name, content, m, place in kept, view)
        for place, (view, content, m) in enumerate(measured)
    ]


def predicted(model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """Predicted classes (N,), on the CPU."""
    return torch.cat([logits_of(model, batch.inputs).argmax(1).cpu() for batch in batches])


def predicted_under(view: View, model: nn.Module, batches: Sequence[Batch], seed: int) -> Tensor:
    """Predicted classes (N,) under a view, the same perturbations for the same seed."""
    with view.on(model, torch_generator(seed, "views")) as see:
        seen = (see(batch.inputs) for batch in batches)
        return torch.cat([logits_of(model, inputs).argmax(1).cpu() for inputs in seen])


def first(batches: Sequence[Batch], n: int) -> list[Batch]:
    """As many batches as hold n samples, or all."""
    before = [0, *accumulate(map(len, batches))]
    return [batch for batch, so_far in zip(batches, before, strict=False) if so_far < n]


def labels_of(batches: Sequence[Batch]) -> Tensor:
    """Given labels (N,), on the CPU."""
    return (
        torch.cat([batch.labels.cpu() for batch in batches]) if batches else torch.empty(0).long()
    )


def _share(a_N: Tensor, b_N: Tensor) -> float:
    return float((a_N == b_N).double().mean())
