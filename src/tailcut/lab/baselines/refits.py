"""The head fitted anew to the given labels, in all directions of the penultimate features."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Subject, folded, linear
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout

_RIDGE_PENALTIES = (1e-6, 1e-3, 1e-1)


@baseline("ridge refit", place=2)
def ridge_refit(subject: Subject) -> float:
    """Least squares on the given labels, all directions, penalty by the holdout."""
    return subject.best(
        [folded(Readout.ridge(subject.moments, penalty=penalty)) for penalty in _RIDGE_PENALTIES]
    )


@baseline("logistic refit", place=3)
def logistic_refit(subject: Subject) -> float:
    """scikit-learn's LogisticRegression on the given labels, C by the holdout."""
    return subject.best([linear(*head) for head in logistic_heads(*subject.train_features)])


def logistic_heads(features_ND: Tensor, given_N: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight (K x D) and bias (K,) of scikit-learn's LogisticRegression.

    Args:
        features_ND: Scaled by one number for all, their standard deviation.
        given_N: Labels 0..K-1, each of which is there.

    Yields:
        One head each for C = 0.0001, 0.01 and 1.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    scale = float(features_ND.std())
    for inverse in (1e-4, 1e-2, 1.0):
        fit = LogisticRegression(C=inverse, max_iter=200, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit.fit((features_ND / scale).numpy(), given_N.numpy())
        weight_KD, bias_K = torch.from_numpy(fit.coef_), torch.from_numpy(fit.intercept_)
        if len(bias_K) == 1:  # of two classes it holds the second alone, as against the first
            weight_KD, bias_K = (torch.cat([0 * each, each]) for each in (weight_KD, bias_K))
        yield weight_KD.double() / scale, bias_K.double()


@baseline("LDA refit", place=4)
def lda_refit(subject: Subject) -> float:
    """LDA on the given labels of the training samples as they are, all directions."""
    return subject.accuracy(folded(Readout.lda(subject.moments)))


@baseline("LDA on the holdout", place=5)
def lda_on_holdout(subject: Subject) -> float:
    """LDA fitted on the holdout itself, which the network has not learned, all directions."""
    features_ND, given_N = subject.holdout_features
    moments = Moments(subject.head.width, subject.head.classes)
    readout = Readout.lda(moments.update(features_ND, given=given_N))
    return subject.accuracy(folded(readout))


@baseline("nearest mean", place=6)
def nearest_mean(subject: Subject) -> float:
    """Nearest class mean in all directions."""
    return subject.accuracy(folded(Readout.centroid(subject.moments)))
