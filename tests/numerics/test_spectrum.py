from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import TwoPass, blobs, features_with, gaussian, labels_of, moments_of
from tailcut.errors import DataError
from tailcut.numerics.moments import Moments
from tailcut.numerics.spectrum import Spectrum, coding_rate_reduction, nc1

quick = settings(deadline=None, max_examples=40)


def spectrum_of(features_ND, *, centred=True):
    labels_N = torch.zeros(len(features_ND), dtype=torch.int64)
    return Spectrum.of(moments_of(features_ND, 1, given=labels_N), centred=centred)


def spectrum_with(*eigenvalues):
    values_D = torch.tensor(eigenvalues, dtype=torch.float64)
    width = len(values_D)
    return Spectrum(values_D, torch.eye(width).double(), torch.zeros(width).double(), n=10 * width)


@st.composite
def any_features(draw):
    n, width = draw(st.integers(2, 12)), draw(st.integers(1, 8))
    scale_D = 10.0 ** torch.tensor(draw(st.lists(st.integers(-4, 4), min_size=8, max_size=8)))
    offset = draw(st.sampled_from([0.0, 3.0, 1e6]))
    return gaussian(n, width, seed=draw(st.integers(0, 10_000))) * scale_D[:width] + offset


@quick
@given(any_features(), st.booleans())
def test_the_basis_is_orthonormal_and_diagonalises_the_covariance(features_ND, centred):
    spectrum = spectrum_of(features_ND, centred=centred)
    n, width = features_ND.shape
    shifted_ND = features_ND - spectrum.mean_D
    covariance_DD = shifted_ND.T @ shifted_ND / n
    basis_DD = spectrum.basis_DD
    eye_DD = torch.eye(width, dtype=torch.float64)
    torch.testing.assert_close(basis_DD.T @ basis_DD, eye_DD, rtol=0, atol=1e-12)
    rebuilt_DD = basis_DD * spectrum.eigenvalues_D @ basis_DD.T
    scale = float(covariance_DD.abs().max())
    torch.testing.assert_close(rebuilt_DD, covariance_DD, rtol=0, atol=1e-12 * scale)
    assert torch.equal(spectrum.mean_D != 0, torch.full((width,), centred))


@quick
@given(any_features(), st.booleans())
def test_eigenvalues_descend_and_the_largest_entry_of_each_direction_is_positive(
    features_ND, centred
):
    spectrum = spectrum_of(features_ND, centred=centred)
    assert (spectrum.eigenvalues_D.diff() <= 0).all()
    assert (spectrum.eigenvalues_D >= 0).all()
    places_D = spectrum.basis_DD.abs().argmax(0)
    assert (spectrum.basis_DD[places_D, torch.arange(spectrum.width)] > 0).all()


@quick
@given(st.integers(2, 8), st.integers(0, 8), st.integers(0, 10_000), st.sampled_from([0.0, 1e6]))
def test_fewer_samples_than_features_leave_n_minus_1_directions(n, more, seed, offset):
    spectrum = spectrum_of(gaussian(n, n + more, seed=seed) + offset)
    assert spectrum.rank == n - 1
    assert spectrum.directions().shape == (n + more, n - 1)


def test_dead_features_carry_no_direction():
    features_ND = gaussian(50, 6)
    features_ND[:, 2:4] = 0
    assert spectrum_of(features_ND).rank == 4


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 0.1, -1e-3])
def test_constant_features_have_no_direction(value):
    moments = Moments(4, 1)
    for size in (1, 7, 100, 13):
        labels_N = torch.zeros(size, dtype=torch.int64)
        moments.update(torch.full((size, 4), value, dtype=torch.float64), given=labels_N)
    spectrum = Spectrum.of(moments)
    assert spectrum.rank == 0
    with pytest.raises(DataError) as error:
        spectrum.directions()
    assert str(error.value) == (
        "features that are the same for all 121 samples; wanted features that vary. "
        "Check that the inputs differ and that the layer before the head is alive."
    )


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_samples_have_no_spectrum(n):
    with pytest.raises(DataError) as error:
        spectrum_of(gaussian(n, 3))
    assert str(error.value) == (
        f"moments of {n} samples; wanted at least 2 samples. Check that the loader is not empty."
    )


def test_prescribed_eigenvalues_are_found_behind_any_mean():
    values_D = torch.tensor([9.0, 4.0, 1.0, 1e-6], dtype=torch.float64)
    spectrum = spectrum_of(features_with(values_D, 30, mean_D=5.0))
    torch.testing.assert_close(spectrum.eigenvalues_D, values_D, rtol=1e-8, atol=0)


def test_scalars_match_their_definitions():
    values = [8.0, 4.0, 2.0, 1.0, 1.0]
    spectrum = spectrum_with(*values)
    shares, roots = np.array(values) / 16, np.sqrt(values) / np.sqrt(values).sum()
    np.testing.assert_allclose(spectrum.shares_D, shares)
    assert spectrum.effective_rank == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
    assert spectrum.entropy_rank_of_singular_values == pytest.approx(
        math.exp(-(roots * np.log(roots)).sum())
    )
    assert spectrum.participation_ratio == pytest.approx(16**2 / 86)
    assert spectrum.stable_rank == pytest.approx(2)
    assert spectrum.tail_exponent(top=2) == pytest.approx(1 + 2 / (math.log(4) + math.log(2)))
    assert [spectrum.gap(rank) for rank in (1, 4, 5)] == [0.5, 0, 1]


@pytest.mark.parametrize("width", [1, 7])
def test_equal_eigenvalues_give_full_rank_by_every_measure(width):
    spectrum = spectrum_with(*[3.0] * width)
    for measured in (
        spectrum.effective_rank,
        spectrum.entropy_rank_of_singular_values,
        spectrum.participation_ratio,
        spectrum.stable_rank,
        spectrum.rank,
    ):
        assert measured == pytest.approx(width)


def test_one_direction_gives_rank_one_by_every_measure():
    spectrum = spectrum_with(3.0, 0, 0, 0)
    assert spectrum.rank == 1
    assert spectrum.effective_rank == pytest.approx(1)
    assert spectrum.participation_ratio == spectrum.stable_rank == 1
    assert math.isnan(spectrum.tail_exponent())
    assert spectrum.gap(1) == 1
    assert spectrum.gap(2) == 0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_a_power_law_has_the_tail_exponent_of_its_power(power):
    spectrum = spectrum_with(*(torch.arange(1, 2001, dtype=torch.float64) ** -power).tolist())
    assert spectrum.tail_exponent() == pytest.approx(1 + 1 / power, rel=0.03)


def test_equal_eigenvalues_have_an_infinite_tail_exponent():
    assert spectrum_with(*[2.0] * 12).tail_exponent() == math.inf


def test_the_coding_rate_is_a_log_determinant():
    features_ND = gaussian(20, 4) + 7
    centred_ND = features_ND - features_ND.mean(0)
    inside_DD = torch.eye(4).double() + 4 / (20 * 0.3**2) * centred_ND.T @ centred_ND
    expected = 0.5 * float(torch.logdet(inside_DD))
    assert spectrum_of(features_ND).coding_rate(0.3) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.sampled_from([1e-3, 1.0, 1e3]), st.floats(0.1, 2), st.integers(0, 99))
def test_the_coding_rate_reduction_is_that_of_the_eigenvalues(width, scale, distortion, seed):
    features_ND = scale * gaussian(40, width, seed=seed)
    parts = [features_ND[:2], features_ND[2:20], features_ND[20:]]
    expected = spectrum_of(features_ND).coding_rate(distortion)
    expected -= sum(len(p) / 40 * spectrum_of(p).coding_rate(distortion) for p in parts)
    classes = [moments_of(part, 1, given=torch.zeros(len(part)).long()) for part in parts]
    assert coding_rate_reduction(classes, distortion) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_a_class_of_one_sample_has_no_coding_rate_of_its_own():
    features_ND = gaussian(10, 3)
    parts = features_ND[:1], features_ND[1:]
    classes = [moments_of(part, 1, given=torch.zeros(len(part)).long()) for part in parts]
    expected = spectrum_of(features_ND).coding_rate() - 0.9 * spectrum_of(parts[1]).coding_rate()
    assert coding_rate_reduction(classes) == pytest.approx(expected, rel=1e-10)


def test_the_coding_rate_reduction_is_the_whole_less_the_weighted_parts():
    labels_N = labels_of(60, 3)
    features_ND = blobs(labels_N, 4)
    parts = [features_ND[labels_N == k] for k in range(3)]
    rates = [spectrum_of(part).coding_rate() * len(part) / 60 for part in parts]
    classes = [moments_of(x, 1, given=torch.zeros(len(x), dtype=torch.int64)) for x in parts]
    expected = spectrum_of(features_ND).coding_rate() - sum(rates)
    assert coding_rate_reduction(classes) == pytest.approx(expected, rel=1e-10)
    assert coding_rate_reduction(classes) > 0


def test_nc1_is_the_trace_of_within_over_between_scatter():
    labels_N = labels_of(60, 6).clamp(max=2)
    features_ND = blobs(labels_N, 5)
    exact = TwoPass.of(features_ND, labels_N, 3)
    spread_KD = exact.means_KD - exact.means_KD.mean(0)
    inverse_DD = np.linalg.pinv(spread_KD.T @ spread_KD / 3, rcond=1e-9)
    expected = np.trace(exact.within_DD / 60 @ inverse_DD) / 3
    assert nc1(moments_of(features_ND, 3, given=labels_N)) == pytest.approx(expected, rel=1e-9)


def test_nc1_is_zero_for_collapsed_classes_and_ignores_the_scale():
    labels_N = labels_of(30, 3)
    means_ND = 4 * gaussian(3, 5)[labels_N]
    spread_ND = means_ND + gaussian(30, 5)
    assert nc1(moments_of(means_ND, 3, given=labels_N)) == pytest.approx(0, abs=1e-12)
    small, large = (moments_of(c * spread_ND, 3, given=labels_N) for c in (1e-3, 1e3))
    assert nc1(small) == pytest.approx(nc1(large), rel=1e-9)


def test_a_random_basis_keeps_the_total_variance_and_shows_it_along_its_directions():
    features_ND = blobs(labels_of(80, 2), 6)
    spectrum = spectrum_of(features_ND)
    basis_DD, _ = torch.linalg.qr(gaussian(6, 6, seed=5))
    control = spectrum.rebased(basis_DD)
    variances_D = (features_ND @ basis_DD).var(0, correction=0)
    torch.testing.assert_close(control.eigenvalues_D, variances_D)
    assert float(control.shares_D.sum()) == pytest.approx(1)
    assert control.stable_rank == pytest.approx(float(variances_D.sum() / variances_D.max()))


def test_the_own_basis_changes_nothing_and_the_tail_first_reverses_it():
    spectrum = spectrum_of(gaussian(30, 5))
    same, reversed_ = (spectrum.rebased(b) for b in (spectrum.basis_DD, spectrum.basis_DD.flip(1)))
    torch.testing.assert_close(same.eigenvalues_D, spectrum.eigenvalues_D)
    torch.testing.assert_close(reversed_.eigenvalues_D, spectrum.eigenvalues_D.flip(0))


def test_the_tail_first_keeps_every_direction_up_to_the_last_that_varies():
    features_ND = gaussian(4, 6)
    spectrum = spectrum_of(features_ND)
    tail_first = spectrum.rebased(spectrum.basis_DD.flip(1))
    assert (tail_first.eigenvalues_D >= 0).all()
    assert (spectrum.rank, tail_first.rank) == (3, 6)
