"""What is said of every training label, by predictions that never saw it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.calibration import with_mean
from tailcut.numerics.crossfit import FoldMoments
from tailcut.numerics.latent import Latent
from tailcut.numerics.noise_rate import NoiseRate
from tailcut.numerics.readout import Readout
from tailcut.numerics.scores import Scores
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.inference import half_rank
from tailcut.verbs.policy import MANY_ROUNDS

_ROUNDS = (1, 2, MANY_ROUNDS, 8)
"""Of inferring the true labels: held-out labels choose among them (docs/LOG.md).

Without any, `MANY_ROUNDS` give the scores, and the last one the noise rate.
"""

_COUNTED = 4096
"""Samples that the noise rate is taken from, about, as at most so many are held out."""

COLUMNS = ("is_label_issue", "label_score", "given_label", "predicted_label", "p_wrong")


@dataclass(frozen=True, eq=False)
class Audit:
    """What is said of every training label.

    Attributes:
        latent: Predictions that never saw the label they are compared with.
        folds: The samples, in the order of the stream.
        rate: How many labels are wrong.
        rounds: Of inferring the true labels.
    """

    latent: Latent
    folds: FoldMoments
    rate: NoiseRate
    rounds: int

    @property
    def pred_probs(self) -> np.ndarray:
        """p(true class | sample), out of fold (N x K), rows sum to 1: what cleanlab reads."""
        return self.latent.probabilities_NK.numpy()

    @property
    def features(self) -> np.ndarray:
        """Of each sample, averaged over its views (N x D): what Datalab reads."""
        return self.folds.means_ND.numpy()

    def joined(self, other_NK: Tensor) -> Audit:
        """With a second prediction of every sample: p(z | x) is as their product (Hinton 2002).

        Args:
            other_NK: Its probabilities.
        """
        least = torch.finfo().tiny
        joint_NK = self.latent.probabilities_NK.clamp(min=least) * other_NK.clamp(min=least)
        joint_NK /= joint_NK.sum(1, keepdim=True)
        return replace(self, latent=replace(self.latent, probabilities_NK=joint_NK))

    def table(self) -> pd.DataFrame:
        """See `find_label_issues`."""
        given_N, probabilities_NK = self.latent.given_N, self.latent.probabilities_NK
        predicted_N = probabilities_NK.argmax(1)
        score_N = probabilities_NK.gather(1, given_N[:, None])[:, 0].clamp(0, 1)
        wrong_N = with_mean(1 - score_N, self.rate.rate)
        flagged_N = (wrong_N > 0.5) & (predicted_N != given_N)
        columns = (flagged_N, score_N, given_N, predicted_N, wrong_N)
        table = pd.DataFrame(
            {name: column.numpy() for name, column in zip(COLUMNS, columns, strict=True)},
            index=pd.Index(self.folds.numbers_N.numpy(), name="index"),
        )
        table.attrs |= self._expected(wrong_N, flagged_N)
        return table

    def _expected(self, wrong_N: Tensor, flagged_N: Tensor) -> dict[str, object]:
        """Of the noise, and of the flags if the probabilities are right."""
        interval, right = self.rate.interval, float(wrong_N[flagged_N].sum())
        flagged, wrong = int(flagged_N.sum()), float(wrong_N.sum())
        return {
            "noise_rate": self.rate.rate if self.rate.known else None,
            "noise_interval": None if interval is None else list(interval),
            "expected_precision": right / flagged if flagged else None,
            "expected_recall": right / wrong if wrong else None,
            "rounds": self.rounds,
        }


@dataclass(frozen=True, eq=False)
class Unseen:
    """Held-out samples behind the network that the folds were seen by.

    Attributes:
        features_ND: What its head receives.
        labels_N: Given labels.
    """

    features_ND: Tensor
    labels_N: Tensor


@dataclass(frozen=True, eq=False)
class _Held:
    """What LDA, fitted to the labels that some rounds inferred, says of the held-out samples."""

    rounds: int
    latent: Latent
    logits_NK: Tensor
    loss: float


def audited(
    folds: FoldMoments,
    unseen: Unseen | None,
    *,
    forgotten: float = 0.0,
    untouched: bool = False,
    seed: int,
) -> Audit:
    """The rounds of inference that explain the held-out labels best.

    Args:
        folds: Of the training samples.
        unseen: The held-out ones.
        forgotten: Share of the labels that the features do not remember.
        untouched: Whether the features never saw a label. Then all is forgotten, the given labels
            say out of fold how many directions to keep, and how many of them are wrong, too.
        seed: Of what is resampled.

    Raises:
        DataError: A class in one fold only.
    """
    _require_every_class(folds)
    whole, evidence = folds.whole(), 1.0 if untouched else forgotten
    spectrum = Spectrum.of(whole)
    rank = _best_rank(folds, spectrum) if untouched else half_rank(spectrum)
    kept = folds.along(spectrum, rank)
    states = _after(kept.latents(max(_ROUNDS), evidence), _ROUNDS)
    if unseen is None:
        return _without_holdout(folds, states, untouched=untouched, seed=seed)
    labels_N = unseen.labels_N

    def held(rounds: int, latent: Latent) -> _Held:
        soft_NK = latent.labels(evidence)
        vanished = not kept.every_class_in(soft_NK)
        moments = whole if vanished else folds.relabelled(whole, soft_NK)
        made = Readout.lda(moments, "given" if vanished else "latent", spectrum=spectrum)
        logits_NK = made.logits(unseen.features_ND, rank if untouched else made.max_rank)
        scores = Scores.explained(logits_NK[:, None], labels_N, seed)
        return _Held(rounds, latent, logits_NK, float(scores.losses().mean()))

    best = min((held(*state) for state in states), key=lambda each: each.loss)
    rate = NoiseRate.held_out(best.logits_NK, labels_N, seed=seed)
    rate = rate or NoiseRate(best.latent.rate, known=False)
    return Audit(best.latent, folds, rate, best.rounds)


def _best_rank(folds: FoldMoments, spectrum: Spectrum) -> int:
    """Directions in which the given labels are predicted best out of fold, before any inference.

    Among all of them, a half, a quarter and so on, as far down as K classes take to be apart.
    """
    ranks = [spectrum.rank]
    while ranks[-1] // 2 >= max(1, folds.classes - 1):
        ranks.append(ranks[-1] // 2)
    losses = {rank: next(folds.along(spectrum, rank).latents(1)).log_loss for rank in ranks}
    return min(losses, key=lambda rank: losses[rank])


def _without_holdout(
    folds: FoldMoments, states: Iterable[tuple[int, Latent]], *, untouched: bool, seed: int
) -> Audit:
    """Without held-out labels: a network that remembers wrong labels hides some (docs/LOG.md).

    Features that never saw a label hide none: there the first round, in which no label has any
    part in what is said of its sample, stands in for held-out labels.
    """
    scored, rate, known = None, 0.0, None
    for rounds, latent in states:
        scored = latent if rounds == MANY_ROUNDS else scored
        rate = latent.rate
        if untouched and rounds == 1:
            known = _out_of_fold_rate(latent, seed)
    assert scored is not None
    return Audit(scored, folds, known or NoiseRate(rate, known=False), MANY_ROUNDS)


def _out_of_fold_rate(latent: Latent, seed: int) -> NoiseRate | None:
    rows = slice(None, None, max(1, len(latent.given_N) // _COUNTED))
    logits_NK = latent.probabilities_NK[rows].clamp(min=torch.finfo().tiny).log()
    return NoiseRate.held_out(logits_NK, latent.given_N[rows], seed=seed)


def _after(states: Iterator[Latent], rounds: Collection[int]) -> Iterator[tuple[int, Latent]]:
    """The states after some rounds, one in memory at a time."""
    return ((done, state) for done, state in enumerate(states, 1) if done in rounds)


def _require_every_class(folds: FoldMoments) -> None:
    counts_FK = torch.stack([fold.counts["given"] for fold in folds.folds])
    alone_K = counts_FK.sum(0) == counts_FK.amax(0)
    if alone_K.any():
        raise DataError(
            f"class {int(alone_K.int().argmax())} is in one fifth of the training data only",
            wanted="a few samples of each class, so that each fifth can be evaluated by the others",
            advice="Drop the classes that are hardly there, or bring more of their samples",
        )
