from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import blobs, flipped, gaussian, joint_counts, label_energies, labels_of, one_hot
from tailcut.errors import DataError
from tailcut.numerics.moments import Moments
from tailcut.numerics.segregation import Segregation, permuted_within
from tailcut.numerics.spectrum import Spectrum

DRAWS = tuple(f"permuted {draw}" for draw in range(19))


def segregation_of(features_ND, true_N, given_N, classes, *, seed=0):
    """With 19 permutations, so that the p-value goes down to 0.05."""
    generator = torch.Generator().manual_seed(seed)
    permuted = {name: permuted_within(given_N, true_N, generator) for name in DRAWS}
    moments = Moments(features_ND.shape[1], classes, ("clean", "given", *DRAWS))
    moments.update(features_ND, clean=true_N, given=given_N, **permuted)
    return Segregation.of(moments, permuted=DRAWS)


def noise_of(true_N, given_N, classes):
    onehot_NK = one_hot(given_N, classes)
    return onehot_NK - torch.stack([onehot_NK[true_N == label].mean(0) for label in true_N])


def planted(scale):
    """The true classes in four strong directions, the noise residual in four of any scale."""
    true_N = labels_of(300, 4)
    given_N = flipped(true_N, 4, 0.4)
    features_ND = gaussian(300, 20)
    features_ND[:, :4] += 8 * one_hot(true_N, 4)
    memory_N4 = noise_of(true_N, given_N, 4) + 0.1 * gaussian(300, 4, seed=1)
    features_ND[:, 16:] = scale * memory_N4
    return segregation_of(features_ND, true_N, given_N, 4)


@settings(deadline=None, max_examples=25)
@given(st.integers(12, 40), st.integers(1, 15), st.integers(2, 4), st.integers(0, 1000))
def test_energies_are_those_of_the_left_singular_vectors(n, width, classes, seed):
    true_N = labels_of(n, classes, seed)
    one_of_each_N = torch.tensor([true_N.tolist().index(k) for k in range(classes)])
    given_N = true_N.index_add(0, one_of_each_N, torch.ones(classes).long()) % classes
    features_ND = blobs(true_N, width, seed=seed)
    ours = segregation_of(features_ND, true_N, given_N, classes)
    signal_R, noise_R = label_energies(features_ND, true_N, given_N, classes)
    torch.testing.assert_close(ours.signal_R, signal_R, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(ours.noise_R, noise_R, rtol=1e-6, atol=1e-9)
    assert max(float(signal_R.sum()), float(noise_R.sum())) <= 1 + 1e-9


def test_noise_memorised_in_the_tail_has_an_index_above_its_null():
    found = planted(scale=0.3)
    assert found.noise_R.argmax() > 15
    assert found.index > float(found.null_index.max())
    assert found.p_value == 0.05


def test_noise_memorised_in_the_leading_directions_has_a_large_p_value():
    found = planted(scale=30)
    assert found.noise_R.argmax() < 4
    assert found.index < float(found.null_index.min())
    assert found.p_value == 1


def test_noise_independent_of_the_features_is_seldom_significant():
    def p_value(seed):
        true_N = labels_of(120, 3, seed)
        features_ND = blobs(true_N, 8, seed=seed)
        return segregation_of(features_ND, true_N, flipped(true_N, 3, 0.4, seed), 3).p_value

    values = [p_value(seed) for seed in range(40)]
    assert sum(value <= 0.1 for value in values) <= 10
    assert sum(value > 0.5 for value in values) >= 10


def test_independent_labels_have_the_energy_of_chance():
    def noise(seed):
        true_N = labels_of(60, 3, seed)
        moments = Moments(10, 3, ("clean", "given"))
        moments.update(
            gaussian(60, 10, seed=seed), clean=true_N, given=flipped(true_N, 3, 0.5, seed)
        )
        return Segregation.of(moments)

    found = [noise(seed) for seed in range(60)]
    mean_R = torch.stack([each.noise_R.cumsum(0) for each in found]).mean(0)
    chance_R = found[0].chance()
    torch.testing.assert_close(chance_R, torch.arange(1, 11).double() / 59)
    torch.testing.assert_close(mean_R, chance_R, rtol=0.2, atol=0.005)


def test_the_index_is_the_area_between_the_curves_over_log_rank():
    first_R, last_R = torch.eye(5, dtype=torch.float64)[[0, 4]]
    nothing_QR = torch.empty(0, 5)
    apart = Segregation(first_R, last_R, nothing_QR, n=9)
    assert apart.index == pytest.approx(math.log(5) / math.log(6))
    assert Segregation(last_R, first_R, nothing_QR, n=9).index == pytest.approx(-apart.index)
    assert Segregation(first_R, first_R, nothing_QR, n=9).index == 0


def test_depth_is_0_in_the_first_direction_and_1_behind_the_last():
    first_R, last_R = 0.3 * torch.eye(5, dtype=torch.float64)[[0, 4]]
    signal_depth, noise_depth = Segregation(first_R, last_R, torch.empty(0, 5), n=9).depth
    assert signal_depth == pytest.approx(0, abs=1e-12)
    assert noise_depth == pytest.approx(math.log(5) / math.log(6))


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=1, max_size=12))
def test_depth_is_the_mean_place_in_log_rank_whatever_the_total(energies):
    signal_R, noise_R = torch.tensor(energies, dtype=torch.float64).T
    found = Segregation(signal_R, 0.01 * noise_R, torch.empty(0, len(signal_R)), n=9)
    places = [
        math.log(place) / math.log(len(signal_R) + 1) for place in range(1, len(signal_R) + 1)
    ]
    for depth, energy_R in zip(found.depth, (signal_R, noise_R), strict=True):
        mean = sum(e * p for e, p in zip(energy_R.tolist(), places, strict=True)) / energy_R.sum()
        assert depth == pytest.approx(float(mean), abs=1e-9)
        assert -1e-9 <= depth < 1


def test_without_loss_of_energy_the_index_is_how_much_deeper_the_noise_lies():
    """Where the features explain all of both; the index counts what they do not explain too."""
    signal_R, noise_R = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=torch.float64)
    found = Segregation(signal_R, noise_R, torch.empty(0, 3), n=9)
    assert found.index == pytest.approx(found.depth[1] - found.depth[0])


def test_the_null_index_is_the_index_with_as_much_permuted_noise():
    first_R, last_R = torch.eye(5, dtype=torch.float64)[[0, 4]]
    null_QR = torch.stack([0.1 * first_R, 0.2 * last_R, last_R])
    found = Segregation(first_R, last_R, null_QR, n=9)
    torch.testing.assert_close(
        found.null_index, torch.tensor([0, found.index, found.index]).double()
    )
    assert found.p_value == 3 / 4


def test_without_permutations_there_is_no_p_value():
    true_N = labels_of(30, 2)
    moments = Moments(3, 2, ("clean", "given"))
    moments.update(gaussian(30, 3), clean=true_N, given=flipped(true_N, 2, 0.3))
    found = Segregation.of(moments)
    assert math.isnan(found.p_value)
    assert found.null_index.shape == (0,)
    assert torch.equal(found.noise_R, Segregation.of(moments, Spectrum.of(moments)).noise_R)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(2, 5), st.integers(0, 1000))
def test_permuting_within_classes_keeps_every_joint_count(n, classes, seed):
    true_N = labels_of(n, classes, seed)
    given_N = flipped(true_N, classes, 0.5, seed)
    permuted_N = permuted_within(given_N, true_N, torch.Generator().manual_seed(seed))
    before_KK, after_KK = (joint_counts(true_N, y, classes) for y in (given_N, permuted_N))
    assert torch.equal(before_KK, after_KK)


def test_permuting_within_classes_moves_labels_and_leaves_the_input_alone():
    true_N = torch.zeros(100, dtype=torch.int64)
    given_N = torch.arange(100)
    permuted_N = permuted_within(given_N, true_N, torch.Generator().manual_seed(0))
    assert torch.equal(given_N, torch.arange(100))
    assert (permuted_N == given_N).sum() < 10


def message_of(moments, **kwargs):
    with pytest.raises(DataError) as error:
        Segregation.of(moments, **kwargs)
    return str(error.value)


def filled(true_N, given_N, features_ND=None):
    moments = Moments(2, 3, ("clean", "given"))
    features_ND = gaussian(len(true_N), 2) if features_ND is None else features_ND
    return moments.update(features_ND, clean=true_N, given=given_N)


def test_labels_without_a_wrong_one_have_no_noise_to_look_for():
    true_N = labels_of(9, 3)
    assert message_of(filled(true_N, (true_N + 1) % 3)) == (
        "the label set 'given' is a function of the true labels, without random noise; "
        "wanted given labels of which some are wrong at random. "
        "Segregation is only defined where there is noise to look for."
    )


@pytest.mark.parametrize("true", [[0, 0, 0, 0], [0, 1, 0, 1]], ids=["one class", "unrelated"])
def test_labels_without_a_signal_have_none_to_look_for(true):
    assert message_of(filled(torch.tensor(true), torch.tensor([0, 0, 1, 1]))) == (
        "the label set 'given' does not depend on the true labels; "
        "wanted given labels of which some are right. "
        "Segregation is only defined where there is a signal to look for."
    )


@pytest.mark.parametrize("names", [{"given": "clean"}, {"permuted": ["clean"]}])
def test_label_sets_not_counted_against_the_true_one_are_refused(names):
    assert message_of(filled(labels_of(9, 3), labels_of(9, 3, 1)), **names) == (
        "label set 'clean' is not among ['given'], which were counted against the first one; "
        "wanted the true labels as the first label set, and the given ones after them. "
        'Make them as Moments(..., label_sets=("clean", "given")).'
    )


def test_constant_features_have_no_direction_to_look_along():
    true_N = labels_of(9, 3)
    assert message_of(filled(true_N, flipped(true_N, 3, 0.5), torch.ones(9, 2))) == (
        "features that are the same for all 9 samples; wanted features that vary. "
        "Check that the inputs differ and that the layer before the head is alive."
    )
