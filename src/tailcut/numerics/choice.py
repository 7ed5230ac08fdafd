"""Choosing a candidate from noisy labels, with a gain that the choice has not flattered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.scores import Scores

Verdict: TypeAlias = Literal["cut", "leave", "unknown"]

_SINGULAR = 0.1


@dataclass(frozen=True)
class Gain:
    """Difference in accuracy on the same samples, with a 95 % interval.

    Attributes:
        mean: After minus before, on true labels as far as the noise is known.
        low: Lower end.
        high: Upper end.
        n: Samples.
        given: After minus before, -1..1, on the given labels as they are.
        before: Accuracy before, 0..1, on the given labels; None if unknown. No gain is told that
            is larger than what is missing from 1, and no loss that is larger than this.
    """

    mean: float
    low: float
    high: float
    n: int
    given: float
    before: float | None = None

    @classmethod
    def paired(
        cls, difference_N: Tensor, given: float | None = None, before: float | None = None
    ) -> Gain:
        """From after minus before for each sample: -1, 0 or 1, or the same of credits.

        The interval of Agresti & Min (2005) for matched pairs: Wald's after half a sample has
        been added to each of the four cells, so that it never shrinks to a point. A sample is
        here as large as the differences are in the mean square.

        Args:
            difference_N: On true labels, see `true_credits`.
            given: The mean on given labels, if it is another.
            before: See `Gain`.
        """
        n, difference_N = len(difference_N), difference_N.double()
        changed_n = difference_N[difference_N != 0]
        size = float(changed_n.square().mean()) if len(changed_n) else 1.0
        centre = float(difference_N.sum()) / (n + 2)
        square = (float(difference_N.square().sum()) + size) / (n + 2)
        reach = 1.959964 * math.sqrt((square - centre**2) / (n + 2))
        mean = float(difference_N.mean())
        given = mean if given is None else given
        return cls(mean, centre - reach, centre + reach, n, given, before)

    @property
    def possible(self) -> tuple[float, float, float]:
        """Mean, lower and upper end as they can be: what is told, while the raw ones decide."""
        lowest, highest = (-1, 1) if self.before is None else (0 - self.before, 1 - self.before)
        mean, low, high = (
            min(max(each, lowest), highest) for each in (self.mean, self.low, self.high)
        )
        return mean, low, high

    def __str__(self) -> str:
        mean, low, high = (100 * each for each in self.possible)
        return f"{mean:+.1f} points [{low:+.1f}, {high:+.1f}]"


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, and what it is worth on samples that did not choose it.

    Attributes:
        index: Of the candidate; 0 is the untouched network.
        best: The candidate that would be chosen if something had to be, the untouched aside.
        verdict: "cut" if the lower end of the gain is above 0, else "leave".
        gain: Cross-fitted: each half of the samples reports on the other half's choice.
        accuracy_C: Of every candidate on all samples.
        loss_C: Mean log loss of every candidate on all samples, in nats.
    """

    index: int
    best: int
    verdict: Verdict
    gain: Gain
    accuracy_C: Tensor
    loss_C: Tensor


def choose(
    scores: Scores,
    labels_N: Tensor,
    handicaps_C: Tensor | None = None,
    *,
    seed: int = 0,
    transition_KK: Tensor | None = None,
) -> Choice:
    """The candidate of least log loss, handicaps counted, and its honest gain.

    The log loss chooses, because it sees how sure a prediction was: on a few hundred noisy
    labels it finds a better candidate than the accuracy does (docs/LOG.md). Its temperature
    is each candidate's own. The gain is in accuracy, on the half that did not choose.

    Args:
        scores: On samples whose labels nobody trained on; column 0 is the untouched network.
        labels_N: Their labels, which may be noisy.
        handicaps_C: See `best_with_handicaps`; without them all are equal.
        seed: Of the split into halves.
        transition_KK: P(given | true), by which the gain is that on true labels.

    Raises:
        DataError: Fewer than two samples.
    """
    if handicaps_C is None:
        handicaps_C = torch.zeros(scores.predictions_NC.shape[1])
    gain = cross_fitted(scores, labels_N, handicaps_C, seed=seed, transition_KK=transition_KK)
    losses_NC, best = scores.losses(), 0
    if len(handicaps_C) > 1:
        best = 1 + best_with_handicaps(losses_NC[:, 1:], handicaps_C[1:])
    index = best if gain.low > 0 else 0
    hits_NC = (scores.predictions_NC == labels_N[:, None]).double()
    verdict: Verdict = "cut" if index else "leave"
    return Choice(index, best, verdict, gain, hits_NC.mean(0), losses_NC.mean(0))


def cross_fitted(
    scores: Scores,
    labels_N: Tensor,
    handicaps_C: Tensor,
    *,
    seed: int = 0,
    first: int = 0,
    transition_KK: Tensor | None = None,
) -> Gain:
    """What choosing gains: each half of the samples reports on the other half's choice.

    Args:
        scores: Column 0 is the untouched network.
        labels_N: Of the samples.
        handicaps_C: See `choose`.
        seed: Of the halves.
        first: The first candidate that may be chosen; 1 leaves the untouched network out.
        transition_KK: See `choose`.

    Raises:
        DataError: Fewer than two samples.
    """
    n = len(labels_N)
    if n < 2:
        raise DataError(
            f"{n} held-out samples to choose by",
            wanted="at least 2, better 500",
            advice="Hold out more samples; noisy labels will do",
        )
    classes = 1 + int(max(scores.predictions_NC.max(), labels_N.max()))
    known_KK = torch.eye(classes) if transition_KK is None else transition_KK
    credits_KK = true_credits(known_KK)
    picked_N = torch.empty(n, dtype=torch.int64)
    for mine_N, other_N in halves(n, seed):
        losses_nC = scores.losses(mine_N)[:, first:]
        index = first + best_with_handicaps(losses_nC, handicaps_C[first:])
        picked_N[other_N] = scores.predictions_NC[other_N, index]
    before_N = scores.predictions_NC[:, 0]
    given = float(((picked_N == labels_N).double() - (before_N == labels_N).double()).mean())
    difference_N = credits_KK[labels_N, picked_N] - credits_KK[labels_N, before_N]
    return Gain.paired(difference_N, given, float((before_N == labels_N).double().mean()))


def best_with_handicaps(losses_NC: Tensor, handicaps_C: Tensor) -> int:
    """The candidate of least loss, where some must be better by so many standard errors.

    With d_c the mean of the paired loss over that of the best candidate of the least handicap
    h, and e_c the standard error of this mean, it is the argmin of d_c + (h_c - h) e_c. So
    what is worse on average, or by chance often, is taken only for a clear lead: among many
    candidates the least loss flatters those that vary most (Breiman et al. 1984, section
    3.4.3, settle near ties by a standard error, too). What has infinite loss is never taken
    before what has not.

    Args:
        losses_NC: Of N samples.
        handicaps_C: In standard errors, 0 or more.
    """
    mean_C = losses_NC.mean(0)
    above_C = torch.where(mean_C.isfinite(), handicaps_C.double(), math.inf)
    above_C = above_C - above_C.min()
    reference = int(torch.where(above_C == 0, mean_C, math.inf).argmin())
    excess_NC = losses_NC - losses_NC[:, reference, None]
    error_C = excess_NC.std(0, correction=0) / math.sqrt(len(losses_NC))
    worth_C = (excess_NC.mean(0) + above_C * error_C).nan_to_num(nan=math.inf)
    return int(torch.where(worth_C == worth_C.min(), above_C, math.inf).argmin())


def true_credits(transition_KK: Tensor) -> Tensor:
    """What a prediction is worth where a label is given (K x K: given, predicted).

    The inverse of T: its mean over the labels given to a true class is 1 for the prediction
    of that class and 0 for any other, so the mean credit is the accuracy on true labels (the
    "backward correction" of Natarajan et al. 2013, here of the 0-1 loss). Where T is too near
    to singular, labels count as they are given.
    """
    transition_KK = transition_KK.double()
    if torch.linalg.matrix_norm(transition_KK, -2) < _SINGULAR:
        return torch.eye(len(transition_KK), dtype=torch.float64)
    return torch.linalg.inv(transition_KK)


def halves(n: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """A random half and the other one, then the other way round."""
    order_N = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    first, second = order_N[: n // 2], order_N[n // 2 :]
    return [(first, second), (second, first)]
