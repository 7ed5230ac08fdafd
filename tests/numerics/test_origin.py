"""Readouts for heads without bias: nearest to those with one, exact at every rank."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import blobs, centred, gaussian, labels_of, moments_of, without_bias
from tailcut.numerics.covariance import oas_shrinkage
from tailcut.numerics.moments import Moments
from tailcut.numerics.origin import through_origin
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum

FITS = {"lda": Readout.lda, "ridge": Readout.ridge, "centroid": Readout.centroid}


def made(name: str, moments: Moments) -> tuple[Readout, Readout]:
    """With and without a bias, in uncentred directions."""
    fitted = FITS[name](moments, spectrum=Spectrum.of(moments, centred=False))
    return fitted, through_origin(fitted, moments)


def accuracy(readout: Readout, features_ND, labels_N, rank: int) -> float:
    return float((readout.logits(features_ND, rank).argmax(1) == labels_N).double().mean())


@pytest.mark.parametrize("name", FITS)
@given(seed=st.integers(0, 100), width=st.integers(2, 8), rank=st.integers(1, 8))
def test_every_rank_is_the_least_squares_fit_in_its_directions(name, seed, width, rank):
    labels_N = labels_of(200, 3, seed)
    features_ND = blobs(labels_N, width, apart=1, seed=seed)
    moments = moments_of(features_ND, 3, given=labels_N)
    fitted, through = made(name, moments)
    rank = min(rank, through.max_rank)
    second_DD = features_ND.T @ features_ND / 200
    basis_DR = Spectrum.of(moments, centred=False).directions()[:, :rank]
    explicit_KD = without_bias(
        features_ND,
        fitted.logits(features_ND, rank),
        basis_DR,
        fitted.fold(rank)[0],
        oas_shrinkage(second_DD, 200),
    )
    weight_KD, bias_K = through.fold(rank)
    assert not bias_K.any()
    torch.testing.assert_close(weight_KD, explicit_KD, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", FITS)
def test_fold_logits_and_prefix_sums_are_the_same_function(name):
    labels_N = labels_of(90, 4)
    features_ND = blobs(labels_N, 6)
    readout = made(name, moments_of(features_ND, 4, given=labels_N))[1].scaled(0.3)
    (all_NRK,), (some_NRK,) = (
        readout.prefix_logits(features_ND),
        readout.prefix_logits(features_ND, [2, 5]),
    )
    torch.testing.assert_close(some_NRK, all_NRK[:, [1, 4]])
    for rank in readout.ranks():
        weight_KD, _ = readout.fold(rank)
        torch.testing.assert_close(features_ND @ weight_KD.T, all_NRK[:, rank - 1])
        torch.testing.assert_close(readout.logits(features_ND, rank), all_NRK[:, rank - 1])
    assert torch.equal(readout.predictions(features_ND), all_NRK.argmax(2))


@pytest.mark.parametrize("name", FITS)
def test_where_a_combination_of_the_features_is_constant_nothing_is_lost(name):
    labels_N = labels_of(5000, 3)
    features_ND = gaussian(5000, 5) + gaussian(3, 5, seed=1)[labels_N]
    features_ND = torch.cat([features_ND, 4 - features_ND.sum(1, keepdim=True)], 1)
    fitted, through = made(name, moments_of(features_ND, 3, given=labels_N))
    logits_NK, told_NK = (each.logits(features_ND, 6) for each in (through, fitted))
    torch.testing.assert_close(centred(logits_NK), centred(told_NK), rtol=0.01, atol=0.1)


def test_classes_that_only_a_bias_tells_apart_are_beyond_it():
    """The control: features without a mean, one class around the origin between two others."""
    labels_N = labels_of(3000, 3)
    features_ND = 0.3 * gaussian(3000, 4)
    features_ND[:, 0] += 3 * (labels_N - 1)
    fitted, through = made("lda", moments_of(features_ND, 3, given=labels_N))
    assert accuracy(fitted, features_ND, labels_N, 4) > 0.99
    assert accuracy(through, features_ND, labels_N, 4) < 0.75


def test_positive_features_say_enough_of_the_constant():
    labels_N = labels_of(3000, 5)
    hidden_ND = gaussian(3000, 6) + 3 * gaussian(5, 6, seed=1)[labels_N]
    features_ND = (hidden_ND @ gaussian(6, 60, seed=2) + gaussian(60, seed=3)).relu()
    moments = moments_of(features_ND, 5, given=labels_N)
    fitted, through = made("lda", moments)
    rank = through.max_rank
    best = accuracy(fitted, features_ND, labels_N, rank)
    assert accuracy(through, features_ND, labels_N, rank) > best - 0.01
    bare = (features_ND @ fitted.fold(rank)[0].T).argmax(1) == labels_N
    assert float(bare.double().mean()) < best - 0.05
