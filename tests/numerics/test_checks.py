from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tailcut.errors import DataError
from tailcut.numerics.checks import checked_labels
from tailcut.numerics.moments import Moments

LABELS = torch.tensor([0, 1])


def message_of(features_ND, labels_N):
    """What the third batch (number 2) of a stream is told."""
    moments = Moments(3, 4)
    moments.update(torch.ones(2, 3), given=LABELS).update(torch.ones(2, 3), given=LABELS)
    with pytest.raises(DataError) as error:
        moments.update(features_ND, given=labels_N)
    return str(error.value)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_features_that_are_not_finite_name_their_batch(value, dtype):
    features_ND = torch.ones(2, 3, dtype=dtype)
    features_ND[1, :2] = value
    assert message_of(features_ND, LABELS) == (
        "batch 2 has NaN or infinite features in 1 of 2 samples; wanted finite features. "
        "Look for broken inputs in that batch, or for an overflow in half precision."
    )


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 1), (3,), ()])
def test_features_of_another_shape_are_refused(shape):
    assert message_of(torch.ones(shape), LABELS) == (
        f"batch 2 has features of shape {shape}; wanted (samples, 3). "
        "Flatten each sample to one feature vector."
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_features_of_another_type_are_refused(dtype):
    assert message_of(torch.ones(2, 3).to(dtype), LABELS) == (
        f"batch 2 has features of type {dtype}; wanted a floating type. "
        "Convert the features with .float()."
    )


@pytest.mark.parametrize("label", [-1, 4, -100])
def test_labels_outside_the_classes_are_refused(label):
    assert message_of(torch.ones(2, 3), torch.tensor([0, label])) == (
        f"batch 2, label set 'given' has the label {label}; wanted integers 0..3. "
        "Use the class indices that the network was trained on; drop unlabelled samples."
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool, torch.complex64])
def test_labels_that_are_not_integers_are_refused(dtype):
    assert message_of(torch.ones(2, 3), LABELS.to(dtype)) == (
        f"batch 2, label set 'given' has labels of type {dtype}; wanted integer labels 0..K-1. "
        "Convert class indices with .long(); take the argmax of one-hot or soft labels."
    )


STRINGS = ["cat", "dog"]


@pytest.mark.parametrize(
    "labels", [STRINGS, np.array(STRINGS), pd.Series(STRINGS), [1, "cat"], "cat"], ids=str
)
def test_string_labels_are_refused(labels):
    assert message_of(torch.ones(2, 3), labels) == (
        "batch 2, label set 'given' has labels that are not numbers, such as 'cat'; "
        "wanted integer labels 0..K-1. "
        "Map the class names to the integers that the network was trained on."
    )


def test_labels_that_are_missing_altogether_are_refused():
    assert message_of(torch.ones(2, 3), None) == (
        "batch 2, label set 'given' has labels that are not numbers, such as None; "
        "wanted integer labels 0..K-1. "
        "Map the class names to the integers that the network was trained on."
    )


def test_one_hot_labels_are_refused():
    assert message_of(torch.ones(2, 3), torch.eye(4, dtype=torch.int64)[:2]) == (
        "batch 2, label set 'given' has labels of shape (2, 4); "
        "wanted one integer for each sample, shape (samples,). "
        "Flatten the labels, or take the argmax of one-hot rows."
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_labels_than_of_features_is_refused(count):
    assert message_of(torch.ones(2, 3), [0] * count) == (
        f"batch 2, label set 'given' has {count} labels for 2 samples; "
        "wanted one label for each sample. Check what the loader yields."
    )


def test_without_known_classes_only_negative_labels_are_refused():
    assert checked_labels([7, 10**6], None, "clean").tolist() == [7, 10**6]
    with pytest.raises(DataError) as error:
        checked_labels([3, -1], None, "clean")
    assert str(error.value) == (
        "clean has the label -1; wanted integers 0..K-1. "
        "Use the class indices that the network was trained on; drop unlabelled samples."
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_small_integer_labels_become_int64(dtype):
    assert checked_labels(LABELS.to(dtype), 2, "batch 0").dtype == torch.int64


@pytest.mark.parametrize("dtype", ["int64", "Int64"])
def test_a_filtered_pandas_column_is_taken(dtype):
    column = pd.Series([1, 0, 1], index=[7, 8, 3], dtype=dtype)
    assert checked_labels(column, 2, "batch 0").tolist() == [1, 0, 1]


def test_read_only_numpy_memory_is_taken():
    features_ND, labels_N = np.ones((2, 3)), np.array([0, 1])
    features_ND.setflags(write=False)
    labels_N.setflags(write=False)
    assert Moments(3, 2).update(features_ND, given=labels_N).n == 2
