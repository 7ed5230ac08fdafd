"""Choosing a candidate from noisy labels, with a gain that the choice has not flattered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.latent import above_chance
from tailcut.numerics.scores import Scores, halves

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
        before: Accuracy before, 0..1, on the given labels; None if unknown. No gain is given that
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
        """Mean, lower and upper end as they can be: what is shown, while the raw ones decide."""
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
        best: Column of the default candidate, or of the one that leads it.
        gain: Cross-fitted: each half of the samples reports on the other half's choice.
        fall: Of the mean held-out log loss, in nats, cross-fitted likewise.
        error: Its standard error.
        accuracy_C: Of every candidate on all samples.
        loss_C: Mean log loss of every candidate on all samples, in nats.
        wrong: Share of the labels that are wrong as the best candidate explains them, 0..1; 0
            where its predictions are no better than chance.
    """

    best: int
    gain: Gain
    fall: float
    error: float
    accuracy_C: Tensor
    loss_C: Tensor
    wrong: float


def choose(
    scores: Scores,
    labels_N: Tensor,
    default: int = 1,
    *,
    seed: int = 0,
    forced: bool = False,
) -> Choice:
    """The default candidate unless another leads in log loss, and what it honestly gains.

    The log loss chooses, because it sees how sure a prediction was: on a few hundred noisy
    labels it finds a better candidate than the accuracy does (docs/LOG.md). Its temperature
    is each candidate's own. Both the fall of the loss and the gain are cross-fitted: each half
    of the samples reports on the other half's choice.

    Args:
        scores: On samples whose labels nobody trained on; column 0 is the untouched network.
        labels_N: Their labels, which may be noisy.
        default: See `unless_another_leads`.
        seed: Of the split into halves.
        forced: A cut is made whatever it gains: the untouched network is no candidate.

    Raises:
        DataError: Fewer than two samples.
    """
    _require_two(labels_N)
    first = int(forced and scores.predictions_NC.shape[1] > 1)
    losses_NC = scores.losses()
    best = first + unless_another_leads(losses_NC[:, first:], default - first)
    fall_N, picked_N = _cross_fitted(scores, default, first, seed)
    known_KK = None if scores.transition_CKK is None else scores.transition_CKK[best]
    gain = _gain(scores, picked_N, labels_N, known_KK)
    fall, error = float(fall_N.mean()), float(fall_N.std(correction=0)) / math.sqrt(len(fall_N))
    hits_NC = (scores.predictions_NC == labels_N[:, None]).double()
    wrong = _wrong(scores, best, labels_N)
    return Choice(best, gain, fall, error, hits_NC.mean(0), losses_NC.mean(0), wrong)


def _require_two(labels_N: Tensor) -> None:
    n = len(labels_N)
    if n < 2:
        raise DataError(
            f"{n} held-out samples to choose by",
            wanted="at least 2, better 500",
            advice="Hold out more samples; noisy labels will do",
        )


def _cross_fitted(scores: Scores, default: int, first: int, seed: int) -> tuple[Tensor, Tensor]:
    """By how much the log loss falls (N,) and what is predicted (N,), by the other half's choice.

    Temperatures are those of the half that did not choose: of both, the untouched network too.
    """
    n = len(scores.predictions_NC)
    fall_N, picked_N = torch.empty(n, dtype=torch.float64), torch.empty(n, dtype=torch.int64)
    for mine_N, other_N in halves(n, seed):
        index = first + unless_another_leads(scores.losses(mine_N)[:, first:], default - first)
        losses_nC = scores.cross_fitted_losses(other_N)
        fall_N[other_N] = losses_nC[:, 0] - losses_nC[:, index]
        picked_N[other_N] = scores.predictions_NC[other_N, index]
    return fall_N.nan_to_num(nan=0.0, posinf=1e3, neginf=-1e3), picked_N


def _wrong(scores: Scores, best: int, labels_N: Tensor) -> float:
    """Share of wrong labels, as a candidate has it that predicts them above chance."""
    if scores.wrong_C is None or not above_chance(scores.predictions_NC[:, best], labels_N):
        return 0.0
    return float(scores.wrong_C[best])


def _gain(scores: Scores, picked_N: Tensor, labels_N: Tensor, transition_KK: Tensor | None) -> Gain:
    """In accuracy on true labels, as far as the noise is known."""
    classes = 1 + int(max(scores.predictions_NC.max(), labels_N.max()))
    credits_KK = true_credits(torch.eye(classes) if transition_KK is None else transition_KK)
    before_N = scores.predictions_NC[:, 0]
    given = float(((picked_N == labels_N).double() - (before_N == labels_N).double()).mean())
    difference_N = credits_KK[labels_N, picked_N] - credits_KK[labels_N, before_N]
    return Gain.paired(difference_N, given, float((before_N == labels_N).double().mean()))


def unless_another_leads(losses_NC: Tensor, default: int) -> int:
    """The default candidate, unless another is better by a standard error of the difference.

    With d_c the mean of the paired loss over that of the default, and e_c the standard error of
    this mean, it is the argmin of d_c + e_c, which is 0 for the default. So what is better by
    chance is seldom taken: among many candidates the least loss flatters those that vary most
    (Breiman et al. 1984, section 3.4.3, settle near ties by a standard error, too). What has
    infinite loss is never taken before what has not.

    Args:
        losses_NC: Of N samples.
        default: Column of the default.
    """
    mean_C = losses_NC.mean(0)
    if not mean_C[default].isfinite():
        default = int(mean_C.nan_to_num(nan=math.inf).argmin())
    excess_NC = losses_NC - losses_NC[:, default, None]
    error_C = excess_NC.std(0, correction=0) / math.sqrt(len(losses_NC))
    worth_C = (excess_NC.mean(0) + error_C).nan_to_num(nan=math.inf)
    worth_C[default] = 0
    best = int(worth_C.argmin())
    return best if float(worth_C[best]) < 0 else default


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
