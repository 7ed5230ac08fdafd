"""The cut itself: a candidate becomes a network of the same class."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tailcut.errors import HeadError
from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.network.surgery import equivalence, folded
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.statistics import Statistics
from tailcut.verbs.inference import GIVEN
from tailcut.verbs.readouts import features_of, own_head
from tailcut.verbs.weighed import Weighed

_COARSE = 0.01


@dataclass(frozen=True, eq=False)
class Cut:
    """A candidate as a network.

    Attributes:
        before: The network, perhaps with truncated layers, whose features the readout reads.
        probe: The readout at every rank; the own head in its own spectrum where none is cut.
        model: The readout folded into it.
        difference: Largest difference of its logits from the explicit projection, relative to
            the largest logit; 0 where no readout was folded.
    """

    before: nn.Module
    probe: Readout
    model: nn.Module
    difference: float


def cut(weighed: Weighed, index: int) -> Cut:
    """Fold a candidate and prove the fold on a batch.

    The logits are divided by the temperature of greatest likelihood, given the label noise:
    the predictions stay as they are, the probabilities are those of the true labels.

    Raises:
        HeadError: Logits that differ by more than a hundredth: too few digits for this cut.
    """
    chosen, survey = weighed.candidates[index], weighed.groundwork.survey
    head, sharpness = survey.head, 1 / weighed.temperature(index)
    before = weighed.network(chosen.filter)
    if chosen.rank is None:
        probe = own_head(_moments(weighed, chosen.filter, before), head, before)
        if index == 0:
            return Cut(before, probe, before, 0.0)
        weight_KD, bias_K = head.parameters(before)
        bias_K = None if bias_K is None else bias_K * sharpness
        return Cut(before, probe, folded(before, head, weight_KD * sharpness, bias_K), 0.0)
    probe = weighed.readout_of(chosen).scaled(sharpness)
    model = folded(before, head, *probe.fold(chosen.rank))
    inputs = survey.sample[0].inputs
    difference = equivalence(before, head, probe, chosen.rank, model, inputs)
    if difference > _COARSE:
        raise HeadError(
            f"folded logits differ from the explicit projection by {difference:.1e} of the largest",
            wanted="the same function",
            advice=f"The head's type has too few digits for {weighed.told(index)}: "
            "convert it to float32",
        )
    return Cut(before, probe, model, difference)


def _moments(weighed: Weighed, behind: Filter, before: nn.Module) -> Statistics:
    """Of the features that the own head reads: all training samples, else the sample."""
    survey = weighed.groundwork.survey
    if behind == UNTOUCHED:
        return survey.moments
    if behind in weighed.inferred:
        return weighed.inferred[behind].moments[GIVEN]
    moments = Moments(survey.head.width, survey.head.classes)
    for batch in survey.sample:
        features_ND = features_of(survey.head, before, [batch])
        moments.update(features_ND, given=batch.labels)
    return moments
