"""What readouts are fitted to."""

import pytest
import torch
from torch import nn

import tailcut
from reference import gaussian
from tailcut.lab.noise.drawing import corrupt
from tailcut.lab.noise.transitions import symmetric
from tailcut.numerics.crossfit import FoldMoments
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.inference import half_rank, states
from tailcut.verbs.policy import TARGETS
from tailcut.verbs.targets import GIVEN, Targets

CLASSES = 4


@pytest.fixture(scope="module")
def fix(memoriser):
    p = memoriser.problem
    return tailcut.repair(
        memoriser.network, p.train.loader(), p.holdout.loader(), depth="head", progress=False
    )


def test_lda_is_fitted_to_labels_inferred_and_self_trained(fix):
    table = fix.candidates[fix.candidates["readout"] == "lda"]
    found = set(zip(table["rounds"], table["self_training"], strict=True))
    assert found == {(0, 0), (1, 0), (4, 0), (0, 2), (4, 2)}
    own = fix.candidates[fix.candidates["readout"] == "project"]
    assert not own[["rounds", "self_training"]].any(axis=None)
    (chosen,) = fix.candidates[fix.candidates["chosen"]].to_dict("records")
    for told in ("rounds", "self_training"):
        assert fix.summary[told] == chosen[told]


def test_the_reading_finds_the_noise_that_is_there(fix, memoriser):
    train = memoriser.problem.train
    wrong = float((train.given != train.clean).double().mean())
    assert fix.summary["noise"]["rate"] == pytest.approx(wrong, abs=0.06)


def test_each_target_has_the_labels_that_its_name_says():
    """Against the rounds one by one; self-training lets the last of the memory go."""
    true_N, given = torch.arange(1000) % CLASSES, symmetric(CLASSES, 0.4)
    given_N = corrupt(true_N, given, seed=0)
    features_VND = torch.eye(CLASSES, 16)[true_N] + 0.1 * gaussian(2, 1000, 16).float()
    folds = FoldMoments(16, CLASSES).update(features_VND, given_N, torch.arange(1000))
    spectrum = Spectrum.of(folds.whole())
    half = folds.along(spectrum, half_rank(spectrum))
    found = dict(states(half, 1.0, TARGETS))
    assert set(found) == set(TARGETS) - {GIVEN}
    first, *_, fourth = half.latents(4)
    for state, targets in ((first, Targets(1)), (fourth, Targets(4))):
        torch.testing.assert_close(found[targets].posterior_NK, state.posterior_NK)
    trained = half.self_trained(fourth.labels(), 2)
    torch.testing.assert_close(found[Targets(4, 2)].posterior_NK, trained.posterior_NK)
    one_hot = torch.nn.functional.one_hot(given_N, CLASSES).double()
    trained = half.self_trained(one_hot, 2)
    torch.testing.assert_close(found[Targets(0, 2)].posterior_NK, trained.posterior_NK)
    assert list(dict(states(half, 1.0, [Targets(4)]))) == [Targets(4)]


def test_targets_in_words():
    assert str(Targets()) == ""
    assert str(Targets(2)) == " on labels inferred in 2 rounds"
    assert str(Targets(0, 2)) == " after 2 rounds of self-training"
    assert str(Targets(1, 2)) == (
        " on labels inferred in one round, after 2 rounds of self-training"
    )


def _with_a_class_that_is_given_only_by_mistake(gap, seed=0):
    """Class 2 lies over both others alike, so inference takes every sample away from it."""
    true_N = torch.arange(300) % 2
    inputs = torch.randn(300, 4, generator=torch.Generator().manual_seed(seed))
    inputs[:, 0] += gap * true_N
    return inputs, torch.where(torch.arange(300) % 10 < 2, 2, true_N)


def _network_of_two_classes_and_one_more(gap):
    head = nn.Linear(4, 3)
    with torch.no_grad():
        head.weight.zero_()
        head.weight[:, 0] = torch.tensor([-1.0, 1.0, 0.0]) / gap
        head.bias.copy_(torch.tensor([0.5, -0.5, -5.0]))
    return head


@pytest.mark.parametrize("gap", [30, 1000])
@pytest.mark.parametrize("held_out", [True, False])
def test_a_class_that_vanishes_from_the_inferred_labels_is_no_error(gap, held_out):
    train = [_with_a_class_that_is_given_only_by_mistake(gap)]
    holdout = [_with_a_class_that_is_given_only_by_mistake(gap, seed=1)] if held_out else None
    model = _network_of_two_classes_and_one_more(gap)
    dials = {"views": [], "depth": "head", "progress": False}
    assert tailcut.repair(model, train, holdout, **dials).verdict != "cut"
    issues = tailcut.find_label_issues(model, train, holdout, **dials)
    assert (issues["given_label"][issues["is_label_issue"]] == 2).all()
    assert issues["is_label_issue"].sum() == pytest.approx(60, abs=6)
