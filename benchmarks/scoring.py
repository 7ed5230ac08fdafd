"""How well wrong labels are found (AUROC): the audit and its rivals."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from torch import Tensor

from tailcut.lab.baselines.papers_cut import papers_curve
from tailcut.lab.baselines.scores import SCORES
from tailcut.lab.baselines.subject import Classifier, Subject, linear
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum

_FOLDS = 5

_UNTOUCHED = "logistic regression on the untouched backbone, out of fold"
_INPUTS = "logistic regression on raw inputs, out of fold"


def label_scores(
    own: Subject, untouched: Subject | None, clean_N: Tensor, known: Collection[str] = ()
) -> dict[str, float]:
    """AUROC of each label score against the wrong labels; empty where there are none.

    Args:
        own: The network.
        untouched: A pretrained one before it was fine-tuned.
        clean_N: True labels of the training samples.
        known: Names of scores to leave out.
    """
    wrong_N = (own.train_features[1] != clean_N).numpy()
    if not wrong_N.any():
        return {}
    return {
        name: float(roc_auc_score(wrong_N, suspicion()))
        for name, suspicion in suspicions(own, untouched).items()
        if name not in known
    }


def suspicions(own: Subject, untouched: Subject | None) -> dict[str, Callable[[], Any]]:
    """How suspicious each training label (N,) is, by the name of the score.

    Args:
        own: The network.
        untouched: See `label_scores`.
    """
    ways: dict[str, Callable[[], Any]] = {
        "audit": lambda: -own.issues["label_score"].to_numpy(),
        "own confidence": lambda: -_of_given(_own_head(own), own),
        "own head at the cut's rank": lambda: -_of_given(_cut_head(own), own),
        **{name: lambda score=score: score(own).numpy() for name, score in SCORES.items()},
    }
    if untouched is not None:
        ways[_UNTOUCHED] = lambda: -_out_of_fold(untouched)
    return ways


def inputs_score(pixels: Subject, clean_N: Tensor) -> dict[str, float]:
    """The same of the raw inputs."""
    wrong_N = (pixels.train_features[1] != clean_N).numpy()
    return {_INPUTS: float(roc_auc_score(wrong_N, -_out_of_fold(pixels)))} if wrong_N.any() else {}


def _own_head(own: Subject) -> Classifier:
    return linear(*own.parameters())


def _cut_head(own: Subject) -> Classifier:
    """The own head at the rank that the paper's cut takes by the holdout."""
    curve = papers_curve(own)
    rank = curve["rank"][int(np.argmax(curve["holdout"]))]
    return linear(*Readout.project(Spectrum.of(own.moments), *own.parameters()).fold(rank))


def _of_given(way: Classifier, subject: Subject) -> Any:
    """Probability (N,) of each given label."""
    features_ND, given_N = subject.train_features
    chances_NK = way(features_ND).softmax(1).cpu()
    return chances_NK.gather(1, given_N[:, None])[:, 0].numpy()


def _out_of_fold(subject: Subject) -> Any:
    """The same by scikit-learn's logistic regression, C = 0.01 on unit scale, out of fold."""
    features_ND, given_N = subject.train_features
    fit = LogisticRegression(C=0.01, max_iter=200, tol=1e-3)
    scaled = (features_ND / features_ND.std()).numpy()
    found = cross_val_predict(fit, scaled, given_N.numpy(), cv=_FOLDS, method="predict_proba")
    return torch.from_numpy(found).gather(1, given_N[:, None])[:, 0].numpy()
