"""What theory says of label noise, in models small enough to be sure, each with its control."""

import math

import pytest
import torch

from tailcut.errors import DataError, SpecError, TailcutError
from tailcut.lab.claims.findings import student
from tailcut.lab.theory import balance, benign, sparse

SEEDS = (0, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def by_label():
    return sparse.recover("label", seeds=SEEDS)


def test_label_noise_recovers_the_sparse_truth(by_label):
    assert float(by_label.distance_B.max()) < 0.05
    assert float(by_label.heldout_B.max()) < 0.05
    assert float(by_label.training_B.max()) < 0.05


@pytest.mark.parametrize(("kind", "strength"), [("none", 0), ("gaussian", 0.01), ("gaussian", 0.1)])
def test_other_noise_interpolates_without_recovering(kind, strength):
    result = sparse.recover(kind, sparse.Setup(steps=2000, strength=strength), seeds=SEEDS)
    assert float(result.training_B.max()) < 0.2
    assert float(result.distance_B.min()) > 0.5
    assert float(result.heldout_B.min()) > 0.5


def test_it_is_the_large_start_that_descent_does_not_forget():
    result = sparse.recover("none", sparse.Setup(steps=3000, start=0.01), seeds=SEEDS)
    assert float(result.distance_B.max()) < 0.1


@pytest.mark.parametrize("kind", ["label", "gaussian", "none"])
def test_a_seed_gives_the_same_alone_and_among_others(kind):
    setup = sparse.Setup(n=10, d=15, sparsity=2, steps=200, strength=0.1)
    several = sparse.recover(kind, setup, seeds=(3, 4))
    again = sparse.recover(kind, setup, seeds=(3, 4))
    alone = sparse.recover(kind, setup, seeds=(4,))
    assert torch.equal(several.distance_B, again.distance_B)
    assert torch.allclose(several.distance_B[1:], alone.distance_B, rtol=1e-8)
    assert several.distance_B[0] != several.distance_B[1]


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_label_noise_balances_at_the_rate_of_the_law(activation):
    result = balance.imbalance("label", balance.Setup(activation, steps=4000), seeds=SEEDS)
    ratio_B = (result.fitted_BH / result.predicted_BH).mean(1)
    assert float(ratio_B.mean()) == pytest.approx(1.03, abs=0.05)
    assert float((ratio_B - 1).abs().max()) < 0.15
    assert float(result.kept_B.max()) < 0.7
    assert len(result.times_T) == len(result.difference_TBH) == balance.RECORDS + 1
    assert float(result.times_T[-1]) == pytest.approx(4000 * 0.004)


def test_a_larger_batch_balances_more_slowly():
    result = balance.imbalance("label", balance.Setup(steps=2000, batch=4), seeds=SEEDS)
    single = balance.imbalance("label", balance.Setup(steps=1), seeds=SEEDS)
    assert torch.allclose(result.predicted_BH * 4, single.predicted_BH)
    assert float((result.fitted_BH / result.predicted_BH).mean()) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("kind", ["descent", "sgd"])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_without_label_noise_the_difference_is_conserved(kind, activation):
    result = balance.imbalance(kind, balance.Setup(activation, steps=2000), seeds=SEEDS)
    assert float((result.kept_B - 1).abs().max()) < 0.01
    assert float(result.training_B.max()) < 1e-4
    assert not result.predicted_BH.any()


def test_descent_breaks_conservation_only_by_its_step_size():
    lost = [
        1 - balance.imbalance("descent", setup, seeds=SEEDS).kept_B
        for setup in (balance.Setup(steps=750, step_size=0.016), balance.Setup(steps=3000))
    ]
    assert torch.allclose(lost[0] / lost[1], torch.full((5,), 4.0).double(), rtol=0.2)


def test_one_step_shrinks_the_difference_by_the_squared_slope():
    layers = torch.tensor([[1.3]]).double(), torch.tensor([[0.5]]).double()
    network = balance._Network(*layers, "linear")
    moved = network.moved(torch.tensor([[2.0]]).double(), torch.tensor([[-1.0]]).double(), 0.1)
    slope = (1.3 * 0.5 * 2 + 1) * 2
    expected = network.difference_BH() * (1 - 0.1**2 * slope**2)
    assert torch.allclose(moved.difference_BH(), expected)


def test_balance_is_the_same_for_the_same_seed():
    first, again, other = (
        balance.imbalance("label", balance.Setup(steps=100), seeds=seeds).difference_TBH
        for seeds in ((0, 1), (0, 1), (0, 2))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first[:, 1], other[:, 1])


def error_of(row):
    return abs(row.mean - row.predicted)


def test_the_theory_of_interpolation_holds_from_harmful_to_benign():
    rows = benign.accuracy_grid((0, 0.2, 0.4), (100, 200), (1000,), (1, 2, 3, 6), range(6))
    assert max(error_of(row) for row in rows) < 0.03
    assert min(row.mean for row in rows) < 0.55
    assert max(row.mean for row in rows) > 0.99


def test_almost_as_many_samples_as_inputs_are_outside_the_theory():
    (row,) = benign.accuracy_grid((0,), (96,), (100,), (3,), range(20))
    assert student(row.accuracies)[0] - row.predicted > 0.01


def test_the_theory_of_averaging_fails_where_wrong_labels_were_fitted():
    options = (0.2, 100, 1000, 4)
    (row,) = benign.accuracy_grid(*((each,) for each in options), seeds=SEEDS)
    assert error_of(row) < 0.03
    assert benign.averaging_accuracy(*options) - row.mean > 0.08
    weak = (0.2, 20, 2000, 1)
    assert benign.averaging_accuracy(*weak) == pytest.approx(
        benign.predicted_accuracy(*weak), abs=0.005
    )


@pytest.mark.parametrize(("rate", "signal"), [(0.5, 4), (0.2, 0)])
def test_nothing_is_learned_from_coins_or_without_signal(rate, signal):
    (row,) = benign.accuracy_grid((rate,), (100,), (1000,), (signal,), range(10))
    assert row.predicted == 0.5
    assert row.mean == pytest.approx(0.5, abs=0.03)


def test_accuracy_crosses_at_the_threshold():
    n, d, rate = 100, 4000, 0.1
    threshold = (d / n) ** 0.25 / (1 - 2 * rate) ** 0.5
    at, below, above = (
        benign.predicted_accuracy(rate, n, d, factor * threshold) for factor in (1, 0.5, 2)
    )
    assert at == pytest.approx((1 + math.erf(1 / math.sqrt(2))) / 2, abs=0.06)
    assert below < 0.62
    assert above > 0.98


def test_a_two_layer_network_is_benign_or_harmful_too():
    rows = benign.two_layer_accuracy((0, 0.4), (40,), (400,), (1, 4), SEEDS)
    weak, strong, weak_wrong, strong_wrong = (row.mean for row in rows)
    assert weak < 0.65
    assert weak_wrong < 0.58
    assert strong > 0.95
    assert strong - strong_wrong > 0.15
    assert all(row.predicted is None for row in rows)
    again = benign.two_layer_accuracy((0.4,), (40,), (400,), (4,), SEEDS)
    assert again == rows[-1:]


def test_the_same_seeds_give_the_same_grid():
    first, again, other = (
        benign.accuracy_grid((0.2,), (20,), (100,), (2,), seeds)
        for seeds in ((0, 1), (0, 1), (2, 3))
    )
    assert first == again
    assert first[0].mean != other[0].mean


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: sparse.recover("labels"),
            SpecError,
            "no noise 'labels'; wanted one of label, gaussian, none. Correct the name.",
        ),
        (
            lambda: sparse.Setup(n=40, d=30),
            DataError,
            "5 of 30 coordinates, 40 samples, 10000 steps; wanted 1 <= sparsity < n < d and at "
            "least one step. Take more coordinates than samples, and more samples than nonzero "
            "coordinates.",
        ),
        (
            lambda: sparse.recover("none", seeds=(1, 1)),
            DataError,
            "the seeds [1, 1]; wanted at least one seed, each of them once. Give distinct "
            "integers, five or more for an interval.",
        ),
        (
            lambda: sparse.recover("none", sparse.Setup(steps=50, step_size=5.0), seeds=(0, 1)),
            TailcutError,
            "the iteration diverged for 2 of 2 seeds at step size 5.0; wanted finite parameters. "
            "Lower step_size, start or strength.",
        ),
        (
            lambda: balance.imbalance("flow"),
            SpecError,
            "no way to train 'flow'; wanted one of label, sgd, descent. Correct the name.",
        ),
        (
            lambda: balance.Setup("tanh"),
            SpecError,
            "no activation 'tanh'; wanted one of linear, relu. Correct the name.",
        ),
        (
            lambda: balance.Setup(width=3),
            DataError,
            "3 hidden units, 32 samples, 6000 steps on batches of 1; wanted an even number of "
            "units, and at least one of each. Take an even width, so that ReLU units see both "
            "signs of the input.",
        ),
        (
            lambda: balance.imbalance(
                "descent", balance.Setup(steps=50, step_size=5.0), seeds=(0,)
            ),
            TailcutError,
            "training diverged for 1 of 1 seeds at step size 5.0; wanted finite parameters. "
            "Lower step_size or noise.",
        ),
        (
            lambda: benign.accuracy_grid((40,), (10,), (20,), (1,), (0,)),
            DataError,
            "10 samples of 20 inputs with signal 1 and a share of 40 wrong labels; wanted 1 <= n "
            "< d - 2, a signal of at least 0 and a share from 0 to 0.5. Give more inputs than "
            "samples; a share is 0.4, not 40.",
        ),
        (
            lambda: benign.accuracy_grid((0.4,), (10,), (20,), (1,), ()),
            DataError,
            "the seeds []; wanted at least one seed, each of them once. Give distinct integers, "
            "five or more for an interval.",
        ),
        (
            lambda: benign.two_layer_accuracy((0.4,), (10,), (20,), (1,), (0,), steps=1),
            TailcutError,
            "10 labels were not all learned with margin 1.0 in 1 steps; wanted an interpolating "
            "network. Raise steps, or take fewer samples.",
        ),
    ],
)
def test_errors_say_what_was_seen_wanted_and_to_do(call, kind, message):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message
