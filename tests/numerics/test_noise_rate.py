"""How many held-out labels are wrong, by what a readout says of their samples."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailcut.numerics.calibration import with_mean
from tailcut.numerics.noise_rate import NoiseRate

K = 5


def held_out(n, rate, seed=0, margin=3.0):
    """Logits that are right nine times in ten, and labels of which some are drawn anew."""
    draw = torch.Generator().manual_seed(seed)
    true_N = torch.randint(K, (n,), generator=draw)
    logits_NK = torch.randn(n, K, generator=draw)
    logits_NK[torch.arange(n), true_N] += margin
    wrong_N = torch.rand(n, generator=draw) < rate
    shift_N = torch.randint(1, K, (n,), generator=draw)
    return logits_NK, torch.where(wrong_N, (true_N + shift_N) % K, true_N)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.6])
def test_the_rate_is_found_and_the_interval_holds_it(rate):
    found = NoiseRate.held_out(*held_out(1000, rate), seed=0)
    assert found is not None
    assert found.known
    assert found.rate == pytest.approx(rate, abs=0.04)
    low, high = found.interval
    assert low <= found.rate <= high
    assert low - 0.01 <= rate <= high + 0.01


def test_the_interval_is_half_as_wide_with_four_times_the_labels():
    few, many = (NoiseRate.held_out(*held_out(n, 0.4), seed=0) for n in (500, 2000))
    widths = [high - low for low, high in (few.interval, many.interval)]
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.4)


def test_nothing_is_said_by_what_predicts_no_better_than_chance():
    logits_NK, labels_N = held_out(500, 0.4, margin=0.0)
    assert NoiseRate.held_out(logits_NK, labels_N, seed=0) is None


def test_the_same_seed_gives_the_same_interval():
    assert NoiseRate.held_out(*held_out(300, 0.3), seed=1) == NoiseRate.held_out(
        *held_out(300, 0.3), seed=1
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.999))
def test_probabilities_are_moved_to_a_mean_and_keep_their_order(probabilities, mean):
    before_N = torch.tensor(probabilities, dtype=torch.float64)
    after_N = with_mean(before_N, mean)
    assert float(after_N.mean()) == pytest.approx(mean, abs=1e-6)
    order_N = before_N.argsort(stable=True)
    assert (after_N[order_N].diff() >= -1e-12).all()


def test_no_noise_and_nothing_but_noise_leave_no_doubt():
    half_N = torch.tensor([0.2, 0.8])
    assert with_mean(half_N, 0.0).tolist() == [0, 0]
    assert with_mean(half_N, 1.0).tolist() == [1, 1]
    assert with_mean(torch.empty(0), 0.5).tolist() == []
