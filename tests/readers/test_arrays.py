"""npz files: what their arrays may be, and what they may not."""

import numpy as np
import pytest
import torch

import tailcut
from tailcut.cli import datasets as sources
from tailcut.readers.classes import Classes

PETS = Classes({"cat": 0, "dog": 1}, "pets.json", given=True)


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return f"npz:{tmp_path}/a.npz"


def told(word, reading=None):
    with pytest.raises(tailcut.TailcutError) as error:
        sources.rows(word, reading)
    return str(error.value)


@pytest.mark.parametrize(
    ("lengths", "seen"),
    [
        ({"inputs": 299, "labels": 300}, "299 inputs and 300 labels"),
        ({"inputs": 300, "labels": 299}, "300 inputs and 299 labels"),
        ({"inputs": 3, "labels": 3, "clean": 2}, "3 inputs, 3 labels and 2 true labels"),
        ({"inputs": 0, "labels": 1}, "0 inputs and 1 labels"),
    ],
)
def test_arrays_of_several_lengths_are_refused(tmp_path, lengths, seen):
    kinds = {"inputs": "float32", "labels": "int64", "clean": "int64"}
    word = saved(tmp_path, **{name: np.zeros(n, kinds[name]) for name, n in lengths.items()})
    assert told(word) == (
        f"{tmp_path}/a.npz has {seen}; wanted one label for each input. Find the row that is "
        "missing: the labels after it belong to other inputs."
    )


@pytest.mark.parametrize(
    "dtype",
    ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4", ">i2", ">f8"],
)
def test_every_type_of_numbers_keeps_its_values_and_its_type(tmp_path, dtype):
    inputs = np.arange(6).reshape(3, 2).astype(dtype)
    rows = sources.rows(saved(tmp_path, inputs=inputs, labels=np.array([0, 1, 0])))
    assert rows.items.numpy().dtype == inputs.dtype.newbyteorder("=")
    assert np.array_equal(rows.items.numpy(), inputs)


def test_an_array_of_which_every_other_row_is_taken_is_read_in_order(tmp_path):
    inputs = np.asfortranarray(np.arange(12.0).reshape(6, 2))[::-2]
    rows = sources.rows(saved(tmp_path, inputs=inputs, labels=[0, 1, 2]))
    assert rows.items.tolist() == inputs.tolist()


@pytest.mark.parametrize(
    ("inputs", "seen"),
    [
        (np.float32(1), "shape () and type float32"),
        (np.zeros(2, complex), "shape (2,) and type complex128"),
        (np.array(["a", "b"]), "shape (2,) and type <U1"),
        (np.zeros(2, "M8[s]"), "shape (2,) and type datetime64[s]"),
        (np.zeros(2, "f4,i4"), "shape (2,) and type [('f0', '<f4'), ('f1', '<i4')]"),
        (np.zeros(2, np.longdouble), f"shape (2,) and type {np.dtype(np.longdouble)}"),
    ],
)
def test_inputs_that_are_no_rows_of_numbers_are_refused(tmp_path, inputs, seen):
    assert told(saved(tmp_path, inputs=inputs, labels=[0, 1])) == (
        f"{tmp_path}/a.npz has inputs of {seen}; wanted an array with one row of numbers for each "
        "sample. Save them as one float32 array, or as integers if they are tokens."
    )


def test_empty_arrays_are_refused(tmp_path):
    word = saved(tmp_path, inputs=np.zeros((0, 4), "f4"), labels=np.zeros(0, int))
    assert told(word) == f"{tmp_path}/a.npz holds no row; wanted at least one. Check the file."


@pytest.mark.parametrize(
    ("labels", "seen"),
    [
        (np.array(1), "labels of shape ()"),
        (np.zeros((2, 1), int), "labels of shape (2, 1)"),
        (np.eye(2), "labels of type torch.float64"),
        (np.array([True, False]), "labels of type torch.bool"),
        (np.array([0, -1]), "the label -1"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(tmp_path, labels, seen):
    assert told(saved(tmp_path, inputs=np.zeros((2, 3)), labels=labels)).startswith(
        f"{tmp_path}/a.npz has {seen}; wanted "
    )


def test_a_label_that_no_class_has_is_told_before_it_wraps_around(tmp_path):
    labels = np.array([0, 2**64 - 1], "u8")
    assert told(saved(tmp_path, inputs=np.zeros((2, 3)), labels=labels)) == (
        f"row 1 of {tmp_path}/a.npz has the label 18446744073709551615; wanted the number of a "
        "class. Choose the column of the labels, if this one holds identifiers."
    )


def test_a_label_that_is_missing_is_told_with_its_row(tmp_path):
    word = saved(tmp_path, inputs=np.zeros((2, 3)), labels=[0.0, np.nan])
    assert told(word) == (
        f"row 1 of {tmp_path}/a.npz has no label; wanted a label for each row. Remove the rows "
        "without one."
    )


@pytest.mark.parametrize("labels", [["cat", "dog", "cat"], [b"cat", b"dog", b"cat"]])
def test_names_of_classes_are_refused_without_a_class_map_and_numbered_with_one(tmp_path, labels):
    word = saved(tmp_path, inputs=np.zeros((3, 2)), labels=labels, clean=labels[::-1])
    assert told(word) == (
        f"row 0 of {tmp_path}/a.npz has the label 'cat'; wanted an integer label. Give the "
        "numbers that the network was trained on with --class-map FILE (name and number of each "
        "class)."
    )
    rows = sources.rows(word, sources.Reading(classes=PETS))
    assert rows.labels_N.tolist() == [0, 1, 0]
    assert rows.clean_N.tolist() == [0, 1, 0]
    assert rows.class_names == ("cat", "dog")


def test_a_name_outside_the_class_map_is_told(tmp_path):
    word = saved(tmp_path, inputs=np.zeros((2, 2)), labels=["cat", "wolf"])
    assert told(word, sources.Reading(classes=PETS)) == (
        f"row 1 of {tmp_path}/a.npz is of the class 'wolf'; wanted a class of pets.json: cat, "
        "dog. Correct the name, or number it with --class-map FILE (name and number of each "
        "class)."
    )


def test_numbers_beside_a_class_map_have_to_be_in_it(tmp_path):
    inputs = np.zeros((2, 2))
    reading = sources.Reading(classes=PETS)
    rows = sources.rows(saved(tmp_path, inputs=inputs, labels=[1, 0]), reading)
    assert (rows.labels_N.tolist(), rows.class_names) == ([1, 0], ("cat", "dog"))
    assert told(saved(tmp_path, inputs=inputs, labels=[1, 2]), reading) == (
        f"row 1 of {tmp_path}/a.npz has the label 2; wanted a number of pets.json: 0, 1. Correct "
        "the label, or add its class."
    )


def test_a_single_array_is_no_npz(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    seen = f"'npz:{tmp_path}/a.npy' cannot be read (File is not a zip file); wanted "
    assert told(f"npz:{tmp_path}/a.npy").startswith(seen)


def test_whole_numbers_stay_whole_and_bytes_become_pixels(tmp_path):
    from tailcut.cli import models

    collate = models.network("lab:mlp").collate
    for dtype, expected in (("uint8", torch.float32), ("int64", torch.int64)):
        inputs = np.array([[[[51]]], [[[255]]]], dtype)
        rows = sources.rows(saved(tmp_path, inputs=inputs, labels=[0, 1]))
        ((batch, _, _),) = rows.batches(collate, 8)
        assert batch.dtype == expected
        wanted = torch.tensor([51, 255]) / (255 if dtype == "uint8" else 1)
        assert torch.equal(batch.flatten().float(), wanted)
