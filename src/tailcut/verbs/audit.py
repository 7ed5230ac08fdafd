"""Which labels are wrong: predictions that never saw the label they are compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, overload

import numpy as np
import pandas as pd
import torch
from torch import nn

from tailcut._typing import Batches
from tailcut.network.passes import Passes, opened
from tailcut.network.views import Views
from tailcut.verbs.backbone import Backbone
from tailcut.verbs.class_names import require_same_names
from tailcut.verbs.options import Options
from tailcut.verbs.preparation import prepare
from tailcut.verbs.progress import steps
from tailcut.verbs.survey import Survey, survey
from tailcut.verbs.suspects import Audit, Unseen, audited
from tailcut.verbs.viewing import fold_moments


@overload
def find_label_issues(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    views: Views = "auto",
    depth: str = "auto",
    backbone: nn.Module | None = None,
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
    backbone: nn.Module | None = None,
    force: bool = False,
    return_probabilities: Literal[True],
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]: ...
def find_label_issues(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    views: Views = "auto",
    depth: str = "auto",
    backbone: nn.Module | None = None,
    force: bool = False,
    return_probabilities: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> pd.DataFrame | tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Score every training label by a prediction that did not see it, and flag the wrong ones.

    LDA is fitted on views of four fifths of the training data and asked about the last, on the
    network truncated as `repair` would, first to the given labels, then to the true ones as
    they are inferred: no folds to retrain. Held-out labels choose the rounds of inference and say
    how many labels are wrong. Flagged is what the prediction contradicts and is rather wrong than
    right.

    With a backbone the features are its own, and remember nothing: the given labels themselves say
    out of fold how many directions to keep, and, without held-out labels, how many are wrong. If it
    is what the model was fine-tuned from, the model joins in, with as little of its fine-tuning
    kept as the held-out labels like best, unless it remembers most labels all the same.

    Args:
        model: A trained classifier; it is never changed.
        train: The batches it was trained on, in a fixed order or with the index.
        holdout: Batches it was not trained on, 500 samples or more; their labels may be as noisy.
        views: See `repair`.
        depth: See `repair`.
        backbone: A pretrained network that never saw these labels, with a linear head of any
            number of outputs; it reads the same inputs. Its features stand in for those of the
            model, as they are: `views` and `depth` are not used. For text and other data where
            no view makes a fine-tuned network forget.
        force: Go on although the network does not predict its training labels.
        return_probabilities: Return the out-of-fold probabilities and the features, too.
        seed: Of samples and views.
        device: To work on; the model's own if not given.
        progress: Show the running step on a terminal.

    Returns:
        One row for each training sample in the loader's order, indexed by the samples' index
        where the loader yields one. Columns as cleanlab has them: `is_label_issue` (bool),
        `label_score` (the probability of the given label, 0..1, lower is worse),
        `given_label`, `predicted_label`; and `p_wrong`, the probability that the given label is
        wrong: 1 - score, its log-odds moved so that its mean is the noise rate. `attrs` has
        `backbone` (the class of the one that stood in, or None),
        `noise_rate` and its 95 % `noise_interval` (None without held-out labels that show it: a
        network that remembers wrong labels hides some, and p_wrong is too low), and, if these
        probabilities are right, `expected_precision` and `expected_recall` of the flags. With
        `return_probabilities` the table, `pred_probs` (N x K) and `features` (N x D, averaged
        over the views), rows in the table's order: as cleanlab takes them (docs/cleanlab.md).

    Raises:
        HeadError: No linear head that gives the network's logits.
        DataError: Data that cannot be used, a loader whose order changes, without an index, or a
            network that does not predict its training labels.
    """
    Options(views, depth, seed=seed)
    for loader in () if force else (train, holdout):
        require_same_names(model, loader)
    train, holdout = Passes(train, ordered=True), opened(holdout, "held-out samples")
    other = None if backbone is None else Backbone.of(backbone, model, train, device)
    with steps(shown=progress) as step:
        found = survey(model, train, holdout, device=device, seed=seed, step=step)
        if not force:
            found.agreement.require()
        found.moments.require_classes()
        if other is None:
            audit = _by_itself(found, train, views, depth, seed=seed, step=step)
        else:
            audit = _by_backbone(other, found, train, seed=seed, step=step)
    table = audit.table()
    table.attrs["backbone"] = None if other is None else other.name
    return (table, audit.pred_probs, audit.features) if return_probabilities else table


def _by_itself(
    found: Survey,
    train: Passes,
    views: Views,
    depth: str,
    *,
    seed: int,
    step: Callable[[str], None],
) -> Audit:
    """By views of the training data, on the network truncated as `repair` would."""
    prepared = prepare(found, views, depth, seed=seed, step=step)
    model, n = prepared.network(prepared.default), found.moments.n
    folds = fold_moments(model, found.head, train, prepared.views, n=n, seed=seed, step=step)
    step("true labels")
    unseen = None
    if prepared.holdout is not None:
        features_ND = prepared.held_out_features(prepared.default)
        unseen = Unseen(features_ND, prepared.holdout.labels_N)
    return audited(folds, unseen, forgotten=prepared.forgotten, seed=seed)


def _by_backbone(
    other: Backbone, found: Survey, train: Passes, *, seed: int, step: Callable[[str], None]
) -> Audit:
    """By features that remember no label, so that the given one is evidence in full.

    Joined by the network itself where little of its fine-tuning predicts as well.
    """
    folds = other.folds(train, found.head.classes, step)
    step("true labels")
    audit = audited(folds, other.unseen(found.holdout), untouched=True, seed=seed)
    tuned_NK = other.fine_tuned(found, train, step)
    return audit if tuned_NK is None else audit.joined(tuned_NK)
