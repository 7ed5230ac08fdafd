"""Each candidate explains held-out labels by noise of its own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import gaussian
from tailcut.lab.noise.drawing import corrupt
from tailcut.lab.noise.kinds import noise_of
from tailcut.numerics.explanation import own_noise
from tailcut.numerics.scores import Scores

CLASSES = 4


def problem(kind, rate, n=4000, accuracy=1.0):
    """True labels, the given ones, and logits of a candidate that is right so often, and sure."""
    generator = torch.Generator().manual_seed(0)
    true_N = torch.randint(CLASSES, (n,), generator=generator)
    given_N = corrupt(true_N, noise_of(kind, rate).matrix(CLASSES), seed=1)
    wrong_N = torch.rand(n, generator=generator) >= accuracy
    other_N = (true_N + torch.randint(1, CLASSES, (n,), generator=generator)) % CLASSES
    said_N = torch.where(wrong_N, other_N, true_N)
    return given_N, 6 * torch.nn.functional.one_hot(said_N, CLASSES).double()


@pytest.mark.parametrize(("kind", "rate"), [("symmetric", 0.4), ("symmetric", 0.1), ("pair", 0.4)])
def test_the_noise_is_found_by_who_knows_the_true_classes(kind, rate):
    given_N, logits_NK = problem(kind, rate)
    (found_KK,), (wrong,) = own_noise(logits_NK[:, None], given_N)
    torch.testing.assert_close(
        found_KK, noise_of(kind, rate).matrix(CLASSES).double(), atol=0.04, rtol=0
    )
    assert float(wrong) == pytest.approx(rate, abs=0.03)


def test_labels_without_noise_have_none():
    given_N, logits_NK = problem("symmetric", 0.0)
    (found_KK,), (wrong,) = own_noise(logits_NK[:, None], given_N)
    assert float(wrong) < 0.01
    assert float(found_KK.diagonal().min()) > 0.98


def test_a_candidate_that_is_right_more_often_explains_noisy_labels_better():
    """Under pair noise the given labels alone would prefer one that follows the noise."""
    given_N, knowing_NK = problem("pair", 0.45)
    _, erring_NK = problem("pair", 0.45, accuracy=0.7)
    follows_NK = 1.2 * torch.nn.functional.one_hot(given_N, CLASSES).double()
    follows_NK += 0.5 * gaussian(*follows_NK.shape)
    scores = Scores.explained(torch.stack([knowing_NK, erring_NK], 1), given_N)
    loss_C = scores.losses().mean(0)
    assert loss_C[0] < loss_C[1]
    assert scores.wrong_C[0] == pytest.approx(0.45, abs=0.03)


@given(st.integers(0, 1000))
def test_the_matrix_of_a_candidate_hangs_on_no_other(seed):
    logits_NCK = gaussian(60, 3, CLASSES, seed=seed)
    given_N = torch.arange(60) % CLASSES
    together_CKK, wrong_C = own_noise(logits_NCK, given_N)
    for place in range(3):
        (alone_KK,), (wrong,) = own_noise(logits_NCK[:, [place]], given_N)
        torch.testing.assert_close(together_CKK[place], alone_KK)
        torch.testing.assert_close(wrong_C[place], wrong)
    torch.testing.assert_close(together_CKK.sum(2), torch.ones(3, CLASSES).double())
    diagonal_CK = together_CKK.diagonal(dim1=1, dim2=2)
    assert (together_CKK <= diagonal_CK[:, :, None] + 1e-12).all()


def test_few_labels_of_a_class_are_read_by_the_average_of_all():
    given_N, logits_NK = problem("symmetric", 0.4, n=40)
    (found_KK,), _ = own_noise(logits_NK[:, None], given_N)
    assert float(found_KK.diagonal().max() - found_KK.diagonal().min()) < 0.35


def test_shuffled_labels_are_explained_by_nobody_better_when_others_judge():
    given_N, logits_NK = problem("symmetric", 0.0, n=400)
    order_N = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    flat_NK = 0.01 * logits_NK
    scores = Scores.explained(torch.stack([flat_NK, logits_NK], 1), given_N[order_N])
    rows_N = torch.arange(400)
    flat, sure = scores.cross_fitted_losses(rows_N).mean(0).tolist()
    assert sure > flat - 0.01


def test_broken_logits_explain_nothing_and_break_nobody_else():
    logits_NCK = gaussian(50, 2, CLASSES)
    logits_NCK[:, 1] = torch.nan
    given_N = torch.arange(50) % CLASSES
    scores = Scores.explained(logits_NCK, given_N)
    losses_C = scores.losses().mean(0)
    assert torch.isfinite(losses_C[0])
    assert torch.isinf(losses_C[1])
