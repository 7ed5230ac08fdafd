"""Data sets of torch that hold single samples: what a factory returns becomes rows."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import tailcut
from tailcut.cli import datasets as sources
from tailcut.readers.found import Found
from tailcut.readers.numbering import numbered
from tailcut.readers.samples import holds_samples, samples


class Stream(IterableDataset):
    """Samples in a fixed order, without a length."""

    def __init__(self, made):
        self.made = made

    def __iter__(self):
        return iter(self.made)


class Table(Dataset):
    """Samples by number, and an error behind the last."""

    def __init__(self, made):
        self.made = made

    def __getitem__(self, row):
        return self.made[row]

    def __len__(self):
        return len(self.made)


PAIRS = [(f"film {n}", n % 2) for n in range(5)]


@pytest.mark.parametrize("kind", [Stream, Table])
def test_texts_of_a_data_set_or_a_stream_become_rows(kind):
    assert holds_samples(kind(PAIRS))
    rows = numbered(samples(kind(PAIRS), "here"), None)
    assert [rows[n][:2] for n in range(5)] == PAIRS
    assert (rows.kind, list(rows.keys)) == ("text", list(range(5)))


def test_a_torchvision_folder_keeps_paths_and_class_names(tmp_path):
    from torchvision.datasets import ImageFolder

    for name, value in (("cat", 9), ("ape", 7)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (3, 2), (value, 0, 0)).save(tmp_path / name / "1.png")
    rows = numbered(samples(ImageFolder(tmp_path), "here"), None)
    assert (rows.kind, rows.class_names) == ("image", ("ape", "cat"))
    assert list(rows.keys) == [f"{tmp_path}/ape/1.png", f"{tmp_path}/cat/1.png"]
    assert [int(np.asarray(rows[n][0])[0, 0, 0]) for n in (0, 1)] == [7, 9]


def test_items_of_a_table_are_asked_for_when_it_is_their_turn():
    rows = numbered(
        samples(Table([(torch.full((3,), float(n)), n % 2) for n in range(4)]), "x"), None
    )
    assert (rows.kind, rows[2][0].tolist()) == ("tensor", [2.0] * 3)
    assert rows.between(slice(-1, None))[0][0].tolist() == [3.0] * 3


def test_batches_are_no_samples():
    inputs_ND, labels_N = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    assert holds_samples(TensorDataset(inputs_ND, labels_N))
    assert not holds_samples(Stream([(inputs_ND, labels_N)]))
    assert not holds_samples(DataLoader(TensorDataset(inputs_ND, labels_N), 2))
    assert not holds_samples([(inputs_ND, labels_N)])
    assert not holds_samples(Stream([]))


def test_items_of_other_kinds_are_told():
    with pytest.raises(tailcut.DataError) as error:
        samples(Table([("a", 0), (3.5, 1)]), "shop:data")
    assert str(error.value) == (
        "shop:data yields items of the kinds text (row 0), float (row 1); wanted tensors, PIL "
        "images or texts, and one kind of them. Adapt the data set, or pass batches: a DataLoader "
        "with a collate function."
    )


def test_a_factory_of_samples_takes_slices(tmp_path, monkeypatch):
    (tmp_path / "samples_of_mine.py").write_text(
        "import torch\n"
        "from torch.utils.data import TensorDataset\n"
        "def data():\n"
        "    return TensorDataset(torch.arange(12.).reshape(6, 2), torch.arange(6) % 3)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = sources.rows("samples_of_mine:data[-2:]")
    assert (rows.labels_N.tolist(), rows[0][0].tolist()) == ([1, 2], [8.0, 9.0])


def test_a_reader_hands_over_rows_as_any_other():
    assert isinstance(samples(Stream(PAIRS), "here"), Found)
