"""Latent labels: known noise is found again, folds never see their own labels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from reference import gaussian
from tailcut.errors import DataError
from tailcut.lab.noise.drawing import corrupt
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.noise.transitions import pair, symmetric
from tailcut.numerics.covariance import oas_shrinkage
from tailcut.numerics.crossfit import FoldMoments, fold_of
from tailcut.numerics.latent import Latent
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum

CLASSES = 4


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
    transition_KK = noise_of(kind, rate).matrix(CLASSES)
    given_N = corrupt(drawn[:, 0], transition_KK, seed=1)
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


def test_the_log_loss_is_that_of_the_given_labels_and_chunks_change_nothing(monkeypatch):
    logits_NK = gaussian(50, CLASSES).double()
    given_N = gaussian(50, CLASSES, seed=1).argmax(1)
    found = Latent.of(logits_NK, given_N)
    chances_NK = found.probabilities_NK @ found.transition_KK
    expected = float(torch.nn.functional.nll_loss(chances_NK.log(), given_N))
    assert found.log_loss == pytest.approx(expected)
    monkeypatch.setattr("tailcut.numerics.latent._CELLS", 7 * CLASSES)
    small = Latent.of(logits_NK, given_N)
    torch.testing.assert_close(small.posterior_NK, found.posterior_NK)
    torch.testing.assert_close(small.transition_KK, found.transition_KK)
    assert small.log_loss == pytest.approx(found.log_loss)


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
    folds = filled(features_VND, true_N)
    soft = Readout.lda(folds.relabelled(folds.whole(), soft_NK), "latent", shrinkage=0.1)
    shares = Moments(6, CLASSES)
    for shift in (0, 0, 0, 1):
        labels_N = ((true_N + shift) % CLASSES).repeat(2)
        shares.update(features_VND.flatten(0, 1), given=labels_N)
    hard = Readout.lda(shares, shrinkage=0.1)
    for mine, theirs in zip(soft.fold(6), hard.fold(6), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("evidence", [0.0, 0.3, 1.0])
def test_a_label_that_was_told_of_before_counts_for_less(evidence):
    given_N = gaussian(50, CLASSES, seed=1).argmax(1)
    state = Latent.of(gaussian(50, CLASSES).double(), given_N)
    slow_NK = state.probabilities_NK * state.transition_KK[:, given_N].T ** evidence
    torch.testing.assert_close(state.labels(evidence), slow_NK / slow_NK.sum(1, keepdim=True))
    ends = {0.0: state.probabilities_NK, 1.0: state.posterior_NK}
    if evidence in ends:
        torch.testing.assert_close(state.labels(evidence), ends[evidence])


def test_features_that_remember_half_of_the_labels_tell_of_them_once():
    features_VND, true_N = clusters(2000, spread=0.4)
    given_N = corrupt(true_N, symmetric(CLASSES, 0.5), seed=0)
    remembered_VNK = 0.15 * torch.eye(CLASSES)[given_N] + 0.35 * gaussian(2, 2000, CLASSES, seed=9)
    folds = leading(filled(torch.cat([features_VND, remembered_VNK.float()], 2), given_N), 10)
    right = []
    for evidence in (1.0, 0.5):
        *_, state = folds.latents(4, evidence)
        right.append((state.labels(evidence).argmax(1) == true_N).double().mean())
    assert right[1] > right[0] + 0.1


def leading(moments, rank=3):
    return moments.along(Spectrum.of(moments.whole()), rank)


def test_a_sample_is_evaluated_on_a_fit_to_the_other_folds():
    features_VND, true_N = clusters(200)
    moments = filled(features_VND, true_N)
    spectrum = Spectrum.of(moments.whole())
    soft_NK = torch.nn.functional.one_hot(true_N, CLASSES).double()
    logits_NK = moments.along(spectrum, 3).out_of_fold(soft_NK)
    fold_N, basis_DR = fold_of(torch.arange(200), 5), spectrum.directions()[:, :3]
    along_VNR = (features_VND.double() - spectrum.mean_D) @ basis_DR
    for fold in range(5):
        inside_N = fold_N == fold
        others, labels = along_VNR[:, ~inside_N].flatten(0, 1), true_N[~inside_N].repeat(2)
        asked = (features_VND[:, inside_N].mean(0).double() - spectrum.mean_D) @ basis_DR
        plain = Moments(3, CLASSES).update(others, given=labels)
        slow_NK = Readout.lda(plain).logits(asked, 3)
        torch.testing.assert_close(logits_NK[inside_N], slow_NK)
        shrinkage = oas_shrinkage(plain.within_DD() / plain.n, plain.n)
        peer = LinearDiscriminantAnalysis("lsqr", shrinkage).fit(others.numpy(), labels)
        assert torch.equal(torch.tensor(peer.predict(asked.numpy())), slow_NK.argmax(1))


def test_a_label_has_no_part_in_what_is_said_of_its_sample():
    features_VND, true_N = clusters(100)
    said = []
    for label in (0, 1):
        changed_N = true_N.clone()
        changed_N[7] = label
        soft_NK = torch.nn.functional.one_hot(changed_N, CLASSES).double()
        said.append(leading(filled(features_VND, changed_N)).out_of_fold(soft_NK)[7])
    torch.testing.assert_close(*said)


def test_rounds_find_the_wrong_labels_and_mend_a_class_given_for_another():
    features_VND, true_N = clusters(2000)
    given_N = corrupt(true_N, pair(CLASSES, 0.4), seed=0)
    first, *_, last = leading(filled(features_VND, given_N)).latents(5)
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
    given_N = corrupt(true_N, symmetric(CLASSES, 0.4), seed=0)
    folds = leading(filled(features_VND, given_N))
    soft_NK = torch.nn.functional.one_hot(given_N, CLASSES).double()
    said_NK = soft_NK
    for _ in range(3):
        said_NK = folds.out_of_fold(said_NK).softmax(1)
    state = folds.self_trained(soft_NK, 3)
    torch.testing.assert_close(state.probabilities_NK, said_NK)
    assert state.temperature == 1


@pytest.mark.parametrize("wrong", [0.0, 0.5])
def test_self_training_mends_labels_that_the_features_remember(wrong):
    features_VND, true_N = clusters(2000, spread=0.35)
    given_N = corrupt(true_N, symmetric(CLASSES, wrong), seed=0)
    learned_VNK = 0.15 * torch.eye(CLASSES)[given_N] + 0.35 * gaussian(2, 2000, CLASSES, seed=9)
    folds = leading(filled(torch.cat([features_VND, learned_VNK.float()], 2), given_N), 10)
    *_, inferred = folds.latents(4)
    trained = folds.self_trained(inferred.posterior_NK, 2)
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
    *_, state = leading(filled(gaussian(2, 2000, 6).float(), given_N)).latents(2)
    own_N = state.probabilities_NK.gather(1, given_N[:, None])[:, 0]
    assert abs(float(own_N.mean()) - 1 / CLASSES) < 0.05


def test_clean_labels_stay_as_they_are():
    features_VND, true_N = clusters(1000, spread=0.15)
    *_, state = leading(filled(features_VND, true_N)).latents(4)
    assert state.rate < 0.01
    assert torch.equal(state.posterior_NK.argmax(1), true_N)


def test_a_class_in_one_fold_alone_cannot_be_judged():
    features_VND, true_N = clusters(100)
    lone_N = torch.where(torch.arange(100) == 3, 3, true_N % 3)
    folds = leading(filled(features_VND, lone_N))
    with pytest.raises(DataError, match="'latent' has no sample of class 3"):
        next(folds.latents(1))


def test_folds_depend_on_the_number_alone_and_are_of_a_size():
    numbers_N = torch.arange(10_000)
    order = torch.randperm(10_000)
    assert torch.equal(fold_of(numbers_N[order], 5), fold_of(numbers_N, 5)[order])
    assert fold_of(numbers_N, 5).bincount(minlength=5).min() > 1900
