"""What is passed in the place of batches is named, with what to pass instead."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

from tailcut.errors import DataError
from tailcut.network.batches import read

X, Y = torch.randn(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])
DATA = TensorDataset(X, Y)
TABLE = datasets.Dataset.from_dict({"x": X.tolist(), "label": Y.tolist()})
SEVERAL = "instead of batches; wanted an iterable of batches that can be read several times."
MANY = "wanted batches (inputs, labels) of many samples."


def told(loader):
    with pytest.raises(DataError) as caught:
        list(read(loader))
    return str(caught.value)


ARRAYS = (
    "Pass [(inputs, labels)], or DataLoader(TensorDataset(inputs, labels), batch_size=256) of two "
    "tensors."
)
FILES = (
    "Read the file and pass a DataLoader; the command line takes files, as in tailcut repair MODEL "
    "--data DATA."
)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ((X, Y), f"arrays (Tensor of shape (6, 2), Tensor of shape (6,)) {SEVERAL} {ARRAYS}"),
        (
            [X.numpy(), Y.numpy()],
            f"arrays (ndarray of shape (6, 2), ndarray of shape (6,)) {SEVERAL} {ARRAYS}",
        ),
        (
            (pd.DataFrame(X.numpy()), pd.Series(Y.numpy())),
            f"arrays (DataFrame of shape (6, 2), Series of shape (6,)) {SEVERAL} {ARRAYS}",
        ),
        (X, f"an array (Tensor of shape (6, 2)) {SEVERAL} Pass [(inputs, labels)]."),
        (Y.numpy(), f"an array (ndarray of shape (6,)) {SEVERAL} Pass [(inputs, labels)]."),
        (
            pd.DataFrame({"a": [1.0], "label": [0]}),
            f"a DataFrame with the columns a, label {SEVERAL} Pass [(inputs, labels)], a tensor of "
            "the columns that the network reads and one of the labels.",
        ),
        ("train.npz", f"the path 'train.npz' {SEVERAL} {FILES}"),
        (Path("a/b"), f"the path 'a/b' {SEVERAL} {FILES}"),
        (
            {"inputs": X, "labels": Y},
            f"a dict with the keys ['inputs', 'labels'] {SEVERAL} Pass [batch] for one batch, or "
            "one of the values.",
        ),
        (
            datasets.DatasetDict(train=TABLE),
            f"a dict with the keys ['train'] {SEVERAL} Pass [batch] for one batch, or one of the "
            "values.",
        ),
        (3, f"a int {SEVERAL} Pass a DataLoader, or a list of batches."),
    ],
)
def test_what_is_no_loader_is_named(loader, message):
    assert told(loader) == message


BATCHED = "Pass DataLoader(dataset, batch_size=256)."


@pytest.mark.parametrize(
    ("loader", "seen", "advice"),
    [
        (DATA, "a TensorDataset that yields single samples (a tuple of Tensor, Tensor)", BATCHED),
        (
            ConcatDataset([Subset(DATA, [1, 2])]),
            "a ConcatDataset that yields single samples (a tuple of Tensor, Tensor)",
            BATCHED,
        ),
        ([(X[0], 1)], "a list that yields single samples (a tuple of Tensor, int)", BATCHED),
        (
            [{"text": "so", "label": "good"}],
            "a list that yields single samples (a dict with the keys ['label', 'text'])",
            BATCHED,
        ),
        (
            DataLoader(DATA, batch_size=None),
            "a DataLoader that yields single samples (a list of Tensor, Tensor)",
            "Give the DataLoader a batch_size, such as 256.",
        ),
        (
            TABLE,
            "a Dataset that yields single samples (a dict with the keys ['label', 'x'])",
            'Pass DataLoader(dataset.with_format("torch"), batch_size=256).',
        ),
        (
            TABLE.to_iterable_dataset(),
            "a IterableDataset that yields single samples (a dict with the keys ['label', 'x'])",
            'Pass DataLoader(dataset.with_format("torch"), batch_size=256).',
        ),
    ],
)
def test_a_data_set_in_the_place_of_its_loader_is_named(loader, seen, advice):
    assert told(loader) == f"{seen}; {MANY} {advice}"


def test_the_advice_can_be_followed():
    for loader in (
        [(X, Y)],
        [(X.numpy(), Y.numpy())],
        DataLoader(DATA, batch_size=256),
        DataLoader(TABLE.with_format("torch"), batch_size=256),
        DataLoader(TABLE.to_iterable_dataset().with_format("torch"), batch_size=256),
    ):
        (batch,) = read(loader)
        inputs = batch.inputs if isinstance(batch.inputs, torch.Tensor) else batch.inputs["x"]
        assert torch.equal(inputs, X)
        assert torch.equal(batch.labels, Y)


def test_a_hugging_face_data_set_without_a_format_is_named():
    assert told(DataLoader(TABLE, batch_size=3)) == (
        "batch 0 has 'x' as a list of 2 tensors; wanted one tensor for all samples of a batch. "
        'Format a Hugging Face data set with dataset.with_format("torch"), or stack them in the '
        "collate function."
    )


def test_a_long_batch_of_another_form_is_named_in_short():
    assert told([[1.5] * 600]).startswith("batch 0 is a list of 600 items; wanted ")


class Slices(Dataset):
    """Batches by slicing, which never says that it has ended."""

    def __len__(self):
        return 3

    def __getitem__(self, number):
        rows = slice(2 * number, 2 * number + 2)
        return X[rows], Y[rows]


def test_a_sequence_of_batches_ends_where_its_length_says():
    assert [len(batch) for batch in read(Slices())] == [2, 2, 2]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8", "int64", "bool"])
def test_numpy_inputs_become_tensors_of_their_type_in_single_precision(dtype):
    array = (4 * X).numpy().astype(dtype)
    array.flags.writeable = False
    for raw in ((array, Y), {"x": array, "label": Y.numpy(), "text": np.array(list("abcdef"))}):
        (batch,) = read([raw])
        inputs = batch.inputs if isinstance(batch.inputs, torch.Tensor) else batch.inputs["x"]
        assert inputs.dtype == getattr(torch, dtype.replace("64", "32") if "fl" in dtype else dtype)
        np.testing.assert_array_equal(inputs.numpy(), array.astype(inputs.numpy().dtype))


@pytest.mark.parametrize("name", ["index", "idx"])
def test_the_index_of_a_batch_stands_beside_its_labels_or_among_its_inputs(name):
    index = torch.arange(6)
    for raw in ({"x": X, "label": Y, name: index}, ({"x": X, name: index}, Y)):
        (batch,) = read([raw])
        assert list(batch.inputs) == ["x"]
        assert torch.equal(batch.index, index)
