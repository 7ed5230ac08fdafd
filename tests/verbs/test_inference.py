"""What readouts are fitted to, and how the jury's labels are read."""

import pytest
import torch

import tailcut
from reference import gaussian
from tailcut.lab import noise
from tailcut.numerics.latent import FoldMoments
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.inference import (
    ROUNDS,
    SELF_TRAINING,
    Inferred,
    Material,
    _unjudged,
    half_rank,
)

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
    assert found == {(0, 0), (1, 0), (2, 0), (4, 0), (8, 0), (0, 2), (2, 2), (4, 2)}
    own = fix.candidates[fix.candidates["readout"] == "project"]
    assert not own[["rounds", "self_training"]].any(axis=None)
    (chosen,) = fix.candidates[fix.candidates["chosen"]].to_dict("records")
    for told in ("rounds", "self_training"):
        assert fix.summary[told] == chosen[told]


def test_the_reading_finds_the_noise_that_is_there(fix, memoriser):
    train = memoriser.problem.train
    wrong = float((train.given != train.clean).double().mean())
    assert fix.summary["noise"]["rate"] == pytest.approx(wrong, abs=0.06)


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
    spectrum = Spectrum.of(folds.whole())
    states = dict(_unjudged(folds.along(spectrum, half_rank(spectrum)), evidence=1))
    found = Inferred({}, {}, {material: state.reading for material, state in states.items()})
    assert found.preferred == Material(ROUNDS, SELF_TRAINING * trained)
    if trained:
        wrong = float((given_N != true_N).double().mean())
        errors = [abs(state.rate - wrong) for state in states.values()]
        assert errors[1] < 0.02 < errors[0]


def test_a_material_tells_itself_in_words():
    assert str(Material()) == ""
    assert str(Material(2)) == " on labels inferred in 2 rounds"
    assert str(Material(0, 2)) == " after 2 rounds of self-training"
    assert str(Material(1, 2)) == (
        " on labels inferred in one round, after 2 rounds of self-training"
    )
