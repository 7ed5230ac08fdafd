from __future__ import annotations

import pytest
import torch

import reference
from reference import features_with, gaussian, moments_of
from tailcut.errors import DataError
from tailcut.numerics.references import (
    gavish_donoho_rank,
    marchenko_pastur_median,
    marchenko_pastur_rank,
    parallel_analysis_rank,
)
from tailcut.numerics.spectrum import Spectrum


def moments(features_ND):
    return moments_of(features_ND, 1, given=torch.zeros(len(features_ND), dtype=torch.int64))


def ranks_of(features_ND):
    held = moments(features_ND)
    spectrum = Spectrum.of(held)
    return (
        marchenko_pastur_rank(spectrum),
        gavish_donoho_rank(spectrum),
        parallel_analysis_rank(held),
    )


def spiked(n, width, spikes, *, scale=12, seed):
    features_ND = gaussian(n, width, seed=seed)
    features_ND[:, :spikes] *= scale
    turn_DD, _ = torch.linalg.qr(gaussian(width, width, seed=seed + 100))
    return features_ND @ turn_DD + 5


@pytest.mark.parametrize("beta", [1e-4, 0.01, 0.1, 0.5, 0.9, 1.0])
def test_the_marchenko_pastur_median_is_that_of_quadrature(beta):
    expected = reference.marchenko_pastur_median(beta)
    assert marchenko_pastur_median(beta) == pytest.approx(expected, rel=3e-4)


@pytest.mark.parametrize(("n", "width"), [(400, 20), (60, 60), (20, 200)])
@pytest.mark.parametrize("seed", range(3))
def test_white_noise_has_about_no_direction_that_stands_out(n, width, seed):
    edge, threshold, parallel = ranks_of(gaussian(n, width, seed=seed))
    assert edge <= 1
    assert threshold == 0
    assert parallel <= 1


@pytest.mark.parametrize(("n", "width"), [(400, 20), (60, 60), (40, 200)])
@pytest.mark.parametrize("spikes", [1, 3])
def test_planted_spikes_are_counted_exactly(n, width, spikes):
    edge, threshold, parallel = ranks_of(spiked(n, width, spikes, seed=spikes))
    assert threshold == parallel == spikes
    assert edge in (spikes, spikes + 1)


def test_a_weak_spike_is_seen_among_more_features_than_samples():
    edge, threshold, parallel = ranks_of(spiked(100, 500, 1, scale=4, seed=0))
    assert (edge, threshold, parallel) == (1, 1, 1)


def test_the_edge_is_crossed_by_white_noise_about_one_time_in_six():
    spectra = [Spectrum.of(moments(gaussian(150, 50, seed=seed))) for seed in range(120)]
    found = [marchenko_pastur_rank(spectrum) for spectrum in spectra]
    assert sum(found) / 120 == pytest.approx(1 / 6, abs=0.1)


def test_parallel_analysis_allows_for_unequal_variances():
    features_ND = gaussian(500, 20) * torch.linspace(1, 6, 20)
    assert parallel_analysis_rank(moments(features_ND)) == 0


def test_parallel_analysis_is_seldom_wrong_about_independent_features():
    found = [parallel_analysis_rank(moments(gaussian(100, 6, seed=s)), seed=s) for s in range(40)]
    assert sum(rank > 0 for rank in found) <= 6


def test_parallel_analysis_repeats_with_its_seed():
    held = moments(spiked(100, 10, 2, seed=0))
    assert parallel_analysis_rank(held, seed=7) == parallel_analysis_rank(held, seed=7)


def test_null_features_have_a_wishart_scatter():
    import numpy as np

    from tailcut.numerics.references import _wishart_factor

    random = np.random.default_rng(0)
    for freedom in (3, 9):
        factors = [_wishart_factor(4, freedom, random) for _ in range(4000)]
        drawn_QDD = torch.stack([factor @ factor.T for factor in factors])
        means_DD = freedom * torch.eye(4).double()
        variances_DD = freedom * (1 + torch.eye(4).double())
        torch.testing.assert_close(drawn_QDD.mean(0), means_DD, rtol=0.05, atol=0.2)
        torch.testing.assert_close(drawn_QDD.var(0), variances_DD, rtol=0.15, atol=0)


def test_the_hard_threshold_of_square_noise_is_2_858_medians():
    for above, rank in ((2.850, 0), (2.866, 1)):
        singular_D = torch.ones(101, dtype=torch.float64)
        singular_D[0] = above
        eye_DD = torch.eye(101, dtype=torch.float64)
        spectrum = Spectrum(singular_D.square(), eye_DD, torch.zeros(101), n=102)
        assert gavish_donoho_rank(spectrum) == rank


def test_dead_features_count_neither_as_noise_nor_as_directions():
    features_ND = torch.cat([spiked(300, 15, 2, seed=1), torch.zeros(300, 15).double()], 1)
    assert ranks_of(features_ND) == (2, 2, 2)


def test_constant_features_have_no_rank():
    assert ranks_of(torch.ones(20, 3)) == (0, 0, 0)


def test_prescribed_flat_spectra_have_no_rank():
    features_ND = features_with(torch.full((8,), 2.0, dtype=torch.float64), 200)
    assert ranks_of(features_ND) == (0, 0, 0)


@pytest.mark.parametrize("n", [0, 1])
def test_parallel_analysis_of_fewer_than_two_samples_is_refused(n):
    with pytest.raises(DataError) as error:
        parallel_analysis_rank(moments(gaussian(n, 3)))
    assert str(error.value) == (
        f"moments of {n} samples; wanted at least 2 samples. Check that the loader is not empty."
    )
