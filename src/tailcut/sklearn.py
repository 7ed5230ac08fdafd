"""scikit-learn's face: a classifier and a transformer of feature matrices.

Neither takes sample weights: inferring true labels counts samples, and no weighting of that is
exact.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailcut.errors import DataError, TailcutWarning
from tailcut.numerics.moments import Moments
from tailcut.numerics.references import reference_ranks
from tailcut.numerics.spectrum import Spectrum
from tailcut.readers.words import extra
from tailcut.verbs.matrices import MatrixFit, fit_matrix
from tailcut.verbs.policy import MANY_ROUNDS

extra("sklearn", "sklearn")

from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import validation
from sklearn.utils.multiclass import check_classification_targets

__all__ = ["SpectralTruncation", "SpectralTruncationClassifier"]

Array = NDArray[Any]


class SpectralTruncationClassifier(ClassifierMixin, BaseEstimator):
    """A linear classifier of features with noisy labels, that predicts the true ones.

    A readout in the leading principal directions of the features, fitted to the true labels as
    they are inferred from the given ones by expectation maximisation out of fold: P(true | x) and
    the transition matrix P(given | true) in turns. No clean label is needed. Deterministic: one
    set of rows gives one classifier, in any order. N samples, D features, K classes of any type;
    memory: 2 x N x D float64.

    Where classes overlap much although their labels are right, inference takes that for noise:
    `rounds=0` is then better. Where a class has too few samples to leave some out, labels stay as
    they are given, all directions are kept, and `rounds_` is 0.

    Args:
        rank: Directions to keep, 1..min(N - 1, D), or "auto": all, unless fewer lead by a
            standard error in the cross-validated log loss of the given labels, read through the
            noise (Patrini et al. 2017, "forward correction").
        readout: "lda", "ridge" or "centroid".
        rounds: Of inferring true labels; 0 takes the given ones.

    Attributes:
        classes_: Labels, sorted (K,).
        coef_: Weights of the calibrated log odds: (1, D) for two classes, else (K, D).
        intercept_: Theirs, (1,) or (K,).
        rank_: Directions kept.
        rounds_: Rounds of inference that were made.
        spectrum_: `tailcut.Spectrum` of the features.
        noise_rate_: Estimated share of wrong labels, 0..1; None if a class is too rare.
        transition_: Estimated P(given | true), (K, K), rows sum to 1; None likewise.
        n_features_in_: D.
        feature_names_in_: Names of the features, where X has names that are texts.
    """

    def __init__(
        self, rank: int | str = "auto", readout: str = "lda", *, rounds: int = MANY_ROUNDS
    ) -> None:
        self.rank = rank
        self.readout = readout
        self.rounds = rounds

    def fit(self, X: Any, y: Any) -> SpectralTruncationClassifier:
        """Learn from features and noisy labels.

        Args:
            X: (N, D): array, DataFrame, torch tensor or sparse matrix, which is made dense.
            y: (N,) class labels.

        Raises:
            ValueError: NaN, infinities, shapes or labels that cannot be used, as scikit-learn
                names them.
            DataError: Labels of one class, constant features, or arguments out of range.
        """
        rank, rounds = _count(self.rank, 1, "rank", or_auto=True), _count(self.rounds, 0, "rounds")
        X, y = _validate(self, _numpy(X), y=_numpy(y), reset=True)
        X = _dense(X)
        check_classification_targets(y)
        classes, codes_N = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"labels of 1 class, {classes.tolist()[0]!r}, for {len(X)} samples",
                wanted="at least 2 classes",
                advice="Check y, or bring samples of other classes",
            )
        found = fit_matrix(
            torch.from_numpy(X),
            torch.from_numpy(codes_N.astype(np.int64)),
            len(classes),
            readout=self.readout,
            rank=rank,
            rounds=rounds,
        )
        self.classes_ = classes
        self._keep(found)
        return self

    def _keep(self, found: MatrixFit) -> None:
        weight_KD, bias_K = found.weight_KD.numpy(), found.bias_K.numpy()
        if len(bias_K) == 2:
            weight_KD, bias_K = weight_KD[1:] - weight_KD[:1], bias_K[1:] - bias_K[:1]
        self.coef_, self.intercept_ = weight_KD, bias_K
        self.spectrum_, self.rank_, self.rounds_ = found.spectrum, found.rank, found.rounds
        noise = found.noise
        self.noise_rate_ = None if noise is None else noise.rate
        self.transition_ = None if noise is None else noise.transition_KK.numpy()

    def decision_function(self, X: Any) -> Array:
        """Calibrated log odds: (N,) of the second of two classes, else logits (N, K)."""
        validation.check_is_fitted(self)
        logits_NK = _features(self, X) @ self.coef_.T + self.intercept_
        return logits_NK[:, 0] if len(self.classes_) == 2 else logits_NK

    def predict(self, X: Any) -> Array:
        """The likeliest true class of each sample (N,)."""
        said = self.decision_function(X)
        codes_N = (said > 0).astype(int) if said.ndim == 1 else said.argmax(1)
        return self.classes_[codes_N]

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the true classes (N, K) in the order of `classes_`; rows sum to 1."""
        said = self.decision_function(X)
        if said.ndim == 1:
            return np.stack([expit(-said), expit(said)], 1)
        return softmax(said, axis=1)

    def __sklearn_tags__(self) -> Any:
        return _accepts_sparse(super().__sklearn_tags__())


class SpectralTruncation(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Projection on the leading principal directions, as many as stand out from noise.

    (X - mean) V with V the leading eigenvectors of the covariance; labels have no part. N samples,
    D features.

    Args:
        n_components: R, 1..min(N - 1, D), or "auto": those whose variance exceeds that of
            uncorrelated features (parallel analysis: Horn 1965), at least one; for more than 1 024
            features those above the edge of Marchenko & Pastur (1967).

    Attributes:
        components_: Directions as rows (R, D), orthonormal.
        explained_variance_: Variance along each (R,), divided by N, in squared feature units.
        mean_: Of the features (D,).
        n_components_: R.
        spectrum_: `tailcut.Spectrum` of the features.
        n_features_in_: D.
        feature_names_in_: Names of the features, where X has names that are texts.
    """

    def __init__(self, n_components: int | str = "auto") -> None:
        self.n_components = n_components

    def fit(self, X: Any, y: Any = None) -> SpectralTruncation:
        """Find the directions.

        Args:
            X: (N, D), see `SpectralTruncationClassifier.fit`.
            y: Not used.

        Raises:
            ValueError: Features that cannot be used, as scikit-learn says it.
            DataError: One sample, constant features, or more components than directions vary.
        """
        del y
        wanted = _count(self.n_components, 1, "n_components", or_auto=True)
        X = _features(self, X, reset=True)
        moments = Moments(X.shape[1], 1)
        moments.update(torch.from_numpy(X), given=torch.zeros(len(X), dtype=torch.int64))
        spectrum = Spectrum.of(moments)
        basis_DR = spectrum.directions()
        if wanted == "auto":
            ranks = reference_ranks(moments, spectrum)
            name = "parallel analysis"
            wanted = max(1, ranks.get(name, ranks["Marchenko-Pastur"]))
        if wanted > spectrum.rank:
            raise DataError(
                f"n_components {wanted}",
                wanted=f"1..{spectrum.rank}, the directions in which the features vary",
                advice="Choose fewer components, or bring more samples",
            )
        self.components_ = np.ascontiguousarray(basis_DR[:, :wanted].numpy().T)
        self.explained_variance_ = spectrum.eigenvalues_D[:wanted].numpy().copy()
        self.mean_ = spectrum.mean_D.numpy().copy()
        self.n_components_ = self._n_features_out = wanted
        self.spectrum_ = spectrum
        return self

    def transform(self, X: Any) -> Array:
        """Coordinates along the directions (N, R), float64."""
        validation.check_is_fitted(self)
        return (_features(self, X) - self.mean_) @ self.components_.T

    def inverse_transform(self, X: Any) -> Array:
        """Features (N, D) of coordinates (N, R): what the cut leaves of them."""
        validation.check_is_fitted(self)
        return validation.check_array(_numpy(X)) @ self.components_ + self.mean_

    def __sklearn_tags__(self) -> Any:
        return _accepts_sparse(super().__sklearn_tags__())


def _features(estimator: BaseEstimator, X: Any, *, reset: bool = False) -> Array:
    """Features (N, D) as float64, of the width and names that were fitted; or new ones."""
    return _dense(_validate(estimator, _numpy(X), reset=reset))


def _validate(estimator: BaseEstimator, X: Any, **options: Any) -> Any:
    """scikit-learn's check of its input, wherever the installed release has it.

    Raises:
        ValueError: What it refuses.
    """
    options |= {"accept_sparse": "csr", "dtype": np.float64}
    validate = getattr(validation, "validate_data", None)  # since scikit-learn 1.6
    if validate is None:
        return getattr(estimator, "_validate_data")(X, **options)  # noqa: B009 gone since 1.6
    return validate(estimator, X, **options)


def _numpy(values: Any) -> Any:
    """A torch tensor as an array; anything else as it is."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return values


def _dense(X: Any) -> Array:
    """An array that may be written, as torch wants it; of a sparse matrix with a warning."""
    if not sparse.issparse(X):
        return np.require(X, requirements="W")
    size = 8 * X.shape[0] * X.shape[1] / 2**20
    warnings.warn(
        f"sparse features of shape {X.shape} are made dense, which takes {size:.1f} MiB",
        TailcutWarning,
        stacklevel=4,
    )
    return X.toarray()


def _count(value: Any, least: int, name: str, *, or_auto: bool = False) -> Any:
    """An integer argument from `least` on, or "auto" where that may be said.

    Raises:
        DataError: Anything else.
    """
    if or_auto and isinstance(value, str) and value == "auto":
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise DataError(
        f"{name}={value!r}",
        wanted=f"an integer of at least {least}" + (', or "auto"' if or_auto else ""),
        advice=f"Correct {name}, or leave it out",
    )


def _accepts_sparse(tags: Any) -> Any:
    tags.input_tags.sparse = True
    return tags
