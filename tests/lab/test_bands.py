"""Probes in bands of directions against explicit refits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import banded_ridge_without, blobs, labels_of, moments_of
from tailcut.errors import DataError
from tailcut.lab.claims.bands import BandProbe
from tailcut.numerics.readout import Readout


def example(seed, n=40, width=6, classes=3):
    labels_N = labels_of(n, classes, seed)
    return blobs(labels_N, width, apart=1.0, seed=seed), labels_N


@settings(max_examples=25)
@given(st.integers(0, 99), st.integers(0, 4), st.integers(1, 6), st.floats(1e-6, 1.0))
def test_leaving_a_sample_out_is_a_refit_without_it(seed, start, length, penalty):
    features_ND, labels_N = example(seed)
    band = (start, min(6, start + length))
    probe = BandProbe.of(moments_of(features_ND, 3, given=labels_N), penalty=penalty)
    logits_NBK = probe._logits(features_ND, [band], labels_N)
    for row in (0, 17):
        expected_K = banded_ridge_without(features_ND, labels_N, row, band, penalty)
        torch.testing.assert_close(logits_NBK[row, 0], expected_K, atol=1e-8, rtol=1e-6)


def test_leading_bands_are_the_prefixes_of_ridge():
    features_ND, labels_N = example(3)
    moments = moments_of(features_ND, 3, given=labels_N)
    expected_NR = Readout.ridge(moments).predictions(features_ND)
    bands = [(0, rank) for rank in range(1, 7)]
    assert torch.equal(BandProbe.of(moments).predictions(features_ND, bands), expected_NR)


def test_random_labels_are_not_predicted_when_left_out():
    """The control: in sample a probe repeats labels that have nothing to do with the features."""
    generator = torch.Generator().manual_seed(0)
    features_ND = torch.randn(200, 120, generator=generator)
    labels_N = labels_of(200, 4, 1)
    probe = BandProbe.of(moments_of(features_ND, 4, given=labels_N))
    inside_N = probe.predictions(features_ND, [(0, 120)])[:, 0]
    outside_N = probe.predictions(features_ND, [(0, 120)], labels_N)[:, 0]
    assert (inside_N == labels_N).double().mean() > 0.9
    assert (outside_N == labels_N).double().mean() < 0.4


@pytest.mark.parametrize("band", [(2, 2), (0, 7), (-1, 3)])
def test_a_band_outside_the_directions_is_refused(band):
    features_ND, labels_N = example(0)
    probe = BandProbe.of(moments_of(features_ND, 3, given=labels_N))
    with pytest.raises(DataError) as error:
        probe.predictions(features_ND, [band])
    assert str(error.value) == (
        f"the band of directions {band[0] + 1}..{band[1]}; wanted at least one of 1..6. "
        "Choose 0 <= start < stop <= max_rank."
    )
