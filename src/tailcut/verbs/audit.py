"""Which labels are wrong: predictions that never saw the label they are compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.network.passes import Passes, opened
from tailcut.network.views import Views
from tailcut.numerics.calibration import with_mean
from tailcut.numerics.crossfit import FoldMoments
from tailcut.numerics.latent import Latent
from tailcut.numerics.noise_rate import NoiseRate
from tailcut.numerics.readout import Readout
from tailcut.numerics.scores import Scores
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.class_names import require_same_names
from tailcut.verbs.inference import half_rank
from tailcut.verbs.options import Options
from tailcut.verbs.policy import MANY_ROUNDS
from tailcut.verbs.preparation import Preparation, prepare
from tailcut.verbs.progress import steps
from tailcut.verbs.survey import survey
from tailcut.verbs.viewing import fold_moments

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


@overload
def find_label_issues(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    views: Views = "auto",
    depth: str = "auto",
    force: bool = False,
    return_probabilities: Literal[False] = False,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> pd.DataFrame: ...
@overload
def find_label_issues(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    views: Views = "auto",
    depth: str = "auto",
    force: bool = False,
    return_probabilities: Literal[True],
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> tuple[pd.DataFrame, np.ndarray]: ...
def find_label_issues(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    views: Views = "auto",
    depth: str = "auto",
    force: bool = False,
    return_probabilities: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> pd.DataFrame | tuple[pd.DataFrame, np.ndarray]:
    """Score every training label by a prediction that did not see it, and flag the wrong ones.

    LDA is fitted on views of four fifths of the training data and asked about the last, on the
    network truncated as `repair` would, first to the given labels, then to the true ones as
    they are inferred: no folds to retrain. Held-out labels choose the rounds of inference and say
    how many labels are wrong. Flagged is what the prediction contradicts and is rather wrong than
    right.

    Args:
        model: A trained classifier; it is never changed.
        train: The batches it was trained on, in a fixed order or with the index.
        holdout: Batches it was not trained on, 500 samples or more; their labels may be as noisy.
        views: See `repair`.
        depth: See `repair`.
        force: Go on although the network does not predict its training labels.
        return_probabilities: Return the out-of-fold probabilities, too.
        seed: Of samples and views.
        device: To work on; the model's own if not given.
        progress: Show the running step on a terminal.

    Returns:
        One row for each training sample in the loader's order, indexed by the samples' index
        where the loader yields one. Columns as cleanlab has them: `is_label_issue` (bool),
        `label_score` (the probability of the given label, 0..1, lower is worse),
        `given_label`, `predicted_label`; and `p_wrong`, the probability that the given label is
        wrong: 1 - score, its log-odds moved so that its mean is the noise rate. `attrs` has
        `noise_rate` and its 95 % `noise_interval` (None without held-out labels that show it: a
        network that remembers wrong labels hides some, and p_wrong is too low), and, if these
        probabilities are right, `expected_precision` and `expected_recall` of the flags. With
        `return_probabilities` the table and `pred_probs` (N x K, rows in the table's order), as
        cleanlab takes them.

    Raises:
        HeadError: No linear head that gives the network's logits.
        DataError: Data that cannot be used, a loader whose order changes, without an index, or a
            network that does not predict its training labels.
    """
    Options(views, depth, seed=seed)
    for loader in () if force else (train, holdout):
        require_same_names(model, loader)
    train, holdout = Passes(train, ordered=True), opened(holdout, "held-out samples")
    with steps(shown=progress) as step:
        found = survey(model, train, holdout, device=device, seed=seed, step=step)
        if not force:
            found.agreement.require()
        found.moments.require_classes()
        prepared = prepare(found, views, depth, seed=seed, step=step)
        folds = fold_moments(
            prepared.network(prepared.default),
            found.head,
            train,
            prepared.views,
            n=found.moments.n,
            seed=seed,
            step=step,
        )
        step("true labels")
        _require_every_class(folds)
        audit = _audit(prepared, folds, seed)
    table = audit.table()
    return (table, audit.pred_probs) if return_probabilities else table


@dataclass(frozen=True, eq=False)
class _Held:
    """What LDA, fitted to the labels that some rounds inferred, says of the held-out samples."""

    rounds: int
    latent: Latent
    logits_NK: Tensor
    loss: float


def _audit(prepared: Preparation, folds: FoldMoments, seed: int) -> Audit:
    """The rounds of inference that explain the held-out labels best."""
    whole = folds.whole()
    spectrum = Spectrum.of(whole)
    half = folds.along(spectrum, half_rank(spectrum))
    states = _after(half.latents(max(_ROUNDS), prepared.forgotten), _ROUNDS)
    if prepared.holdout is None:
        return _unseen(folds, states)
    features_ND = prepared.held_out_features(prepared.default)
    labels_N = prepared.holdout.labels_N

    def held(rounds: int, latent: Latent) -> _Held:
        soft_NK = latent.labels(prepared.forgotten)
        vanished = not half.every_class_in(soft_NK)
        moments = whole if vanished else folds.relabelled(whole, soft_NK)
        made = Readout.lda(moments, "given" if vanished else "latent", spectrum=spectrum)
        logits_NK = made.logits(features_ND, made.max_rank)
        scores = Scores.explained(logits_NK[:, None], labels_N, seed)
        return _Held(rounds, latent, logits_NK, float(scores.losses().mean()))

    best = min((held(*state) for state in states), key=lambda each: each.loss)
    rate = NoiseRate.held_out(best.logits_NK, labels_N, seed=seed)
    rate = rate or NoiseRate(best.latent.rate, known=False)
    return Audit(best.latent, folds.numbers_N, rate, best.rounds)


def _unseen(folds: FoldMoments, states: Iterable[tuple[int, Latent]]) -> Audit:
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
