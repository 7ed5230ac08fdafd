"""The cut itself: a candidate becomes a network of the same class."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tailcut.errors import HeadError
from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.network.surgery import equivalence, folded
from tailcut.numerics.moments import Moments
from tailcut.numerics.own_head import OwnHead
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics
from tailcut.verbs.candidates import Candidate
from tailcut.verbs.evaluation import Evaluation
from tailcut.verbs.targets import GIVEN

_COARSE = 0.01


@dataclass(frozen=True, eq=False)
class Folded:
    """A candidate as a network.

    Attributes:
        before: The network, perhaps with filtered layers, whose features the readout reads.
        probe: The readout at every rank; the own head in its own spectrum where none is cut.
        model: The readout folded into it.
        difference: Largest difference of its logits from the explicit projection, relative to
            the largest logit; 0 where no readout was folded.
    """

    before: nn.Module
    probe: Readout
    model: nn.Module
    difference: float


def fold(evaluation: Evaluation, chosen: Candidate) -> Folded:
    """Fold a candidate and prove the fold on a batch.

    The logits are divided by the temperature of greatest likelihood, given the label noise:
    the predictions stay as they are, the probabilities are those of the true labels.

    Raises:
        HeadError: Logits that differ by more than a hundredth: too few digits for this cut.
    """
    preparation, survey = evaluation.preparation, evaluation.preparation.survey
    head, before = survey.head, preparation.network(chosen.filter)
    sharpness = 1 / evaluation.temperature(chosen)
    made = chosen.readout
    if isinstance(made, OwnHead):
        spectrum = Spectrum.of(_moments(evaluation, chosen.filter), centred=head.bias)
        probe = Readout.project(spectrum, made.weight_KD, made.bias_K)
        if chosen is evaluation.untouched:
            return Folded(before, probe, before, 0.0)
        model = folded(before, head, *made.scaled(sharpness).fold(chosen.rank))
        return Folded(before, probe, model, 0.0)
    probe = made.scaled(sharpness)
    model = folded(before, head, *probe.fold(chosen.rank))
    inputs = survey.sample[0].inputs
    difference = equivalence(before, head, probe, chosen.rank, model, inputs)
    if difference > _COARSE:
        raise HeadError(
            f"folded logits differ from the explicit projection by {difference:.1e} of the largest",
            wanted="the same function",
            advice=f"The head's type has too few digits for {evaluation.describe(chosen)}: "
            "convert it to float32",
        )
    return Folded(before, probe, model, difference)


def _moments(evaluation: Evaluation, behind: Filter) -> Statistics:
    """Of the features that the own head reads: all training samples, else the sample."""
    survey = evaluation.preparation.survey
    if behind == UNTOUCHED:
        return survey.moments
    if behind in evaluation.inferred:
        return evaluation.inferred[behind].moments[GIVEN]
    model = evaluation.preparation.network(behind)
    moments = Moments(survey.head.width, survey.head.classes)
    for batch in survey.sample:
        moments.update(survey.head.features_of(model, [batch]), given=batch.labels)
    return moments
