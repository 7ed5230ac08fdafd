"""Which labels are wrong: predictions that never saw the label they are compared with."""

from __future__ import annotations

from collections import deque
from itertools import islice

import pandas as pd
import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.network.passes import Passes, opened
from tailcut.network.views import Views
from tailcut.numerics.crossfit import FoldMoments
from tailcut.numerics.latent import Latent
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.class_names import require_same_names
from tailcut.verbs.inference import half_rank
from tailcut.verbs.options import Options
from tailcut.verbs.policy import MANY_ROUNDS
from tailcut.verbs.preparation import prepare
from tailcut.verbs.progress import steps
from tailcut.verbs.survey import survey
from tailcut.verbs.viewing import fold_moments

_MOST_ROUNDS = 8
"""Of inferring the true labels, after which the noise rate is read off (docs/LOG.md)."""

COLUMNS = ("is_label_issue", "label_score", "given_label", "predicted_label")


def find_label_issues(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    views: Views = "auto",
    depth: str = "auto",
    force: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Score every training label by a prediction that did not see it, and flag the wrong ones.

    LDA is fitted on views of four fifths of the training data and asked about the last, on the
    network truncated as `repair` would, first to the given labels, then to the true ones as
    they are inferred: no folds to retrain. Flagged are the lowest scores among the labels that
    the prediction contradicts, as many as the estimated noise rate says.

    Args:
        model: A trained classifier; it is never changed.
        train: The batches it was trained on, in a fixed order or with the index.
        holdout: Batches it was not trained on; they choose how strongly to truncate.
        views: See `repair`.
        depth: See `repair`.
        force: Go on although the network does not predict its training labels.
        seed: Of samples and views.
        device: To work on; the model's own if not given.
        progress: Show the running step on a terminal.

    Returns:
        One row for each training sample in the loader's order, indexed by the samples' index
        where the loader yields one. Columns as cleanlab has them: `is_label_issue` (bool),
        `label_score` (the probability of the given label, 0..1, lower is worse),
        `given_label`, `predicted_label`.

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
        spectrum = Spectrum.of(folds.whole())
        half = folds.along(spectrum, half_rank(spectrum))
        states = half.latents(_MOST_ROUNDS, prepared.forgotten)
        scored = next(islice(states, MANY_ROUNDS - 1, None))
        last = deque(states, maxlen=1).pop()
    return issues_table(scored, folds.numbers_N, last.rate)


def issues_table(latent: Latent, numbers_N: Tensor, rate: float) -> pd.DataFrame:
    """Scores from out-of-fold probabilities, and flags for a share of at most `rate`."""
    given_N, predicted_N = latent.given_N, latent.probabilities_NK.argmax(1)
    score_N = latent.probabilities_NK.gather(1, given_N[:, None])[:, 0].clamp(0, 1)
    contradicted_N = predicted_N != given_N
    most = min(round(rate * len(score_N)), int(contradicted_N.sum()))
    doubt_N = torch.where(contradicted_N, score_N, 2)
    flagged_N = torch.zeros(len(score_N), dtype=torch.bool)
    flagged_N[doubt_N.argsort(stable=True)[:most]] = True
    columns = (flagged_N, score_N, given_N, predicted_N)
    return pd.DataFrame(
        {name: column.numpy() for name, column in zip(COLUMNS, columns, strict=True)},
        index=pd.Index(numbers_N.numpy(), name="index"),
    )


def _require_every_class(folds: FoldMoments) -> None:
    counts_FK = torch.stack([fold.counts["given"] for fold in folds.folds])
    alone_K = counts_FK.sum(0) == counts_FK.amax(0)
    if alone_K.any():
        raise DataError(
            f"class {int(alone_K.int().argmax())} is in one fifth of the training data only",
            wanted="a few samples of each class, so that each fifth can be evaluated by the others",
            advice="Drop the classes that are hardly there, or bring more of their samples",
        )
