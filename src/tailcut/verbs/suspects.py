"""What is said of every training label, by predictions that never saw it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

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

COLUMNS = ("is_label_issue", "label_score", "given_label", "predicted_label", "p_wrong")


@dataclass(frozen=True, eq=False)
class Audit:
    """What is said of every training label.

    Attributes:
        latent: Predictions that never saw the label they are compared with.
        numbers_N: Of the samples, in the order of the stream.
        rate: How many labels are wrong.
        rounds: Of inferring the true labels.
    """

    latent: Latent
    numbers_N: Tensor
    rate: NoiseRate
    rounds: int

    @property
    def pred_probs(self) -> np.ndarray:
        """p(true class | sample), out of fold (N x K), rows sum to 1: what cleanlab reads."""
        return self.latent.probabilities_NK.numpy()

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
            index=pd.Index(self.numbers_N.numpy(), name="index"),
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


def audited(folds: FoldMoments, unseen: Unseen | None, evidence: float, *, seed: int) -> Audit:
    """The rounds of inference that explain the held-out labels best.

    Args:
        folds: Of the training samples.
        unseen: The held-out ones.
        evidence: See `Latent.labels`.
        seed: Of what is resampled.

    Raises:
        DataError: A class in one fold only.
    """
    _require_every_class(folds)
    whole = folds.whole()
    spectrum = Spectrum.of(whole)
    half = folds.along(spectrum, half_rank(spectrum))
    states = _after(half.latents(max(_ROUNDS), evidence), _ROUNDS)
    if unseen is None:
        return _unheld(folds, states)
    labels_N = unseen.labels_N

    def held(rounds: int, latent: Latent) -> _Held:
        soft_NK = latent.labels(evidence)
        vanished = not half.every_class_in(soft_NK)
        moments = whole if vanished else folds.relabelled(whole, soft_NK)
        made = Readout.lda(moments, "given" if vanished else "latent", spectrum=spectrum)
        logits_NK = made.logits(unseen.features_ND, made.max_rank)
        scores = Scores.explained(logits_NK[:, None], labels_N, seed)
        return _Held(rounds, latent, logits_NK, float(scores.losses().mean()))

    best = min((held(*state) for state in states), key=lambda each: each.loss)
    rate = NoiseRate.held_out(best.logits_NK, labels_N, seed=seed)
    rate = rate or NoiseRate(best.latent.rate, known=False)
    return Audit(best.latent, folds.numbers_N, rate, best.rounds)


def _unheld(folds: FoldMoments, states: Iterable[tuple[int, Latent]]) -> Audit:
    """Without held-out labels: a network that remembers wrong labels hides some (docs/LOG.md)."""
    scored, rate = None, 0.0
    for rounds, latent in states:
        scored = latent if rounds == MANY_ROUNDS else scored
        rate = latent.rate
    assert scored is not None
    return Audit(scored, folds.numbers_N, NoiseRate(rate, known=False), MANY_ROUNDS)


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
