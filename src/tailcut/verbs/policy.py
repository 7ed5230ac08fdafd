"""The policy of a repair: every choice that it makes for the caller, and every number in it.

1. Views. Those are used that change what is seen little (in a strongly truncated network, which
   has little memory to lose, predictions survive them) and under which the network has forgotten
   most labels it memorised; of these the four that it remembers least under.
2. Filters. Layers are truncated; if noise in the inputs makes the network forget, they are
   denoised, too, and that is the default; if the pretrained weights are known, what fine-tuning
   changed is cut, too. Readouts are fitted behind no filter, behind the default one, and behind
   the one that the own head does best behind on the held-out labels. If it does better behind
   none than behind the default by a standard error, none is the default, or the other kind's.
3. Targets. LDA and the nearest class mean are fitted to the labels as they are given, to the true
   ones as they are inferred in one or four rounds, and after two rounds of self-training.
4. Candidates. Those readouts in all directions, the own head behind each filter, and the own head
   in the untouched network's spectrum at every rank, four to an octave: the paper's cut.
5. Choice. By held-out log loss, each candidate under the label noise that it explains the labels
   best by: the default candidate, unless another leads it by a standard error.
6. Verdict. Cut, if the choice makes that loss fall for sure; or if a tenth of the labels are wrong
   by it, the network remembers its own, and the loss falls or the accuracy rises at all. If both
   speak against so noisy a network's cut it is unknown. Else leave.
7. Without a holdout nobody can tell a good filter from a harmful one, so there is none: LDA on the
   labels inferred in four rounds is cut to, if a tenth of the labels look wrong. Else the verdict
   is unknown.

Where a number says so, the log has what it rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.numerics.choice import Verdict, unless_another_leads
from tailcut.verbs.targets import Targets

if TYPE_CHECKING:
    from tailcut.verbs.candidates import Cut

MEMORY_CEILING = 0.65
"""Memorisation up to which most labels count as forgotten under a view (docs/LOG.md)."""

CONTENT_FLOOR = 0.55
"""Share of predictions that survive a view, beside the view that keeps most (docs/LOG.md)."""

MOST_VIEWS = 4
"""Views that readouts are fitted on: each is one more pass over the training data."""

TRUNCATIONS = tuple(Filter(strength) for strength in (10_000.0, 3_000.0, 1_000.0, 300.0))
"""By the size of a layer's inputs alone: half a decade apart."""

DENOISINGS = tuple(Filter(denoising=weight) for weight in (1.0, 2.0, 4.0))
"""By what noise in the network's input changes about a layer's: each twice the one before."""

FINE_TUNINGS = tuple(Filter(fine_tuning=2**octave) for octave in range(6))
"""Directions kept of what fine-tuning changed of each weight, each twice the one before: the
held-out labels alone can tell how many a task takes (docs/LOG.md)."""

DEFAULT_FILTERS = {TRUNCATIONS: TRUNCATIONS[1], DENOISINGS: DENOISINGS[1]}
"""What is likely to be best, and costs clean networks hardly anything (docs/LOG.md)."""

FEW_ROUNDS, MANY_ROUNDS = 1, 4
"""Of inferring the true labels by expectation maximisation (docs/LOG.md)."""

SELF_TRAINING = 2
"""Rounds of self-training: fewer leave memory in, more lose rare classes (docs/LOG.md)."""

SURE = 2.576
"""Standard errors to be sure of a difference: two-sided, 99 %."""

NOISY = 0.1
"""Share of wrong labels from which on a network that remembers its labels is cut (docs/LOG.md)."""

REMEMBERS = 0.1
"""Memorisation of the training samples from which on a network has wrong labels to lose."""

FITTED = ("lda", "centroid")
"""Readouts that are fitted unless the caller names one: ridge has LDA's directions."""

TARGETS = (
    Targets(),
    Targets(FEW_ROUNDS),
    Targets(MANY_ROUNDS),
    Targets(0, SELF_TRAINING),
    Targets(MANY_ROUNDS, SELF_TRAINING),
)
"""What they are fitted to."""

DEFAULT_TARGETS = Targets(FEW_ROUNDS)
"""What the default candidate, LDA in all directions behind the default filter, is fitted to."""

UNSEEN_TARGETS = Targets(MANY_ROUNDS)
"""What it is fitted to without a holdout: more rounds forget more."""


def views_kept(measured: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the views to use, least memory first.

    Args:
        measured: Content and memorisation of each.
    """
    floor = CONTENT_FLOOR * max((content for content, _ in measured), default=0)
    passing = [
        place
        for place, (content, memory) in enumerate(measured)
        if content >= floor and memory <= MEMORY_CEILING
    ]
    return sorted(passing, key=lambda place: measured[place][1])[:MOST_VIEWS]


def kinds_of_filters(*, forgets: bool | None, pretrained: bool) -> list[tuple[Filter, ...]]:
    """Truncations, and denoisings unless noise was measured not to help; the default kind first.

    Args:
        forgets: Whether noise in the inputs makes the network forget the labels it memorised;
            None where that was not measured.
        pretrained: Whether the pretrained weights are known.
    """
    last = [FINE_TUNINGS] if pretrained else []
    if forgets is None:
        return [TRUNCATIONS, DENOISINGS, *last]
    return [DENOISINGS, TRUNCATIONS, *last] if forgets else [TRUNCATIONS, *last]


def default_filter(
    losses_NF: Tensor, filters: Sequence[Filter], defaults: Sequence[Filter]
) -> Filter:
    """The first, unless behind another or none the own head does better by a standard error.

    Args:
        losses_NF: Held-out log losses of the own head, of N samples behind each filter.
        filters: Those of the columns.
        defaults: Of each kind, see `DEFAULT_FILTERS`.
    """
    places = [filters.index(each) for each in (*defaults, UNTOUCHED) if each in filters]
    return filters[places[unless_another_leads(losses_NF[:, places], 0)]]


def filters_for_readouts(
    loss_F: Sequence[float], filters: Sequence[Filter], default: Filter
) -> list[Filter]:
    """Filters to fit readouts behind, the default last.

    Args:
        loss_F: Mean held-out log loss of the own head behind each filter.
        filters: Those of the columns.
        default: See `default_filter`.
    """
    best = filters[min(range(len(filters)), key=loss_F.__getitem__)]
    found = [*({UNTOUCHED} & set(filters)), best]
    return [each for each in dict.fromkeys(found) if each != default] + [default]


def default_of(candidates: Sequence[Cut], default: Filter) -> int:
    """The place of the candidate that is taken unless another leads.

    LDA in all directions behind the default filter, on labels inferred in one round; of options
    that leave it out, what is nearest to it.
    """

    def near(place: int) -> tuple[object, ...]:
        each = candidates[place]
        one, given = each.targets == DEFAULT_TARGETS, each.targets == Targets()
        features = each.changes_features
        return each.filter == default, each.readout == "lda", one, given, features, each.rank

    return max(range(len(candidates)), key=near)


def verdict_on(
    fall: float, error: float, gain: float, *, wrong: float, memorisation: float
) -> Verdict:
    """Whether the choice is cut to, by the held-out labels.

    Args:
        fall: Of the mean held-out log loss, in nats, cross-fitted.
        error: Its standard error.
        gain: In accuracy on true labels, cross-fitted likewise.
        wrong: Share of the held-out labels that are wrong by the choice.
        memorisation: m on the training samples.
    """
    noisy = wrong >= NOISY and memorisation > REMEMBERS
    if fall > SURE * error or (noisy and max(fall, gain) > 0):
        return "cut"
    return "unknown" if noisy else "leave"


def gains_unseen(wrong: float) -> bool:
    """Whether the default candidate is cut to without held-out labels.

    Args:
        wrong: Share of the training labels that are wrong, as they are inferred.
    """
    return wrong >= NOISY
