"""What readouts are fitted to, and how the jury's labels are read."""

import pytest
import torch

import tailcut
from reference import gaussian
from tailcut.lab import noise
from tailcut.numerics.latent import FoldMoments
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.inference import ROUNDS, SELF_TRAINING, Material, _unjudged

CLASSES = 4


@pytest.fixture(scope="module")
def fix(memoriser):
    p = memoriser.problem
    return tailcut.repair(
        memoriser.network, p.train.loader(), p.holdout.loader(), depth="head", progress=False
    )


def test_labels_that_were_let_go_are_fitted_without_views_too(fix):
    table = fix.candidates[fix.candidates["readout"] == "lda"]
    found = set(zip(table["rounds"], table["self_training"], table["samples"], strict=True))
    inferred = [(rounds, 0, "views") for rounds in (0, 1, 2, 4, 8)]
    trained = [(rounds, 2, s) for rounds in (0, 2, 4) for s in ("views", "as they are")]
    assert found == {*inferred, *trained}
    nearest = fix.candidates[fix.candidates["readout"] == "centroid"]
    assert not nearest["rounds"].any()
    (chosen,) = fix.candidates[fix.candidates["chosen"]].to_dict("records")
    for told in ("rounds", "self_training", "samples"):
        assert fix.summary[told] == chosen[told]


def test_the_reading_finds_the_noise_that_is_there(fix, memoriser):
    train = memoriser.problem.train
    wrong = float((train.given != train.clean).double().mean())
    assert fix.summary["noise"]["rate"] == pytest.approx(wrong, abs=0.06)


def test_without_views_samples_as_they_are_are_fitted_once(memoriser):
    p = memoriser.problem
    bare = tailcut.repair(
        memoriser.network,
        p.train.loader(),
        p.holdout.loader(),
        views=[],
        depth="head",
        readout="centroid",
        progress=False,
    )
    assert set(bare.candidates["samples"]) == {"views"}


@pytest.mark.parametrize(
    ("rate", "spread", "trained"), [(0.4, 0.1, True), (0.2, 0.2, False), (0.4, 0.6, False)]
)
def test_without_a_jury_self_training_is_for_labels_not_let_go_and_for_classes_apart(
    rate, spread, trained
):
    true_N, given = torch.arange(1000) % CLASSES, noise.symmetric(CLASSES, rate)
    given_N = noise.corrupt(true_N, given, seed=0)
    features_VND = torch.eye(CLASSES, 16)[true_N] + spread * gaussian(2, 1000, 16).float()
    folds = FoldMoments(16, CLASSES).update(features_VND, given_N, torch.arange(1000))
    states = dict(_unjudged(folds, Spectrum.of(folds.whole())))
    assert list(states) == [Material(ROUNDS)] + [Material(ROUNDS, SELF_TRAINING)] * trained
    if trained:
        wrong = float((given_N != true_N).double().mean())
        errors = [abs(state.rate - wrong) for state in states.values()]
        assert errors[1] < 0.02 < errors[0]


def test_a_material_tells_itself_in_words():
    assert str(Material()) == ""
    assert str(Material(2)) == " on labels inferred in 2 rounds"
    assert str(Material(0, 2)) == " after 2 rounds of self-training"
    assert str(Material(1, 2, "as they are")) == (
        " on labels inferred in one round, after 2 rounds of self-training, of samples as they are"
    )
