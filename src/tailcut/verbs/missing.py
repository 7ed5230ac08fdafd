"""What it costs that a head has no bias: the readout that was wanted needs one."""

from __future__ import annotations

from torch import Tensor

from tailcut.numerics.fits import PROJECT
from tailcut.numerics.origin import through_origin
from tailcut.numerics.own_head import OwnHead
from tailcut.verbs.candidates import Candidate
from tailcut.verbs.evaluation import Evaluation
from tailcut.verbs.inference import as_they_are
from tailcut.verbs.readouts import with_bias

_MANY = 0.05
"""Predictions that differ, to speak of them where no labels can tell what they cost."""


def cost_of_missing_bias(evaluation: Evaluation) -> str:
    """A clause for the reason if the missing bias costs much, else nothing.

    The best fitted readout is compared with the same one with a bias: on the held-out labels
    by more than one standard error of the difference, else by the predictions that differ.
    """
    fitted = [each for each in evaluation.candidates if _is_fitted(each)]
    if evaluation.preparation.survey.head.bias or not fitted:
        return ""
    holdout, choice = evaluation.holdout, evaluation.choice
    if holdout is None or choice is None:
        without_N, with_N = _predictions(evaluation, fitted[-1])
        share = float((without_N != with_N).double().mean())
        clause = f"the head has no bias, which changes {100 * share:.0f} % of the predictions"
        return f"; {clause}" if share > _MANY else ""
    best = min(fitted, key=lambda each: float(choice.loss_C[evaluation.column(each)]))
    without_N, with_N = _predictions(evaluation, best)
    lost_N = (with_N == holdout.labels_N).double() - (without_N == holdout.labels_N).double()
    lost, error = float(lost_N.mean()), float(lost_N.std(correction=0)) / len(lost_N) ** 0.5
    clause = (
        "the head has no bias, which keeps the gain small: with one the best readout gets "
        f"{100 * lost:.1f} points more of the held-out labels"
    )
    return f"; {clause}" if lost > error else ""


def _is_fitted(candidate: Candidate) -> bool:
    return candidate.readout.name not in {OwnHead.name, PROJECT}


def _predictions(evaluation: Evaluation, chosen: Candidate) -> tuple[Tensor, Tensor]:
    """Of a candidate without and with a bias, for the held-out samples, else the training ones."""
    preparation, survey = evaluation.preparation, evaluation.preparation.survey
    views = chosen.targets.views
    inferred = evaluation.inferred[chosen.filter] if views else as_they_are(survey)
    samples, model = survey.holdout or survey.sample, preparation.network(chosen.filter)
    features_ND = survey.head.features_of(model, samples)
    made = with_bias(chosen.readout.name, inferred, chosen.targets, survey.head)
    pair = through_origin(made, inferred.moments[chosen.targets]), made
    without_N, with_N = (each.predictions(features_ND, [chosen.rank])[:, 0].cpu() for each in pair)
    return without_N, with_N
