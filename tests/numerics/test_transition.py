from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from reference import flipped, gaussian, labels_of, one_hot
from tailcut.errors import DataError
from tailcut.numerics.transition import anchor_noise, confident_joint


def posterior_of(true_N, classes, *, sharpness=6.0, seed=0):
    """Probabilities of somebody who sees the true class through some fog."""
    logits_NK = sharpness * one_hot(true_N, classes) + gaussian(len(true_N), classes, seed=seed)
    return logits_NK.softmax(1)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4, 0.6])
def test_anchors_find_the_rate_of_symmetric_noise(rate):
    true_N = labels_of(8000, 4)
    found = anchor_noise(posterior_of(true_N, 4), flipped(true_N, 4, rate), share=0.3)
    expected_KK = torch.full((4, 4), rate / 3).double().fill_diagonal_(1 - rate)
    assert found.rate == pytest.approx(rate, abs=0.03)
    torch.testing.assert_close(found.transition_KK, expected_KK, rtol=0, atol=0.06)


def test_anchors_find_which_class_is_given_for_which():
    true_N = labels_of(6000, 3)
    expected_KK = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]]).double()
    generator = torch.Generator().manual_seed(1)
    given_N = torch.multinomial(expected_KK[true_N], 1, generator=generator)[:, 0]
    found = anchor_noise(posterior_of(true_N, 3), given_N, share=0.5)
    torch.testing.assert_close(found.transition_KK, expected_KK, rtol=0, atol=0.05)
    assert found.rate == pytest.approx(0.5 / 3, abs=0.02)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 50), st.integers(2, 5), st.integers(0, 1000))
def test_transition_rows_are_distributions(n, classes, seed):
    given_N = labels_of(n, classes, seed)
    found = anchor_noise(gaussian(n, classes, seed=seed).softmax(1), given_N)
    torch.testing.assert_close(found.transition_KK.sum(1), torch.ones(classes).double())
    assert 0 <= found.rate <= 1


def test_a_class_that_is_never_predicted_counts_as_free_of_noise():
    true_N = labels_of(900, 3)
    probabilities_NK = posterior_of(true_N, 4)
    given_N = flipped(true_N, 4, 0.3)
    found = anchor_noise(probabilities_NK, given_N)
    assert found.transition_KK[3].tolist() == [0, 0, 0, 1]
    assert found.rate == pytest.approx(float(1 - found.transition_KK.diagonal()[:3].mean()))


def test_the_surest_tenth_are_anchors_but_at_least_ten():
    sureness_N = torch.linspace(0.9, 0.6, 300, dtype=torch.float64)
    probabilities_NK = torch.stack([sureness_N, 1 - sureness_N], 1)
    given_N = torch.arange(300) // 30
    assert anchor_noise(probabilities_NK, (given_N > 0).long()).rate == 0
    assert anchor_noise(probabilities_NK[:60], (torch.arange(60) >= 5).long()).rate == 0.5


def test_no_samples_have_no_noise():
    with pytest.raises(DataError) as error:
        anchor_noise(torch.empty(0, 3), torch.empty(0, dtype=torch.int64))
    assert str(error.value) == "no samples; wanted at least one. Bring samples to judge."


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 40), st.integers(2, 5), st.integers(0, 1000))
def test_the_confident_joint_is_its_equation(n, classes, seed):
    given_N = labels_of(max(n, classes), classes, seed)
    probabilities_NK = (2 * gaussian(len(given_N), classes, seed=seed)).softmax(1)
    expected_KK = reference.confident_joint(probabilities_NK, given_N)
    assert torch.equal(confident_joint(probabilities_NK, given_N), expected_KK)


@pytest.mark.parametrize("seed", range(5))
def test_the_confident_joint_is_cleanlabs_where_the_likeliest_class_is_confident(seed):
    from cleanlab.count import compute_confident_joint

    true_N = labels_of(500, 4, seed)
    given_N = flipped(true_N, 4, 0.3, seed)
    probabilities_NK = posterior_of(true_N, 4, sharpness=3, seed=seed)
    ours_KK = confident_joint(probabilities_NK, given_N)
    theirs_KK = compute_confident_joint(given_N.numpy(), probabilities_NK.numpy(), calibrate=False)
    assert ours_KK.tolist() == theirs_KK.tolist()


def test_classes_without_a_given_label_are_never_confident():
    probabilities_NK = torch.tensor([[0.5, 0.1, 0.4], [0.1, 0.2, 0.7]])
    joint_KK = confident_joint(probabilities_NK, torch.tensor([0, 0]))
    assert joint_KK.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
