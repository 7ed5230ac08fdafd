"""Is this the network of these labels? Networks that are not it are found, others pass."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tailcut
from tailcut.lab.data.digits import digits_problem
from tailcut.lab.training.experiment import conduct
from tailcut.lab.training.networks import build
from tailcut.lab.training.recipe import Recipe
from tailcut.verbs.agreement import CHECK, Agreement


def diagnosed(model, train, holdout=None, **dials):
    return tailcut.diagnose(model, train, holdout, progress=False, **dials)


def renamed(samples, label_of):
    """The same batches with other labels."""
    return [(inputs, label_of(labels)) for inputs, labels, _ in samples.loader()]


def test_a_memorising_network_fits_and_its_figures_are_plain(memoriser):
    found = diagnosed(memoriser.network, memoriser.problem.train.loader(), depth="head", views=[])
    assert found.agreement.fits
    assert found.agreement.share == memoriser.fit
    assert found.agreement.chance == pytest.approx(0.1, abs=0.005)
    assert found.agreement.readable is None  # nothing was in doubt


@pytest.mark.parametrize("network", ["mlp", "cnn-8", "vit"])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_untrained_network_is_left_alone(network, seed):
    train = digits_problem(rate=0.4, seed=0).train
    torch.manual_seed(seed)
    model = build(network, (1, 8, 8), 10).eval()
    fix = tailcut.repair(model, train.loader(), progress=False)
    assert fix.verdict == "unknown"
    assert "a linear readout of its features predicts" in fix.reason
    assert fix.reason.endswith(CHECK)
    assert fix.undo_tensors == {}


def test_labels_that_are_off_by_one_are_found_and_named(memoriser):
    shifted = renamed(memoriser.problem.train, lambda labels: (labels + 1) % 10)
    found = diagnosed(memoriser.network, shifted)
    assert found.verdict == "unknown"
    assert found.reason == (
        "the network predicts 0.0 % of its 1100 training labels (chance: 10.0 %), and 100.0 % "
        "once its classes are renumbered (0 -> 1, 1 -> 2, 2 -> 3, 3 -> 4, ...): it was not "
        f"trained on these labels as they are read here. {CHECK}"
    )


def test_two_classes_in_the_wrong_order_are_found_although_the_others_fit(memoriser):
    swapped = torch.tensor([0, 1, 2, 5, 4, 3, 6, 7, 8, 9])
    found = diagnosed(memoriser.network, renamed(memoriser.problem.train, swapped.__getitem__))
    assert found.verdict == "unknown"
    assert "once its classes are renumbered (3 -> 5, 5 -> 3)" in found.reason
    assert 0.7 < found.agreement.share < 0.9


def test_inputs_in_another_scale_are_found(memoriser):
    pixels = [(255 * inputs, labels) for inputs, labels, _ in memoriser.problem.train.loader()]
    inverted = [(1 - inputs, labels) for inputs, labels, _ in memoriser.problem.train.loader()]
    assert diagnosed(memoriser.network, inverted).verdict == "unknown"
    found = diagnosed(memoriser.network, pixels)  # a ReLU network hardly minds a larger scale
    assert found.agreement.share < 0.9


def test_a_fresh_head_on_a_sound_backbone_is_a_probe_and_said_to_be(memoriser):
    model = build("mlp", (1, 8, 8), 10)
    model.load_state_dict(memoriser.network.state_dict())
    model[-1].reset_parameters()
    train = memoriser.problem.train.loader()
    found = diagnosed(model.eval(), train)
    assert found.verdict == "unknown"
    assert found.agreement.readable > 0.5
    forced = diagnosed(model, train, memoriser.problem.holdout.loader(), force=True)
    assert "; a linear probe rather than a repair, because the network predicts" in forced.reason


@pytest.mark.parametrize(("network", "rate"), [("mlp", 0.0), ("mlp", 0.6), ("cnn-8", 0.4)])
def test_a_network_that_has_merely_not_converged_passes(network, rate):
    recipe = Recipe(epochs=1, learning_rate=0.02)
    early = conduct(network, digits_problem(rate=rate, seed=0), recipe, seed=0)
    found = diagnosed(early.network, early.problem.train.loader(), depth="head", views=[])
    assert found.agreement.fits, found.agreement


def test_a_network_for_other_classes_is_told_so_and_not_asked_for_a_thousand_classes(memoriser):
    torch.manual_seed(0)
    published = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 1000))
    found = diagnosed(published, memoriser.problem.train.loader())
    assert found.verdict == "unknown"
    assert found.reason.endswith(CHECK)


def test_the_audit_of_a_strange_network_is_refused_and_can_be_forced(memoriser):
    torch.manual_seed(0)
    model, train = build("mlp", (1, 8, 8), 10).eval(), memoriser.problem.train.loader()
    with pytest.raises(tailcut.DataError) as error:
        tailcut.find_label_issues(model, train, progress=False)
    told = str(error.value)
    assert told.startswith("the network predicts ")
    assert told.endswith(f"; wanted a network that was trained on these labels. {CHECK}.")
    assert len(tailcut.find_label_issues(model, train, force=True, progress=False)) == 1100


def test_the_result_tells_the_figures(memoriser):
    fix = tailcut.repair(
        memoriser.network, memoriser.problem.train.loader(), depth="head", views=[], progress=False
    )
    told = fix.summary["agreement"]
    assert told["train"] == memoriser.fit
    assert told["n"] == 1100
    assert told["features"] is None
    assert told["renumbered"] is None


labels = st.lists(st.integers(0, 4), min_size=30, max_size=60)


@given(labels, st.permutations(range(5)))
def test_a_renumbering_never_agrees_less_than_what_it_replaces(drawn, order):
    given_N = torch.tensor(drawn)
    found = Agreement.of(torch.tensor(order)[given_N], given_N, 5, lambda: 1.0)
    assert found.after >= found.share
    assert not (found.renumbered and found.fits)
    assert all(order[to] == k for k, to in found.renumbered.items())


@given(labels, st.randoms(use_true_random=False))
def test_chance_is_what_shuffled_predictions_reach(drawn, random):
    predicted = drawn.copy()
    random.shuffle(predicted)
    found = Agreement.of(torch.tensor(predicted), torch.tensor(drawn), 5, lambda: None)
    frequencies = [drawn.count(k) / len(drawn) for k in range(5)]
    assert found.chance == pytest.approx(math.fsum(f * f for f in frequencies))


def test_what_passes_is_a_third_of_what_the_features_tell():
    given_N = torch.arange(9000) % 3
    wrong_N = (given_N + 1) % 3

    def fits(right, readable):
        chosen_N = torch.arange(9000) < right * 9000
        spread_N = torch.where(torch.arange(9000) % 2 == 0, wrong_N, (given_N + 2) % 3)
        predicted_N = torch.where(chosen_N, given_N, spread_N)
        return Agreement.of(predicted_N, given_N, 3, lambda: readable).fits

    assert fits(0.50, 0.82)  # above chance 0.25, a little more than a third of 0.73
    assert not fits(0.50, 0.84)
    assert fits(0.36, None)  # four standard errors above chance, where the features tell nothing
    assert not fits(0.34, None)
