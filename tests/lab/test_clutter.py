"""Digits in clutter: what an image shows, and that its pixels alone tell nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from tailcut.errors import DataError
from tailcut.lab.data.clutter import canvases, clutter_problem
from tailcut.lab.data.digits import digits
from tailcut.lab.training.networks import build
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout


@pytest.fixture(scope="module")
def one_of_each():
    """Ten digits, so that a label names its image."""
    whole = digits()
    return whole.rows(torch.stack([(whole.given == k).nonzero()[0, 0] for k in range(10)]))


def test_every_canvas_shows_its_digit_whole_and_fragments_less_bright(one_of_each):
    shown = canvases(one_of_each, 100, np.random.default_rng(0))
    assert shown.inputs.shape == (100, 1, 24, 24)
    assert set(shown.given.tolist()) == set(range(10))
    for image, label in zip(shown.inputs[:, 0], shown.given, strict=True):
        digit = one_of_each.inputs[label, 0]
        windows = image.unfold(0, 8, 1).unfold(1, 8, 1)
        there = (windows >= digit) & (windows <= digit.clamp(min=0.3 * 0.8 + 1e-6))
        places = there.all(-1).all(-1).nonzero()
        assert len(places) == 1
        top, left = places[0]
        around = image.clone()
        around[top : top + 8, left : left + 8] = 0
        assert 0 < around.max() <= 0.8
        # six fragments of 16 pixels, some of them over each other
        assert (around > 0).sum() <= 6 * 16


def test_digits_stand_everywhere(one_of_each):
    mean = canvases(one_of_each, 2_000, np.random.default_rng(1)).inputs.mean(0)[0]
    quarters = mean.unfold(0, 12, 12).unfold(1, 12, 12).mean((2, 3))
    assert quarters.max() < 1.1 * quarters.min()


def test_the_same_seed_draws_the_same_problem_and_another_does_not():
    def drawn(seed):
        return clutter_problem(rate=0.4, seed=seed, train=50, holdout=20, test=30)

    first, again, other = drawn(3), drawn(3), drawn(4)
    for part in ("train", "holdout", "test"):
        a, b, c = (getattr(each, part) for each in (first, again, other))
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.given, b.given)
        assert not torch.equal(a.inputs, c.inputs)
    assert [len(each) for each in (first.train, first.holdout, first.test)] == [50, 20, 30]


def test_labels_are_wrong_at_the_rate_and_only_where_they_may_be():
    problem = clutter_problem(rate=0.4, seed=0)
    wrong = (problem.train.given != problem.train.clean).double().mean()
    assert abs(float(wrong) - 0.4) < 0.03
    assert problem.test.clean is None or torch.equal(problem.test.given, problem.test.clean)


def test_pixels_tell_almost_nothing_even_with_true_labels():
    problem = clutter_problem(rate=0.0, seed=0)
    moments = Moments(576, 10).update(problem.train.inputs.flatten(1), given=problem.train.given)
    weight_KD, bias_K = Readout.lda(moments).fold(570)
    logits_NK = problem.test.inputs.flatten(1).double() @ weight_KD.T + bias_K
    assert (logits_NK.argmax(1) == problem.test.given).double().mean() < 0.2


def test_open_set_canvases_are_of_the_last_three_digits():
    problem = clutter_problem(rate=0.5, seed=0, train=200, holdout=20, test=50, kind="openset")
    assert problem.train.given.max() == 6
    assert problem.classes == 7
    outside = (problem.train.clean == -1).double().mean()
    assert abs(float(outside) - 0.5) < 0.1


def test_nobody_has_labelled_clutter():
    with pytest.raises(DataError) as error:
        clutter_problem(rate=0.0, seed=0, kind="human")
    assert str(error.value) == (
        "digits in clutter with human labels; wanted data that somebody has labelled anew: "
        "cifar10. Choose another noise, or cifar10."
    )


def test_the_network_does_not_care_where_the_digit_stands():
    torch.manual_seed(0)
    network = build("maxcnn-4", (1, 24, 24), 10).eval()
    image = torch.zeros(1, 1, 24, 24)
    image[:, :, 4:12, 4:12] = torch.rand(8, 8)
    moved = image.roll((8, 4), (2, 3))  # four pixels are one step of the last layer
    torch.testing.assert_close(network(image), network(moved))
    assert [each.in_features for each in network if isinstance(each, nn.Linear)] == [32]
