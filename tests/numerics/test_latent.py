"""Latent labels: known noise is found again, folds never see their own labels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from reference import gaussian
from tailcut.errors import DataError
from tailcut.lab import noise
from tailcut.numerics.latent import FoldMoments, Latent, fold_of
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum

CLASSES = 4


def lda(moments, label_set, spectrum):
    return Readout.lda(moments, label_set, spectrum=spectrum, shrinkage=0.1, rank=3)


def clusters(n, spread=0.5, seed=0):
    """Features of Gaussian classes around the unit vectors, two views each, and true labels."""
    true_N = torch.arange(n) % CLASSES
    means_KD = torch.eye(CLASSES, 6)
    return means_KD[true_N] + spread * gaussian(2, n, 6, seed=seed).float(), true_N


def filled(features_VND, given_N, folds=5, batch=64):
    moments = FoldMoments(features_VND.shape[2], CLASSES, folds)
    for rows in torch.arange(len(given_N)).split(batch):
        moments.update(features_VND[:, rows], given_N[rows], rows)
    return moments


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
def test_the_transition_matrix_of_calibrated_probabilities_is_found(kind, rate):
    logits_NK = 3 * gaussian(20_000, CLASSES).double()
    drawn = torch.multinomial(logits_NK.softmax(1), 1, generator=torch.Generator().manual_seed(7))
    transition_KK = noise.transition(kind, CLASSES, rate)
    given_N = noise.corrupt(drawn[:, 0], transition_KK, seed=1)
    found = Latent.of(4 * logits_NK, given_N)
    assert found.rate == pytest.approx(rate, abs=0.06)
    assert (found.transition_KK - transition_KK).abs().max() < 0.1
    assert found.temperature == pytest.approx(4, rel=0.5)


@settings(deadline=None, max_examples=20)
@given(st.integers(5, 40), st.integers(0, 100))
def test_posteriors_are_bayes_rule_with_the_transition_matrix(n, seed):
    logits_NK = gaussian(n, CLASSES, seed=seed).double()
    given_N = gaussian(n, CLASSES, seed=seed + 1).argmax(1)
    found = Latent.of(logits_NK, given_N)
    torch.testing.assert_close(found.transition_KK.sum(1), torch.ones(CLASSES).double())
    for i in range(n):
        joint_K = found.probabilities_NK[i] * found.transition_KK[:, given_N[i]]
        torch.testing.assert_close(found.posterior_NK[i], joint_K / joint_K.sum())
    wrong = sum(1 - float(found.posterior_NK[i, given_N[i]]) for i in range(n)) / n
    assert found.rate == pytest.approx(wrong)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 30), st.integers(2, 6))
def test_the_whole_is_the_moments_of_all_views(batch, folds):
    features_VND, true_N = clusters(40)
    whole = filled(features_VND, true_N, folds, batch).whole()
    plain = Moments(6, CLASSES).update(features_VND.flatten(0, 1), given=true_N.repeat(2))
    torch.testing.assert_close(whole.scatter_DD, plain.scatter_DD)
    torch.testing.assert_close(whole.deviations, plain.deviations)
    assert whole.n == plain.n == 80


def test_soft_labels_fit_what_the_same_samples_fit_in_those_shares():
    features_VND, true_N = clusters(60)
    soft_NK = torch.nn.functional.one_hot(true_N, CLASSES).double()
    soft_NK = 0.75 * soft_NK + 0.25 * soft_NK.roll(1, 1)
    soft = Readout.lda(filled(features_VND, true_N).whole(soft_NK), "latent", shrinkage=0.1)
    shares = Moments(6, CLASSES)
    for shift in (0, 0, 0, 1):
        labels_N = ((true_N + shift) % CLASSES).repeat(2)
        shares.update(features_VND.flatten(0, 1), given=labels_N)
    hard = Readout.lda(shares, shrinkage=0.1)
    for mine, theirs in zip(soft.fold(6), hard.fold(6), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_sample_is_judged_by_a_fit_to_the_other_folds():
    features_VND, true_N = clusters(200)
    moments = filled(features_VND, true_N)
    spectrum = Spectrum.of(moments.whole())
    soft_NK = torch.nn.functional.one_hot(true_N, CLASSES).double()
    logits_NK = moments.out_of_fold(soft_NK, lda, spectrum)
    fold_N, directions = fold_of(torch.arange(200), 5), spectrum.directions()[:, :3].numpy()
    for fold in range(5):
        inside_N = fold_N == fold
        others = features_VND[:, ~inside_N].flatten(0, 1).numpy()
        shrunk = Readout.lda(
            Moments(6, CLASSES).update(torch.tensor(others), given=true_N[~inside_N].repeat(2)),
            spectrum=spectrum,
            shrinkage=0,
        )
        peer = LinearDiscriminantAnalysis("lsqr").fit(
            others @ directions, true_N[~inside_N].repeat(2)
        )
        asked = features_VND[:, inside_N].mean(0)
        agreed = torch.tensor(peer.predict(asked.numpy() @ directions))
        assert torch.equal(shrunk.logits(asked, 3).argmax(1), agreed)
        plain = Moments(6, CLASSES)
        plain.update(torch.tensor(others), given=true_N[~inside_N].repeat(2))
        slow_NK = lda(plain, "given", spectrum).logits(asked, 3)
        torch.testing.assert_close(logits_NK[inside_N], slow_NK)


def test_a_label_has_no_part_in_what_is_said_of_its_sample():
    features_VND, true_N = clusters(100)
    said = []
    for label in (0, 1):
        changed_N = true_N.clone()
        changed_N[7] = label
        moments = filled(features_VND, changed_N)
        soft_NK = torch.nn.functional.one_hot(changed_N, CLASSES).double()
        said.append(moments.out_of_fold(soft_NK, lda, Spectrum.of(moments.whole()))[7])
    torch.testing.assert_close(*said)


def test_rounds_find_the_wrong_labels_and_mend_a_class_given_for_another():
    features_VND, true_N = clusters(2000)
    given_N = noise.corrupt(true_N, noise.pair(CLASSES, 0.4), seed=0)
    moments = filled(features_VND, given_N)
    first, *_, last = moments.latents(5, lda, Spectrum.of(moments.whole()))
    wrong_N = given_N != true_N
    aurocs = [
        roc_auc_score(wrong_N, -state.probabilities_NK.gather(1, given_N[:, None])[:, 0])
        for state in (first, last)
    ]
    assert aurocs[1] > 0.95 > aurocs[0]
    assert last.rate == pytest.approx(0.4, abs=0.05)
    assert (last.posterior_NK.argmax(1) == true_N).double().mean() > 0.95


def test_self_training_fits_in_rounds_to_what_it_said_of_the_other_folds():
    features_VND, true_N = clusters(200)
    given_N = noise.corrupt(true_N, noise.symmetric(CLASSES, 0.4), seed=0)
    moments = filled(features_VND, given_N)
    spectrum = Spectrum.of(moments.whole())
    soft_NK = torch.nn.functional.one_hot(given_N, CLASSES).double()
    said_NK = soft_NK
    for _ in range(3):
        said_NK = moments.out_of_fold(said_NK, lda, spectrum).softmax(1)
    state = moments.self_trained(soft_NK, 3, lda, spectrum)
    torch.testing.assert_close(state.probabilities_NK, said_NK)
    assert state.temperature == 1


@pytest.mark.parametrize("wrong", [0.0, 0.5])
def test_self_training_mends_labels_that_the_features_remember(wrong):
    features_VND, true_N = clusters(2000, spread=0.35)
    given_N = noise.corrupt(true_N, noise.symmetric(CLASSES, wrong), seed=0)
    learned_VNK = 0.15 * torch.eye(CLASSES)[given_N] + 0.35 * gaussian(2, 2000, CLASSES, seed=9)
    moments = filled(torch.cat([features_VND, learned_VNK.float()], 2), given_N)
    spectrum = Spectrum.of(moments.whole())

    def fit(moments, label_set, spectrum):
        return Readout.lda(moments, label_set, spectrum=spectrum)

    *_, inferred = moments.latents(4, fit, spectrum)
    trained = moments.self_trained(inferred.posterior_NK, 2, fit, spectrum)
    right = [
        (labels_NK.argmax(1) == true_N).double().mean()
        for labels_NK in (inferred.posterior_NK, trained.probabilities_NK)
    ]
    assert right[1] > 0.98
    if wrong:
        assert right[0] < 0.7
        assert inferred.rate + 0.05 < trained.rate < wrong
    else:
        assert trained.rate < 0.02


def test_labels_that_have_nothing_to_do_with_the_features_stay_unexplained():
    given_N = gaussian(2000, CLASSES, seed=5).argmax(1)
    moments = filled(gaussian(2, 2000, 6).float(), given_N)
    *_, state = moments.latents(2, lda, Spectrum.of(moments.whole()))
    own_N = state.probabilities_NK.gather(1, given_N[:, None])[:, 0]
    assert abs(float(own_N.mean()) - 1 / CLASSES) < 0.05


def test_clean_labels_stay_as_they_are():
    features_VND, true_N = clusters(1000, spread=0.15)
    moments = filled(features_VND, true_N)
    *_, state = moments.latents(4, lda, Spectrum.of(moments.whole()))
    assert state.rate < 0.01
    assert torch.equal(state.posterior_NK.argmax(1), true_N)


def test_a_class_in_one_fold_alone_cannot_be_judged():
    features_VND, true_N = clusters(100)
    lone_N = torch.where(torch.arange(100) == 3, 3, true_N % 3)
    moments = filled(features_VND, lone_N)
    with pytest.raises(DataError, match="'latent' has no sample of class 3"):
        next(moments.latents(1, lda, Spectrum.of(moments.whole())))


def test_folds_depend_on_the_number_alone_and_are_of_a_size():
    numbers_N = torch.arange(10_000)
    order = torch.randperm(10_000)
    assert torch.equal(fold_of(numbers_N[order], 5), fold_of(numbers_N, 5)[order])
    assert fold_of(numbers_N, 5).bincount(minlength=5).min() > 1900
