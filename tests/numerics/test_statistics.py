"""What is read or derived from moments that grow stays as it was, bit for bit."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import flipped, gaussian, labels_of
from tailcut.errors import DataError
from tailcut.numerics.crossfit import FoldMoments
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics

CLASSES, WIDTH = 3, 4
HELD = ("mean_D", "rest_D", "scatter_DD", "counts", "deviations", "joint")

DERIVED = {
    "frozen": lambda moments: moments.frozen(),
    "only": lambda moments: moments.only("given"),
    "labelled": lambda moments: moments.labelled("soft", torch.ones(3) / 3, torch.ones(3, WIDTH)),
    "along": lambda moments: moments.along(torch.eye(WIDTH).double(), torch.ones(WIDTH).double()),
    "along a few": lambda moments: moments.along(
        torch.eye(WIDTH)[:, :2].double(), torch.zeros(WIDTH).double()
    ),
    "labelled, of one set": lambda moments: DERIVED["labelled"](moments).only("soft"),
}


def held(statistics):
    """Every tensor by name, as it is now."""
    read = {name: getattr(statistics, name) for name in HELD}
    return {name: copy.deepcopy(each) for name, each in read.items()} | {"n": statistics.n}


def assert_same_bits(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def batches_of(sizes, seed, offset=0.0):
    n = sum(sizes)
    true_N = labels_of(n, CLASSES, seed) if n else torch.zeros(0).long()
    given_N = flipped(true_N, CLASSES, 0.4, seed) if n else true_N
    parts = zip(
        (gaussian(n, WIDTH, seed=seed) + offset).split(sizes),
        true_N.split(sizes),
        given_N.split(sizes),
        strict=True,
    )
    return [(x_ND, {"clean": t_N, "given": g_N}) for x_ND, t_N, g_N in parts]


def filled(batches):
    moments = Moments(WIDTH, CLASSES, ("clean", "given"))
    for features_ND, labels in batches:
        moments.update(features_ND, **labels)
    return moments


sizes = st.lists(st.integers(0, 9), min_size=1, max_size=4)
some = settings(deadline=None, max_examples=25)


@pytest.mark.parametrize("name", DERIVED)
@some
@given(
    before=sizes, after=sizes, seed=st.integers(0, 1000), offset=st.sampled_from([0.0, 1.0, 1e6])
)
def test_an_update_leaves_what_was_derived_before_as_it_was(name, before, after, seed, offset):
    batches = batches_of([*before, *after], seed, offset)
    early, late = batches[: len(before)], batches[len(before) :]
    moments = filled(early)
    derived = DERIVED[name](moments)
    was = held(derived)
    for features_ND, labels in late:
        moments.update(features_ND, **labels)
    assert_same_bits(held(derived), was)
    assert_same_bits(held(derived), held(DERIVED[name](filled(early))))
    assert_same_bits(held(moments), held(filled(batches)))
    again = DERIVED[name](moments)
    was = held(again)
    moments.merge(filled(early))
    assert_same_bits(held(again), was)
    assert_same_bits(held(moments), held(filled(batches).merge(filled(early))))


@some
@given(before=sizes, after=sizes, seed=st.integers(0, 1000))
def test_a_tensor_that_was_read_stays_as_it_was(before, after, seed):
    batches = batches_of([*before, *after], seed)
    moments = filled(batches[: len(before)])
    read = {name: getattr(moments, name) for name in HELD}
    was = copy.deepcopy(read)
    for features_ND, labels in batches[len(before) :]:
        moments.update(features_ND, **labels)
    assert_same_bits(read, was)
    assert_same_bits(held(moments), held(filled(batches)))


@some
@given(before=sizes, after=sizes, seed=st.integers(0, 1000))
def test_merged_moments_and_their_parts_go_separate_ways(before, after, seed):
    parts = [filled(batches_of(each, seed + i)) for i, each in enumerate((before, after))]
    was = [held(part) for part in parts]
    whole = Moments.merged(parts)
    merged = held(whole)
    for features_ND, labels in batches_of([5, 3], seed):
        whole.update(features_ND, **labels)
    assert_same_bits([held(part) for part in parts], was)
    whole = Moments.merged(parts)
    for part in parts:
        part.update(gaussian(2, WIDTH), clean=[0, 1], given=[1, 1])
    assert_same_bits(held(whole), merged)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_a_copy_and_its_source_go_separate_ways(copied):
    batches = batches_of([6, 5, 4], 0)
    moments = filled(batches[:1])
    twin = copied(moments)
    twin.update(batches[1][0], **batches[1][1])
    moments.update(batches[2][0], **batches[2][1])
    assert_same_bits(held(twin), held(filled(batches[:2])))
    assert_same_bits(held(moments), held(filled([batches[0], batches[2]])))


def test_moments_may_be_merged_into_themselves():
    batches = batches_of([6], 0)
    moments = filled(batches)
    assert_same_bits(held(moments.merge(moments)), held(filled(batches).merge(filled(batches))))


def test_updates_that_nobody_reads_between_add_in_place():
    moments = filled(batches_of([5], 0))
    place = moments._sums.scatter_DD.data_ptr()
    for features_ND, labels in batches_of([5, 4], 1):
        moments.update(features_ND, **labels)
        assert (moments.n, moments.width, moments.classes) == (moments.n, WIDTH, CLASSES)
        assert moments.mean_D.shape == (WIDTH,)
        moments.means_KD(), moments.within_DD()
    assert moments._sums.scatter_DD.data_ptr() == place
    assert moments.scatter_DD.data_ptr() == place
    moments.update(gaussian(2, WIDTH), clean=[0, 1], given=[1, 1])
    assert moments._sums.scatter_DD.data_ptr() != place


@pytest.mark.parametrize("name", DERIVED)
def test_what_is_derived_cannot_grow(name):
    derived = DERIVED[name](filled(batches_of([6], 0)))
    assert type(derived) is Statistics
    assert not hasattr(derived, "update")
    assert not hasattr(derived, "merge")
    with pytest.raises(AttributeError):
        derived.n = 3
    with pytest.raises(AttributeError):
        derived.scatter_DD = torch.zeros(WIDTH, WIDTH)


@some
@given(sizes=st.lists(st.integers(12, 20), min_size=1, max_size=3), seed=st.integers(0, 1000))
def test_an_accumulator_is_taken_wherever_statistics_are(sizes, seed):
    moments = filled(batches_of(sizes, seed))
    if not all((counts_K > 0).all() for counts_K in moments.counts.values()):
        return
    frozen = moments.frozen()
    assert_same_bits(Spectrum.of(moments).eigenvalues_D, Spectrum.of(frozen).eigenvalues_D)
    for fit in (Readout.ridge, Readout.centroid, Readout.lda):
        assert_same_bits(fit(moments).fold(1), fit(frozen).fold(1))


def test_soft_labels_do_not_follow_what_they_were_made_of():
    counts_K, sums_KD = torch.ones(3).double(), torch.ones(3, WIDTH).double()
    soft = filled(batches_of([6], 0)).labelled("soft", counts_K, sums_KD)
    was = held(soft)
    counts_K += 1
    sums_KD += 1
    soft.require_classes("soft").add_(1)
    assert_same_bits(held(soft), was)


def test_statistics_of_soft_labels_are_not_merged():
    soft = DERIVED["labelled"](filled(batches_of([6], 0)))
    with pytest.raises(DataError) as error:
        Moments(WIDTH, CLASSES, ("clean", "given", "soft")).merge(soft)
    assert str(error.value) == (
        "moments with the soft label sets ['soft']; wanted one class for each sample, as "
        "`update` takes them. Merge first, then add the soft labels by `labelled`."
    )


def folds_of(features_VND, given_N, edges, moments=None):
    moments = moments or FoldMoments(WIDTH, CLASSES, 3)
    for rows in torch.arange(len(given_N))[slice(*edges)].split(7):
        moments.update(features_VND[:, rows], given_N[rows], rows)
    return moments


def told_by(folds):
    soft_NK = torch.nn.functional.one_hot(folds.given_N, CLASSES).double()
    whole = folds.whole()
    along = folds.along(Spectrum.of(whole), 2)
    return whole, folds.relabelled(whole, soft_NK), along


def held_by(whole, relabelled, along):
    others = [held(each) for each in along.others]
    return [held(whole), held(relabelled), *others, along.means_NR, along.given_N, along.fold_N]


@some
@given(first=st.integers(12, 30), seed=st.integers(0, 1000))
def test_updates_of_folds_leave_what_was_derived_before_as_it_was(first, seed):
    features_VND, given_N = gaussian(2, 40, WIDTH, seed=seed), labels_of(40, CLASSES, seed)
    folds = folds_of(features_VND, given_N, (0, first))
    told = told_by(folds)
    was = copy.deepcopy(held_by(*told))
    folds_of(features_VND, given_N, (first, None), folds)
    assert_same_bits(held_by(*told), was)
    assert_same_bits(was, held_by(*told_by(folds_of(features_VND, given_N, (0, first)))))
    alone = folds_of(features_VND, given_N, (0, first))
    folds_of(features_VND, given_N, (first, None), alone)
    assert_same_bits(held_by(*told_by(folds)), held_by(*told_by(alone)))


def test_folds_keep_labels_and_numbers_that_the_caller_writes_over():
    features_VND, given_N, numbers_N = gaussian(1, 9, WIDTH), labels_of(9, CLASSES), torch.arange(9)
    folds = FoldMoments(WIDTH, CLASSES, 3).update(features_VND, given_N, numbers_N)
    was = folds.given_N, folds.numbers_N
    for reused in (features_VND, given_N, numbers_N):
        reused.zero_()
    assert_same_bits((folds.given_N, folds.numbers_N), was)
    folds.given_N.zero_()
    assert_same_bits(folds.given_N, was[0])
