from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import gaussian, log_loss, true_label_loss
from tailcut.numerics.scores import Scores, standard_error_rule, true_label_losses

GRID = [2 ** (step / 2) for step in range(-16, 17)]


def random_problem(n, candidates, classes, seed=0):
    logits_NCK = 5 * gaussian(n, candidates, classes, seed=seed)
    labels_N = gaussian(n, classes, seed=seed + 1).argmax(1)
    return logits_NCK, labels_N


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(2, 4), st.integers(0, 1000))
def test_losses_are_log_losses_at_the_temperature_of_least_mean(n, candidates, classes, seed):
    logits_NCK, labels_N = random_problem(n, candidates, classes, seed)
    scores = Scores.of([logits_NCK], labels_N)
    for c in range(candidates):
        rows = list(zip(logits_NCK[:, c].tolist(), labels_N.tolist(), strict=True))
        means = [sum(log_loss(*row, t) for row in rows) / n for t in GRID]
        found = float(scores.temperatures_C[c])
        assert sum(log_loss(*row, found) for row in rows) / n == pytest.approx(min(means))
        for row, loss in zip(rows, scores.losses()[:, c].tolist(), strict=True):
            assert loss == pytest.approx(log_loss(*row, found), rel=1e-5, abs=1e-6)
    assert torch.equal(scores.predictions_NC, logits_NCK.argmax(2))


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 1000))
def test_noisy_labels_are_evaluated_on_the_likelihood_of_the_true_ones(n, classes, seed):
    logits_NCK, labels_N = random_problem(n, 2, classes, seed)
    transition_KK = gaussian(classes, classes, seed=seed).double().softmax(1)
    found = true_label_losses(logits_NCK, labels_N, transition_KK)
    for t, losses_NC in zip(GRID, found, strict=True):
        for i in range(n):
            chances = transition_KK[:, labels_N[i]].tolist()
            for c in range(2):
                slow = true_label_loss(logits_NCK[i, c].tolist(), chances, t)
                assert float(losses_NC[i, c]) == pytest.approx(slow, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_chunks_of_logits_give_the_same_scores(size):
    logits_NCK, labels_N = random_problem(10, 4, 3)
    whole, parts = (Scores.of(logits_NCK.split(s), labels_N) for s in (10, size))
    assert torch.equal(whole.predictions_NC, parts.predictions_NC)
    torch.testing.assert_close(whole.losses(), parts.losses())
    assert torch.equal(whole.temperatures_C, parts.temperatures_C)


def test_overconfident_logits_get_their_own_temperature():
    logits_NK = gaussian(3000, 4)
    probabilities_NK = logits_NK.softmax(1)
    generator = torch.Generator().manual_seed(0)
    labels_N = torch.multinomial(probabilities_NK, 1, generator=generator)[:, 0]
    logits_NCK = torch.stack([logits_NK, 8 * logits_NK, logits_NK / 4], 1)
    scores = Scores.of([logits_NCK], labels_N)
    assert scores.temperatures_C.tolist() == [1, 8, 0.25]
    torch.testing.assert_close(scores.losses()[:, 0], scores.losses()[:, 1])


def test_few_labels_leave_a_temperature_near_one_and_many_settle_it():
    logits_NK = gaussian(20_000, 4)
    generator = torch.Generator().manual_seed(1)
    chances_N1 = torch.rand(20_000, 1, generator=generator, dtype=torch.float64)
    labels_N = torch.searchsorted(logits_NK.softmax(1).cumsum(1), chances_N1).clamp(max=3)[:, 0]
    scores = Scores.of([8 * logits_NK[:, None]], labels_N)
    assert scores.temperature(0) == float(scores.temperatures_C) == 8
    few = Scores.of([8 * logits_NK[:30, None]], labels_N[:30])
    losses_TN = few.losses_TNC[:, :, 0].double()
    best = int(losses_TN.mean(1).argmin())
    excess_TN = losses_TN - losses_TN[best]
    errors_T = excess_TN.std(1, correction=0) / 30**0.5
    allowed = [t for t, e, s in zip(GRID, excess_TN.mean(1), errors_T, strict=True) if e <= s]
    assert few.temperature(0) == min(allowed, key=lambda t: abs(math.log(t)))
    assert 1 <= few.temperature(0) < 8


def test_the_temperature_of_some_samples_owes_nothing_to_the_others():
    logits_NCK, labels_N = random_problem(40, 3, 4)
    alone = Scores.of([logits_NCK[:10]], labels_N[:10])
    torch.testing.assert_close(
        Scores.of([logits_NCK], labels_N).losses(torch.arange(10)), alone.losses()
    )


def test_huge_logits_have_finite_losses():
    scores = Scores.of([torch.tensor([[[1e6, 0.0]], [[1e6, 0.0]]])], torch.tensor([0, 1]))
    assert torch.isfinite(scores.losses()).all()


def test_half_precision_logits_are_scored_in_float64():
    logits_NCK, labels_N = random_problem(5, 2, 3)
    low, high = (Scores.of([x], labels_N) for x in (logits_NCK.half(), logits_NCK.half().double()))
    assert torch.equal(low.losses(), high.losses())


def test_candidates_are_joined_side_by_side():
    logits_NCK, labels_N = random_problem(6, 5, 3)
    whole = Scores.of([logits_NCK], labels_N)
    parts = [Scores.of([part], labels_N) for part in logits_NCK.split([1, 4], 1)]
    joined = Scores.joined(parts)
    assert torch.equal(joined.losses(), whole.losses())
    assert torch.equal(joined.predictions_NC, whole.predictions_NC)
    assert torch.equal(joined.temperatures_C, whole.temperatures_C)


def test_the_rule_trades_loss_for_a_lower_cost_within_its_tolerance():
    noise_NC = 0.1 * gaussian(400, 3)
    losses_NC = noise_NC - noise_NC.mean(0) + torch.tensor([1.0, 0.503, 0.5])
    cost_C = torch.tensor([1, 8, 64])
    excess_N = losses_NC[:, 1] - losses_NC[:, 2]
    errors = float(excess_N.mean() / (excess_N.std(correction=0) / 20))
    assert standard_error_rule(losses_NC, cost_C, 0.9 * errors) == 2
    assert standard_error_rule(losses_NC, cost_C, 1.1 * errors) == 1
    assert standard_error_rule(losses_NC, cost_C, 1e6) == 0
