from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import Refit, blobs, flipped, labels_of, moments_of, principal_basis
from tailcut.errors import DataError
from tailcut.numerics import readout as readouts
from tailcut.numerics.curve import geometric_ranks, rank_curve
from tailcut.numerics.readout import Readout

LABELS = labels_of(90, 3)
FEATURES = blobs(LABELS, 6, apart=0.7)
FRESH_LABELS = labels_of(80, 3, seed=1)
FRESH = blobs(FRESH_LABELS, 6, apart=0.7, seed=1)
NOISY = flipped(FRESH_LABELS, 3, 0.4)
READOUT = Readout.lda(moments_of(FEATURES, 3, given=LABELS), shrinkage=0.1)


def batches(size=80, **extra):
    parts = zip(FRESH.split(size), NOISY.split(size), FRESH_LABELS.split(size), strict=True)
    return [(x, {"given": y, "clean": z, **extra}) for x, y, z in parts]


def message_of(*args):
    with pytest.raises(DataError) as error:
        rank_curve(*args)
    return str(error.value)


@pytest.mark.parametrize("size", [1, 33, 80])
@pytest.mark.parametrize("chunk", [1, 50, 2**19])
def test_the_curve_is_the_accuracy_of_a_refit_at_every_rank(monkeypatch, size, chunk):
    monkeypatch.setattr(readouts, "_CHUNK", chunk)
    curve = rank_curve(READOUT, batches(size))
    assert (curve.readout, curve.ranks) == ("lda", [1, 2, 3, 4, 5, 6])
    assert curve.n == {"given": 80, "clean": 80}
    for rank in curve.ranks:
        refit = Refit(FEATURES, LABELS, principal_basis(FEATURES, rank))
        predicted_N = refit.lda(FRESH, shrinkage=0.1).argmax(1)
        for name, labels_N in (("given", NOISY), ("clean", FRESH_LABELS)):
            assert curve.at(rank, name) == float((predicted_N == labels_N).double().mean())


def test_chosen_ranks_are_points_of_the_whole_curve():
    whole, some = rank_curve(READOUT, batches()), rank_curve(READOUT, batches(), [5, 2, 2])
    assert some.ranks == [2, 5]
    assert some.hits["clean"].tolist() == [int(whole.hits["clean"][rank - 1]) for rank in (2, 5)]


def test_the_best_rank_is_the_smallest_of_highest_accuracy():
    curve = rank_curve(READOUT, batches())
    accuracy = curve.accuracy("clean").tolist()
    assert curve.best("clean") == 1 + accuracy.index(max(accuracy))


def test_label_sets_of_other_samples_join_a_curve():
    given_only = rank_curve(READOUT, [(FRESH, {"given": NOISY})])
    clean_only = rank_curve(READOUT, [(FRESH[:30], {"clean": FRESH_LABELS[:30]})])
    both = given_only.with_labels(clean_only)
    assert both.n == {"given": 80, "clean": 30}
    assert torch.equal(both.accuracy("clean"), clean_only.accuracy("clean"))


def test_empty_batches_add_nothing():
    empty = (FRESH[:0], {"given": NOISY[:0], "clean": NOISY[:0]})
    plain, padded = (rank_curve(READOUT, b) for b in (batches(), [empty, *batches(), empty]))
    assert plain.n == padded.n
    assert torch.equal(plain.hits["given"], padded.hits["given"])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5000), st.integers(1, 8))
def test_geometric_ranks_climb_to_the_last_in_equal_ratios(max_rank, per_octave):
    ranks = geometric_ranks(max_rank, per_octave)
    assert ranks == sorted(set(ranks))
    assert (ranks[0], ranks[-1]) == (1, max_rank)
    assert len(ranks) <= per_octave * max_rank.bit_length() + 1
    longest = 2 ** (1 / per_octave)
    assert all(b <= a * longest + 1 for a, b in pairwise(ranks))


def test_geometric_ranks_are_dense_where_they_are_small():
    assert geometric_ranks(20) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 16, 19, 20]
    assert geometric_ranks(1) == [1]


@pytest.mark.parametrize("nothing", [[], iter(()), [(FRESH[:0], {"given": NOISY[:0]})]])
def test_a_curve_of_no_samples_is_refused(nothing):
    assert message_of(READOUT, nothing) == (
        "no samples; wanted at least one batch of features. "
        "Check that the batches are not an iterator already used up."
    )


@pytest.mark.parametrize("size", [0, 40])
def test_label_sets_that_change_are_refused(size):
    first = (FRESH[:size], {"given": NOISY[:size]})
    assert message_of(READOUT, [first, *batches()]) == (
        "batch 1 brings the label sets ['clean', 'given']; "
        "wanted the same as before, ['given']. Yield the same label sets with every batch."
    )


def test_a_curve_names_the_batch_that_is_not_finite():
    broken_ND = FRESH.clone()
    broken_ND[3] = torch.nan
    assert message_of(READOUT, [*batches(), (broken_ND, {})]) == (
        "batch 1 has NaN or infinite features in 1 of 80 samples; wanted finite features. "
        "Look for broken inputs in that batch, or for an overflow in half precision."
    )


def test_a_curve_refuses_labels_outside_the_classes():
    assert message_of(READOUT, [(FRESH, {"given": NOISY + 1})]) == (
        "batch 0, label set 'given' has the label 3; wanted integers 0..2. "
        "Use the class indices that the network was trained on; drop unlabelled samples."
    )


@pytest.mark.parametrize("count", [1, 79])
def test_a_curve_refuses_another_number_of_labels(count):
    assert message_of(READOUT, [(FRESH, {"given": NOISY[:count]})]) == (
        f"batch 0, label set 'given' has {count} labels for 80 samples; "
        "wanted one label for each sample. Check what the loader yields."
    )


def test_a_curve_refuses_features_of_another_width():
    assert message_of(READOUT, [(FRESH[:, :4], {"given": NOISY})]) == (
        "batch 0 has features of shape (80, 4); wanted (samples, 6). "
        "Flatten each sample to one feature vector."
    )


def test_a_curve_refuses_ranks_beyond_the_readout():
    assert message_of(READOUT, batches(), [3, 7]) == (
        "rank 7; wanted 1..6, the directions in which the features vary. "
        "Choose a rank in that range; more samples than features give all of them."
    )
