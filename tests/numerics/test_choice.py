from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reference import gaussian
from tailcut.errors import DataError
from tailcut.lab.noise.drawing import corrupt
from tailcut.lab.noise.transitions import pair, symmetric
from tailcut.numerics.choice import Gain, choose, true_credits, unless_another_leads
from tailcut.numerics.scores import Scores, halves

LABELS = torch.zeros(200, dtype=torch.int64)


def scores_with(hits_NC, confidence=0.8):
    """Two classes, label 0 throughout, every prediction made with the same confidence."""
    hit_loss, miss_loss = -math.log(confidence), -math.log(1 - confidence)
    losses_NC = torch.where(hits_NC, hit_loss, miss_loss).double()
    return Scores((~hits_NC).long(), losses_NC[None])


def coin_tosses(*shape, heads=0.5, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < heads


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_paired_gain_has_the_interval_of_agresti_and_min(better, worse, same):
    n = better + worse + same
    assume(n)
    gain = Gain.paired(torch.tensor([1] * better + [-1] * worse + [0] * same))
    p21, p12 = (better + 0.5) / (n + 2), (worse + 0.5) / (n + 2)
    reach = 1.959964 * math.sqrt((p21 + p12 - (p21 - p12) ** 2) / (n + 2))
    assert gain.n == n
    assert gain.mean == pytest.approx((better - worse) / n)
    assert gain.low == pytest.approx(p21 - p12 - reach, abs=1e-12)
    assert gain.high == pytest.approx(p21 - p12 + reach, abs=1e-12)
    assert gain.low < gain.high


@pytest.mark.parametrize(("n", "rate"), [(30, 0.3), (100, 0.05), (400, 0.5)])
def test_the_interval_covers_the_true_gain_95_times_in_100(n, rate):
    before_QN = coin_tosses(800, n, heads=0.5)
    changed_QN = coin_tosses(800, n, heads=rate, seed=1)
    after_QN = torch.where(changed_QN, coin_tosses(800, n, heads=0.6, seed=2), before_QN)
    gains = [Gain.paired(row) for row in after_QN.double() - before_QN.double()]
    covered = sum(gain.low <= 0.1 * rate <= gain.high for gain in gains)
    assert covered >= 0.93 * 800


@pytest.mark.parametrize("kind", [symmetric, pair])
def test_credits_measure_the_accuracy_on_true_labels_by_noisy_ones(kind):
    generator = torch.Generator().manual_seed(0)
    true_N = torch.randint(5, (40_000,), generator=generator)
    transition_KK = kind(5, 0.3)
    given_N = corrupt(true_N, transition_KK, seed=1)
    predicted_N = torch.where(coin_tosses(40_000, heads=0.7), true_N, (true_N + 1) % 5)
    worth_N = true_credits(transition_KK)[given_N, predicted_N]
    assert float(worth_N.mean()) == pytest.approx(0.7, abs=0.02)
    assert abs(float((given_N == predicted_N).double().mean()) - 0.7) > 0.1


def test_a_gain_on_labels_of_known_noise_is_that_on_true_ones():
    """One class given for another: the better candidate looks no better on given labels."""
    true_N = torch.arange(2000) % 2
    transition_KK = torch.tensor([[0.6, 0.4], [0.0, 1.0]]).double()
    given_N = corrupt(true_N, transition_KK, seed=0)
    before_N = torch.where((true_N == 0) & coin_tosses(2000, heads=0.5), 1, true_N)
    predictions_NC = torch.stack([before_N, true_N], 1)
    right_NC = (predictions_NC == true_N[:, None]).double()
    known_CKK = transition_KK.expand(2, 2, 2)
    scores = Scores(predictions_NC, (2 - right_NC)[None], known_CKK)
    gain = choose(scores, given_N).gain
    assert gain.low < 0.25 < gain.high
    assert gain.low > 0.15
    assert gain.given < 0.1


def test_credits_of_noise_without_information_take_labels_as_they_are():
    assert torch.equal(true_credits(torch.full((3, 3), 1 / 3)), torch.eye(3).double())


def test_a_gain_reads_as_points():
    assert str(Gain(0.0523, -0.0101, 0.11, 100, 0.03)) == "+5.2 points [-1.0, +11.0]"


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (None, "+40.0 points [-100.0, +100.0]"),
        (0.9, "+10.0 points [-90.0, +10.0]"),
        (0.0, "+40.0 points [+0.0, +100.0]"),
        (1.0, "+0.0 points [-100.0, +0.0]"),
    ],
)
def test_a_gain_is_told_within_what_is_possible_and_decides_as_it_is(before, told):
    gain = Gain(0.4, -1.3, 1.5, 100, 0.03, before)
    assert str(gain) == told
    assert (gain.mean, gain.low, gain.high) == (0.4, -1.3, 1.5)


def test_the_accuracy_before_is_that_of_the_untouched_network():
    hits_N1 = coin_tosses(200, 1)
    choice = choose(scores_with(hits_N1.expand(-1, 2)), LABELS)
    assert choice.gain.before == pytest.approx(float(hits_N1.double().mean()))
    assert -choice.gain.before <= choice.gain.possible[1] <= choice.gain.possible[2]
    assert choice.gain.possible[2] <= 1 - choice.gain.before


def test_candidates_identical_to_the_untouched_network_gain_nothing():
    hits_N1 = coin_tosses(200, 1)
    choice = choose(scores_with(hits_N1.expand(-1, 6)), LABELS)
    assert choice.fall == 0
    assert choice.gain.mean == 0
    assert choice.gain.low < 0 < choice.gain.high


def test_a_clearly_better_candidate_is_best_for_sure():
    hits_NC = coin_tosses(200, 5, heads=0.4)
    hits_NC[:, 3] = coin_tosses(200, heads=0.8, seed=1)
    choice = choose(scores_with(hits_NC), LABELS)
    assert choice.best == 3
    assert choice.fall > 2.576 * choice.error
    assert choice.gain.low > 0
    gain = float(hits_NC[:, 3].double().mean() - hits_NC[:, 0].double().mean())
    assert choice.gain.mean == pytest.approx(gain)
    torch.testing.assert_close(choice.accuracy_C, hits_NC.double().mean(0))
    torch.testing.assert_close(choice.loss_C, scores_with(hits_NC).losses().mean(0))


def test_clearly_worse_candidates_leave_the_untouched_network_the_best():
    hits_NC = torch.stack([coin_tosses(200, heads=h, seed=1) for h in (0.8, 0.3, 0.2)], 1)
    choice = choose(scores_with(hits_NC), LABELS)
    assert choice.best == 0


def test_the_gain_is_not_flattered_by_choosing_among_pure_noise():
    gains, flattered = [], []
    for seed in range(300):
        hits_NC = coin_tosses(60, 30, seed=seed)
        scores = scores_with(hits_NC)
        gains.append(choose(scores, LABELS[:60], seed=seed).gain.mean)
        accuracy_C = hits_NC.double().mean(0)
        flattered.append(float(accuracy_C.max() - accuracy_C[0]))
    error = torch.tensor(gains).std() / math.sqrt(300)
    assert abs(sum(gains) / 300) < 3 * error
    assert sum(flattered) / 300 > 0.1


def test_the_temperature_does_not_flatter_the_gain_either():
    gains = []
    for seed in range(300):
        logits_NCK, labels_N = 3 * gaussian(40, 12, 2, seed=seed), LABELS[:40].clone()
        labels_N[coin_tosses(40, seed=seed)] = 1
        scores = Scores.of([logits_NCK], labels_N)
        gains.append(choose(scores, labels_N, seed=seed).gain.mean)
    assert abs(sum(gains) / 300) < 3 * torch.tensor(gains).std() / math.sqrt(300)


def test_where_a_cut_is_forced_the_untouched_network_is_no_candidate():
    hits_NC = torch.stack([coin_tosses(200, heads=h, seed=1) for h in (0.8, 0.3)], 1)
    choice = choose(scores_with(hits_NC), LABELS, forced=True)
    assert choice.best == 1
    assert choice.gain.mean == pytest.approx(
        float(hits_NC[:, 1].double().sub(hits_NC[:, 0].double()).mean())
    )
    assert choose(scores_with(hits_NC), LABELS).gain.mean == 0


def test_pure_noise_seldom_seems_to_gain_for_sure():
    choices = [
        choose(scores_with(coin_tosses(100, 20, seed=seed)), LABELS[:100], seed=seed)
        for seed in range(200)
    ]
    assert sum(each.fall > 2.576 * each.error for each in choices) <= 14


def test_of_equally_good_candidates_the_default_is_taken():
    hits_NC = coin_tosses(200, 1, heads=0.4).expand(-1, 4).clone()
    hits_NC[:100] = True
    hits_NC[:100, 0] = False
    for default in (1, 2, 3):
        assert choose(scores_with(hits_NC), LABELS, default).best == default


@pytest.mark.parametrize(("errors", "chosen"), [(0.9, 1), (1.1, 2)])
def test_another_is_taken_for_a_lead_of_one_standard_error(errors, chosen):
    noise_NC = 0.1 * gaussian(400, 3)
    lead_N = noise_NC[:, 1] - noise_NC[:, 2]
    reach = float(lead_N.std(correction=0)) / 20
    losses_NC = noise_NC - noise_NC.mean(0) + torch.tensor([0.6, 0.5, 0.5 - errors * reach])
    assert unless_another_leads(losses_NC, 1) == chosen


def test_the_fall_of_the_log_loss_is_told_with_its_standard_error():
    noise_N = gaussian(400, 1)[:, 0].double()
    noise_N = (noise_N - noise_N.mean()) / noise_N.std(correction=0)
    losses_NC = torch.stack([2 + noise_N, torch.full((400,), 2 - 2.4 / 20).double()], 1)
    choice = choose(Scores(torch.zeros(400, 2).long(), losses_NC[None]), torch.zeros(400).long())
    assert choice.fall / choice.error == pytest.approx(2.4)


@pytest.mark.parametrize("broken", [[0], [1], [0, 1], [0, 1, 2]])
def test_infinite_loss_is_taken_only_where_there_is_no_other(broken):
    losses_NC = torch.ones(20, 3, dtype=torch.float64)
    losses_NC[:1, broken] = torch.inf
    whole = [each for each in range(3) if each not in broken]
    assert unless_another_leads(losses_NC, 0) == (whole or [0])[0]


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.integers(0, 1000))
def test_halves_are_a_partition_that_repeats_with_its_seed(n, seed):
    (first, second), swapped = halves(n, seed)
    assert sorted(torch.cat([first, second]).tolist()) == list(range(n))
    assert abs(len(first) - len(second)) <= 1
    assert torch.equal(swapped[0], second)
    assert torch.equal(swapped[1], first)
    assert torch.equal(halves(n, seed)[0][0], first)


def test_a_candidate_whose_logits_overflow_never_wins():
    logits_NCK = 0.1 * gaussian(200, 3, 2)
    logits_NCK[:, 2, 0] += 3
    logits_NCK[:5, 1] = torch.inf
    scores = Scores.of([logits_NCK], LABELS)
    assert choose(scores, LABELS).best == 2
    assert scores.losses()[:, 1].mean() == math.inf


def test_two_samples_are_enough_to_choose_by():
    assert choose(scores_with(coin_tosses(2, 3)), LABELS[:2]).gain.n == 2


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_samples_choose_nothing(n):
    with pytest.raises(DataError) as error:
        choose(scores_with(coin_tosses(n, 3)), LABELS[:n])
    assert str(error.value) == (
        f"{n} held-out samples to choose by; wanted at least 2, better 500. "
        "Hold out more samples; noisy labels will do."
    )


@pytest.mark.parametrize(("hits", "told"), [(0.6, 0.4), (0.5, 0.0)])
def test_labels_are_wrong_as_a_candidate_has_it_that_is_above_chance(hits, told):
    """It predicts the given labels more often than the commonest of them is given."""
    labels_N = torch.arange(400) % 2
    right_N = torch.arange(400) % 10 < 10 * hits
    predicted_N = torch.where(right_N, labels_N, 1 - labels_N)
    losses_NC = torch.stack([1 + gaussian(400, 1)[:, 0].double(), torch.full((400,), 0.9)], 1)
    scores = Scores(
        torch.stack([predicted_N, predicted_N], 1),
        losses_NC[None].double(),
        torch.eye(2).expand(2, 2, 2),
        torch.tensor([0.0, 0.4]),
    )
    assert choose(scores, labels_N).wrong == pytest.approx(told)
