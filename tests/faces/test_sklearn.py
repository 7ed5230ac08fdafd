"""scikit-learn's face."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tailcut import DataError, Moments
from tailcut.errors import TailcutWarning
from tailcut.numerics.references import parallel_analysis_rank
from tailcut.sklearn import SpectralTruncation, SpectralTruncationClassifier

DIGITS = load_digits()


def noisy_digits(rate=0.4, seed=0):
    """Features and labels to learn from, features and true labels to test on."""
    random = np.random.default_rng(seed)
    order, half = random.permutation(len(DIGITS.target)), 900
    features, true = DIGITS.data[order], DIGITS.target[order]
    flipped = random.random(half) < rate
    given = true[:half].copy()
    given[flipped] = (given[flipped] + random.integers(1, 10, flipped.sum())) % 10
    return features[:half], given, features[half:], true[half:]


# Some checks pass sparse matrices, and ours are made dense with a warning.
@pytest.mark.filterwarnings("ignore:sparse features of shape:tailcut.errors.TailcutWarning")
@parametrize_with_checks(
    [
        SpectralTruncationClassifier(),
        SpectralTruncationClassifier(readout="centroid", rounds=0),
        SpectralTruncationClassifier(readout="ridge", rounds=1),
        SpectralTruncation(),
    ]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_with_wrong_labels_it_is_ahead_of_the_same_classifier_without_inference():
    features, given, test, true = noisy_digits()
    found = SpectralTruncationClassifier().fit(features, given)
    plain = SpectralTruncationClassifier(rounds=0).fit(features, given)
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features, given)
    assert found.score(test, true) > max(plain.score(test, true), lda.score(test, true)) + 0.02
    assert abs(found.noise_rate_ - 0.4) < 0.06
    assert abs(plain.noise_rate_ - 0.4) < 0.12
    np.testing.assert_allclose(found.transition_.sum(1), 1)


def test_on_true_labels_it_finds_no_noise_and_costs_next_to_nothing():
    features, given, test, true = noisy_digits(rate=0)
    found = SpectralTruncationClassifier().fit(features, given)
    plain = SpectralTruncationClassifier(rounds=0).fit(features, given)
    assert found.noise_rate_ < 0.05
    assert found.score(test, true) > plain.score(test, true) - 0.02


def test_the_rank_is_cut_where_the_signal_lies_in_few_directions():
    random = np.random.default_rng(0)
    means = np.zeros((5, 100))
    means[:, :6] = 3 * random.standard_normal((5, 6))
    spread = np.r_[np.full(6, 2.0), np.linspace(1.5, 0.3, 94)]
    true = random.integers(0, 5, 600)
    features = means[true] + spread * random.standard_normal((600, 100))
    given = np.where(random.random(600) < 0.4, random.integers(0, 5, 600), true)
    found = SpectralTruncationClassifier(rounds=0).fit(features[:300], given[:300])
    whole = SpectralTruncationClassifier(rank=100, rounds=0).fit(features[:300], given[:300])
    assert found.rank_ < 20
    assert found.score(features[300:], true[300:]) > whole.score(features[300:], true[300:]) + 0.05


def test_neither_the_order_of_the_rows_nor_a_second_run_changes_anything():
    features, given, test, _ = noisy_digits()
    order = np.random.default_rng(1).permutation(len(given))
    first, again, shuffled = (
        SpectralTruncationClassifier().fit(features[rows], given[rows])
        for rows in (slice(None), slice(None), order)
    )
    np.testing.assert_array_equal(first.predict_proba(test), again.predict_proba(test))
    np.testing.assert_allclose(shuffled.predict_proba(test), first.predict_proba(test), atol=1e-8)


def test_probabilities_of_true_classes_are_as_often_right_as_they_say():
    features, given, test, true = noisy_digits()
    chances = SpectralTruncationClassifier().fit(features, given).predict_proba(test)
    right = chances.argmax(1) == true
    assert abs(chances.max(1).mean() - right.mean()) < 0.06


def test_labels_may_be_texts_and_two_classes_are_told_by_one_number():
    features, given, test, _ = noisy_digits(rate=0.2)
    names = np.where(given < 5, "low", "high")
    found = SpectralTruncationClassifier().fit(features, names)
    assert found.classes_.tolist() == ["high", "low"]
    assert found.coef_.shape == (1, 64)
    assert found.intercept_.shape == (1,)
    said = found.decision_function(test)
    np.testing.assert_array_equal(found.predict(test), np.where(said > 0, "low", "high"))
    np.testing.assert_allclose(found.predict_proba(test)[:, 1], 1 / (1 + np.exp(-said)))


def test_a_rare_class_leaves_labels_as_they_are():
    features, given, test, _ = noisy_digits(rate=0)
    kept = (given < 3) | (np.arange(len(given)) == np.flatnonzero(given == 3)[0])
    found = SpectralTruncationClassifier().fit(features[kept], given[kept])
    assert (found.rounds_, found.noise_rate_, found.transition_) == (0, None, None)
    assert set(found.predict(test)) >= {0, 1, 2}


def test_in_a_grid_behind_a_scaler_and_in_cross_validation():
    features, given, test, true = noisy_digits(rate=0.2)
    pipeline = make_pipeline(StandardScaler(), SpectralTruncationClassifier())
    name = "spectraltruncationclassifier__"
    grid = GridSearchCV(pipeline, {f"{name}rank": [4, 32], f"{name}rounds": [0, 1]}, cv=3)
    grid.fit(features, given)
    assert grid.best_params_[f"{name}rank"] == 32
    assert grid.score(test, true) > 0.85
    assert cross_val_predict(pipeline, test, true, cv=3).shape == true.shape


@pytest.mark.parametrize("kind", [torch.tensor, sparse.csr_matrix, sparse.csc_array])
def test_tensors_and_sparse_matrices_are_read_as_arrays_are(kind):
    features, given, test, _ = noisy_digits()
    plain = SpectralTruncationClassifier(rounds=1).fit(features, given)
    made = SpectralTruncationClassifier(rounds=1)
    if kind is torch.tensor:
        made.fit(kind(features), torch.tensor(given))
        chances = made.predict_proba(kind(test, requires_grad=True))
    else:
        told = r"sparse features of shape \(900, 64\) are made dense, which takes 0.4 MiB"
        with pytest.warns(TailcutWarning, match=told):
            made.fit(kind(features), given)
        with pytest.warns(TailcutWarning, match="are made dense"):
            chances = made.predict_proba(kind(test))
    np.testing.assert_allclose(chances, plain.predict_proba(test), atol=1e-9)


def test_the_transformer_projects_and_leads_back():
    features, *_ = noisy_digits()
    found = SpectralTruncation(n_components=10).fit(features)
    along = found.transform(features)
    assert along.shape == (900, 10)
    np.testing.assert_allclose(along.var(0), found.explained_variance_)
    back = found.inverse_transform(along)
    np.testing.assert_allclose(found.transform(back), along, atol=1e-9)
    np.testing.assert_allclose(back.mean(0), features.mean(0), atol=1e-9)
    lost = ((features - back) ** 2).sum(1).mean()
    np.testing.assert_allclose(lost, found.spectrum_.eigenvalues_D[10:].sum(), rtol=1e-9)


def test_the_number_of_components_is_that_of_parallel_analysis():
    features, *_ = noisy_digits()
    moments = Moments(64, 1).update(torch.tensor(features), given=torch.zeros(900).long())
    found = SpectralTruncation().fit(features)
    assert found.n_components_ == parallel_analysis_rank(moments)
    noise = np.random.default_rng(0).standard_normal((500, 20))
    assert SpectralTruncation().fit(noise).n_components_ == 1


def test_frames_keep_their_names():
    frame = pd.DataFrame(noisy_digits()[0], columns=[f"pixel {n}" for n in range(64)])
    found = SpectralTruncation(n_components=2).set_output(transform="pandas").fit(frame)
    names = ["spectraltruncation0", "spectraltruncation1"]
    assert found.transform(frame).columns.tolist() == names
    assert found.get_feature_names_out().tolist() == names
    assert found.feature_names_in_[1] == "pixel 1"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda x, y: SpectralTruncationClassifier().fit(x, y * 0),
            "labels of 1 class, 0, for 900 samples; wanted at least 2 classes. Check y, or bring "
            "samples of other classes.",
        ),
        (
            lambda x, y: SpectralTruncationClassifier(rank=0).fit(x, y),
            'rank=0; wanted an integer of at least 1, or "auto". Correct rank, or leave it out.',
        ),
        (
            lambda x, y: SpectralTruncationClassifier(rounds=1.5).fit(x, y),
            "rounds=1.5; wanted an integer of at least 0. Correct rounds, or leave it out.",
        ),
        (
            lambda x, y: SpectralTruncationClassifier(readout="project").fit(x, y),
            "no readout called 'project' that is fitted; wanted one of centroid, ridge, lda. "
            "Correct the name, or put the function that fits it into FITS.",
        ),
        (
            lambda x, y: SpectralTruncation(n_components=65).fit(x, y),
            "n_components 65; wanted 1..60, the directions in which the features vary. Choose "
            "fewer components, or bring more samples.",
        ),
    ],
)
def test_what_cannot_be_used_is_told(make, message):
    features, given, *_ = noisy_digits()
    with pytest.raises(DataError) as told:
        make(features, given)
    assert str(told.value) == message
