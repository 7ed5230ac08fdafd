"""What it costs that a head has no bias: the readout that was wanted needs one."""

from __future__ import annotations

from torch import Tensor

from tailcut.numerics.origin import through_origin
from tailcut.verbs.readouts import features_of, with_bias
from tailcut.verbs.weighed import Weighed

_MANY = 0.05
"""Predictions that differ, to speak of them where no labels can tell what they cost."""


def told_of_missing_bias(weighed: Weighed) -> str:
    """A clause for the reason if the missing bias costs much, else nothing.

    The best fitted readout is compared with the same one with a bias: on the held-out labels
    by more than one standard error of the difference, else by the predictions that differ.
    """
    head, jury = weighed.groundwork.survey.head, weighed.jury
    fitted = [place for place in range(len(weighed.candidates)) if _is_fitted(weighed, place)]
    if head.bias or not fitted:
        return ""
    if jury is None or weighed.choice is None:
        without_N, with_N = _predictions(weighed, fitted[-1])
        share = float((without_N != with_N).double().mean())
        told = f"the head has no bias, which changes {100 * share:.0f} % of the predictions"
        return f"; {told}" if share > _MANY else ""
    losses_C = weighed.choice.loss_C
    without_N, with_N = _predictions(weighed, min(fitted, key=lambda place: float(losses_C[place])))
    lost_N = (with_N == jury.labels_N).double() - (without_N == jury.labels_N).double()
    lost, error = float(lost_N.mean()), float(lost_N.std(correction=0)) / len(lost_N) ** 0.5
    told = (
        "the head has no bias, which keeps the gain small: with one the best readout gets "
        f"{100 * lost:.1f} points more of the held-out labels"
    )
    return f"; {told}" if lost > error else ""


def _is_fitted(weighed: Weighed, place: int) -> bool:
    return weighed.candidates[place].readout not in {"own head", "project"}


def _predictions(weighed: Weighed, place: int) -> tuple[Tensor, Tensor]:
    """Of a candidate without and with a bias, for the held-out samples, else the training ones."""
    chosen, survey = weighed.candidates[place], weighed.groundwork.survey
    head, model = survey.head, weighed.network(chosen.filter)
    inferred = weighed.inferred_of(chosen)
    features_ND = features_of(head, model, survey.holdout or survey.sample)
    assert chosen.rank is not None
    made = with_bias(chosen.readout, inferred, chosen.material, head)
    pair = through_origin(made, inferred.moments[chosen.material]), made
    without_N, with_N = (each.predictions(features_ND, [chosen.rank])[:, 0].cpu() for each in pair)
    return without_N, with_N
