from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import (
    TwoPass,
    blobs,
    flipped,
    gaussian,
    joint_counts,
    labels_of,
    moments_of,
)
from tailcut.errors import DataError
from tailcut.numerics.moments import Moments

quick = settings(deadline=None, max_examples=40)


@st.composite
def labelled_batches(draw):
    """Features, two label sets, and cuts into batches of which some are empty."""
    n, width, classes = draw(st.integers(2, 30)), draw(st.integers(1, 5)), draw(st.integers(2, 4))
    seed, offset = draw(st.integers(0, 10_000)), draw(st.sampled_from([0.0, 1.0, 1e6]))
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=6)))
    edges = [0, *cuts, n]
    sizes = [stop - start for start, stop in pairwise(edges)]
    true_N = labels_of(n, classes, seed)
    given_N = flipped(true_N, classes, 0.4, seed)
    return gaussian(n, width, seed=seed) + offset, true_N, given_N, classes, sizes


def split(batches):
    features_ND, true_N, given_N, _, sizes = batches
    return list(
        zip(features_ND.split(sizes), true_N.split(sizes), given_N.split(sizes), strict=True)
    )


def each_alone(batches):
    features_ND, _, _, classes, _ = batches
    return [
        Moments(features_ND.shape[1], classes, ("clean", "given")).update(x, clean=t, given=g)
        for x, t, g in split(batches)
    ]


def assert_two_pass(moments, batches):
    features_ND, true_N, given_N, classes, _ = batches
    assert moments.n == len(features_ND)
    rounding = 1e-13 * (1 + float(features_ND.abs().max())) * len(features_ND)
    for name, labels_N in (("clean", true_N), ("given", given_N)):
        exact = TwoPass.of(features_ND, labels_N, classes)
        np.testing.assert_allclose(moments.mean_D, exact.mean_D, rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(moments.scatter_DD, exact.scatter_DD, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(moments.counts[name], exact.counts_K)
        np.testing.assert_allclose(
            moments.deviations[name], exact.deviations_KD, rtol=0, atol=rounding
        )
    assert torch.equal(moments.joint["given"], joint_counts(true_N, given_N, classes))
    assert "clean" not in moments.joint


@quick
@given(labelled_batches())
def test_any_partition_into_batches_gives_the_two_pass_moments(batches):
    features_ND, _, _, classes, sizes = batches
    moments = Moments(features_ND.shape[1], classes, ("clean", "given"))
    for x_ND, true_N, given_N in split(batches):
        moments.update(x_ND, clean=true_N, given=given_N)
    assert moments.batches == len(sizes)
    assert_two_pass(moments, batches)


@quick
@given(labelled_batches(), st.data())
def test_any_order_and_tree_of_merges_gives_the_two_pass_moments(batches, data):
    parts = data.draw(st.permutations(each_alone(batches)))
    while len(parts) > 1:
        left, right = parts.pop(), parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.insert(data.draw(st.integers(0, len(parts))), left.merge(right))
    assert_two_pass(parts[0], batches)
    assert parts[0].batches == len(batches[-1])


@quick
@given(labelled_batches())
def test_merged_leaves_the_parts_as_they_are(batches):
    parts = each_alone(batches)
    sizes = [part.n for part in parts]
    means = [part.mean_D.clone() for part in parts]
    assert_two_pass(Moments.merged(parts), batches)
    assert [part.n for part in parts] == sizes
    assert all(torch.equal(part.mean_D, mean) for part, mean in zip(parts, means, strict=True))


@quick
@given(labelled_batches(), st.data())
def test_moments_along_directions_are_those_of_the_projected_features(batches, data):
    features_ND, true_N, given_N, classes, _ = batches
    width = features_ND.shape[1]
    rank = data.draw(st.integers(1, width))
    basis_DR = torch.linalg.qr(gaussian(width, width, seed=rank).double())[0][:, :rank]
    origin_D = features_ND.double().mean(0)
    along = Moments.merged([part.along(basis_DR, origin_D) for part in each_alone(batches)])
    projected_NR = (features_ND.double() - origin_D) @ basis_DR
    slow = Moments(rank, classes, ("clean", "given"))
    slow.update(projected_NR, clean=true_N, given=given_N)
    rounding = 1e-13 * (1 + float(features_ND.abs().max())) * len(features_ND)
    assert along.n == slow.n
    torch.testing.assert_close(along.mean_D, slow.mean_D, rtol=0, atol=rounding)
    torch.testing.assert_close(along.scatter_DD, slow.scatter_DD, rtol=1e-9, atol=1e-9 + rounding)
    for name in ("clean", "given"):
        assert torch.equal(along.counts[name], slow.counts[name])
        torch.testing.assert_close(
            along.deviations[name], slow.deviations[name], rtol=0, atol=rounding
        )
    assert torch.equal(along.joint["given"], slow.joint["given"])


def test_moments_without_samples_stay_empty_and_change_nothing():
    moments = moments_of(gaussian(5, 3), 2, given=labels_of(5, 2))
    before = moments.scatter_DD.clone()
    empty = Moments(3, 2).update(torch.empty(0, 3), given=torch.empty(0, dtype=torch.int64))
    assert (empty.n, empty.batches) == (0, 1)
    assert torch.equal(moments.merge(empty).scatter_DD, before)
    assert moments.n == 5


def test_a_mean_a_million_times_the_spread_costs_no_accuracy():
    labels_N = labels_of(600, 3)
    far_ND = blobs(labels_N, 6) + 1e6
    near_ND = far_ND - 1e6
    far, near = Moments(6, 3), Moments(6, 3)
    for rows in torch.arange(600).split(7):
        far.update(far_ND[rows], given=labels_N[rows])
        near.update(near_ND[rows], given=labels_N[rows])
    torch.testing.assert_close(far.scatter_DD, near.scatter_DD, rtol=1e-9, atol=0)
    torch.testing.assert_close(far.within_DD(), near.within_DD(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(far.deviations["given"], near.deviations["given"], rtol=0, atol=1e-6)
    naive_DD = far_ND.T @ far_ND - 600 * torch.outer(far_ND.mean(0), far_ND.mean(0))
    assert (naive_DD - near.scatter_DD).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_features_are_accumulated_in_float64(dtype):
    labels_N = labels_of(50, 2)
    features_ND = gaussian(50, 4).to(dtype)
    low = moments_of(features_ND, 2, given=labels_N)
    high = moments_of(features_ND.double(), 2, given=labels_N)
    assert low.scatter_DD.dtype == torch.float64
    assert torch.equal(low.scatter_DD, high.scatter_DD)


def test_numpy_features_and_lists_of_labels_are_taken():
    features_ND = gaussian(6, 2)
    taken = Moments(2, 2).update(features_ND.numpy(), given=[0, 1, 0, 1, 1, 1])
    assert taken.counts["given"].tolist() == [2, 4]
    torch.testing.assert_close(taken.mean_D, features_ND.mean(0))


def test_features_with_a_gradient_leave_no_graph_behind():
    moments = moments_of(gaussian(6, 2).requires_grad_(), 2, given=labels_of(6, 2))
    assert not moments.scatter_DD.requires_grad
    assert not moments.mean_D.requires_grad


def test_class_means_and_within_scatter_match_the_two_pass_ones():
    labels_N = labels_of(40, 3)
    features_ND = blobs(labels_N, 5)
    moments, exact = (
        moments_of(features_ND, 3, given=labels_N),
        TwoPass.of(features_ND, labels_N, 3),
    )
    np.testing.assert_allclose(moments.means_KD(), exact.means_KD, rtol=1e-12)
    np.testing.assert_allclose(moments.within_DD(), exact.within_DD, rtol=1e-10, atol=1e-10)
    assert repr(moments) == "Moments(n=40, width=5, classes=3, label_sets=('given',))"


GOOD = {"clean": torch.tensor([0, 1]), "given": torch.tensor([1, 1])}
FEATURES = torch.ones(2, 3)
BAD_UPDATES = {
    "nan": (FEATURES * torch.nan, GOOD),
    "width": (torch.ones(2, 4), GOOD),
    "integers": (FEATURES.long(), GOOD),
    "missing set": (FEATURES, {"given": GOOD["given"]}),
    "unknown set": (FEATURES, {**GOOD, "other": GOOD["given"]}),
    "last set": (FEATURES, {**GOOD, "given": torch.tensor([1, 2])}),
    "lengths": (FEATURES, {**GOOD, "given": torch.tensor([1])}),
    "floats": (FEATURES, {**GOOD, "given": torch.tensor([1.0, 0.0])}),
}


@pytest.mark.parametrize("bad", BAD_UPDATES.values(), ids=BAD_UPDATES)
def test_an_update_that_raises_leaves_the_moments_as_before(bad):
    moments = Moments(3, 2, ("clean", "given")).update(torch.eye(3)[:2], **GOOD)
    held = (moments.mean_D, moments.scatter_DD, *moments.counts.values(), moments.joint["given"])
    before = [tensor.clone() for tensor in held]
    with pytest.raises(DataError):
        moments.update(bad[0], **bad[1])
    assert (moments.n, moments.batches) == (2, 1)
    assert all(torch.equal(now, then) for now, then in zip(held, before, strict=True))


def test_an_update_names_the_label_sets_it_wants():
    with pytest.raises(DataError) as error:
        Moments(3, 2, ("clean", "given")).update(FEATURES, given=GOOD["given"])
    assert str(error.value) == (
        "batch 0 brings the label sets ['given']; wanted exactly ['clean', 'given']. "
        "Pass one vector of labels for each name given to Moments."
    )


def test_moments_of_other_features_are_not_merged():
    with pytest.raises(DataError) as error:
        Moments(3, 2).merge(Moments(4, 2, ("clean", "given")))
    assert str(error.value) == (
        "moments of (width, classes, label sets) (4, 2, ('clean', 'given')); "
        "wanted the same as the receiving moments, (3, 2, ('given',)). "
        "Merge only moments of the same features and label sets."
    )


@pytest.mark.parametrize("method", ["means_KD", "within_DD", "require_classes"])
def test_an_unknown_label_set_is_named(method):
    moments = moments_of(FEATURES, 2, given=GOOD["clean"])
    with pytest.raises(DataError) as error:
        getattr(moments, method)("clean")
    assert str(error.value) == (
        "label set 'clean' is not among ['given']; wanted a label set that these moments hold. "
        "Name it in Moments(..., label_sets=...)."
    )


def test_fewer_samples_than_classes_are_refused():
    moments = moments_of(FEATURES, 3, given=GOOD["clean"])
    with pytest.raises(DataError) as error:
        moments.means_KD()
    assert str(error.value) == (
        "2 samples for 3 classes; wanted at least one sample of each class. Bring more samples."
    )


def test_missing_classes_are_listed():
    moments = moments_of(gaussian(9, 2), 4, given=torch.tensor([0, 2] * 4 + [0]))
    with pytest.raises(DataError) as error:
        moments.within_DD()
    assert str(error.value) == (
        "label set 'given' has no sample of class 1, 3 among 9 samples; "
        "wanted at least one sample of each of the 4 classes. "
        'Bring the missing classes, or use readout="project", which needs no labels.'
    )


def test_one_class_alone_lists_eight_of_those_missing():
    moments = moments_of(gaussian(12, 2), 12, given=torch.zeros(12, dtype=torch.int64))
    with pytest.raises(DataError) as error:
        moments.within_DD()
    assert str(error.value) == (
        "label set 'given' has no sample of class 1, 2, 3, 4, 5, 6, 7, 8 and 3 more "
        "among 12 samples; wanted at least one sample of each of the 12 classes. "
        'Bring the missing classes, or use readout="project", which needs no labels.'
    )
