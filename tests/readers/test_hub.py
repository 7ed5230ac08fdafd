"""Data sets that the hub's own library loads, from local files."""

import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tailcut
from tailcut.cli import datasets as sources
from tailcut.readers.classes import Classes
from tailcut.readers.columns import Columns


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def saved(tmp_path, **columns):
    (tmp_path / "set").mkdir(exist_ok=True)
    pd.DataFrame(columns).to_json(tmp_path / "set" / "train.jsonl", orient="records", lines=True)
    return f"hf:{tmp_path}/set"


def told(word, reading=None):
    with pytest.raises(tailcut.TailcutError) as error:
        sources.rows(word, reading)
    return str(error.value)


def test_images_of_a_local_folder_keep_their_class_names_and_are_opened_like_others(tmp_path):
    for name, colour in (("cat", (250, 0, 0)), ("ape", (0, 250, 0))):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGBA", (3, 2), (*colour, 9)).save(tmp_path / "set" / name / "1.png")
    (tmp_path / "set" / "cat" / "2.png").write_bytes(b"no image")
    rows = sources.rows(f"hf:{tmp_path}/set")
    assert (rows.kind, rows.class_names, rows.labels_N.tolist()) == (
        "image",
        ("ape", "cat"),
        [0, 1, 1],
    )
    assert np.asarray(rows[0][0])[0, 0].tolist() == [0, 250, 0]
    with pytest.raises(tailcut.DataError, match=r"^row 2 cannot be opened: row 2 of .* is damaged"):
        rows[2]


def test_names_in_a_column_are_numbered_by_a_class_map_alone(tmp_path):
    word = saved(tmp_path, text=["good film", "bad film"], label=["good", "bad"])
    assert told(word).startswith(f"row 0 of {tmp_path}/set has the label 'good'; wanted an integer")
    classes = Classes({"bad": 0, "good": 1}, "map.json", given=True)
    assert sources.rows(word, sources.Reading(classes=classes)).labels_N.tolist() == [1, 0]


def test_columns_are_chosen_by_name(tmp_path):
    word = saved(tmp_path, review=["good film", "bad film"], stars=[1, 0])
    assert told(word) == (
        f"the data set {tmp_path}/set has the columns ['review', 'stars']; wanted one column of "
        "labels (label, labels, fine_label) and one of items (img, image, text, sentence). Rename "
        "the columns, or choose with --image-column, --text-column, --label-column."
    )
    rows = sources.rows(word, sources.Reading(Columns(text="review", label="stars")))
    assert (list(rows.items), rows.labels_N.tolist()) == (["good film", "bad film"], [1, 0])


def test_missing_labels_and_texts_are_told_with_their_row(tmp_path):
    word = saved(tmp_path, text=["good film", "bad film"], label=[1, None])
    assert told(word).startswith(f"row 1 of {tmp_path}/set has no label; ")
    word = saved(tmp_path, text=["good film", None, "bad"], label=[1, 0, 1])
    assert told(word).startswith(
        f"row 1 of {tmp_path}/set holds nothing in the column of the texts; "
    )


def test_a_split_that_is_not_there_is_told(tmp_path):
    word = saved(tmp_path, text=["good film"], label=[1])
    assert told(f"{word}:dev") == (
        f"'{word}:dev' cannot be read (Unknown split \"dev\". Should be one of ['train']); wanted "
        "whole files of the form that the word names. Check the name, the split and the network "
        "connection."
    )


def kept(tmp_path, **splits):
    """A folder of `save_to_disk`, with a ClassLabel."""
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    sets = {
        name: datasets.Dataset.from_dict(
            {"text": [f"{name} {n}" for n in range(rows)], "label": [n % 2 for n in range(rows)]},
            features=features,
        )
        for name, rows in splits.items()
    }
    whole = datasets.DatasetDict(sets) if len(sets) > 1 else next(iter(sets.values()))
    whole.save_to_disk(str(tmp_path / "kept"))
    return f"hf:{tmp_path}/kept"


def test_a_folder_of_save_to_disk_keeps_the_names_of_its_classes(tmp_path):
    rows = sources.rows(kept(tmp_path, train=4) + "[-3:]")
    assert (list(rows.items), rows.labels_N.tolist()) == (
        ["train 1", "train 2", "train 3"],
        [1, 0, 1],
    )
    assert (rows.class_names, list(rows.keys)) == (("bad", "good"), [1, 2, 3])
    assert told(f"hf:{tmp_path}/kept:test") == (
        f"{tmp_path}/kept is one data set without splits; wanted the split 'test'. Leave the split "
        "out."
    )


def test_a_split_of_several_is_taken_by_name_and_else_the_train_split(tmp_path):
    word = kept(tmp_path, validation=2, train=3)
    assert list(sources.rows(word).items) == ["train 0", "train 1", "train 2"]
    assert list(sources.rows(f"{word}:validation").items) == ["validation 0", "validation 1"]
    assert told(f"{word}:test") == (
        f"{tmp_path}/kept has the splits validation, train; wanted the split 'test'. Name one of "
        "them behind a colon, hf:NAME:SPLIT."
    )


def test_a_name_as_the_hub_has_it_goes_through_load_dataset(tmp_path, monkeypatch):
    place = tmp_path / "owner" / "films"
    for config, label in (("short", 0), ("long", 1)):
        (place / config).mkdir(parents=True)
        frame = pd.DataFrame({"text": [f"{config} film"] * 3, "label": label})
        frame.to_csv(place / config / "test.csv", index=False)
    (place / "README.md").write_text(
        "---\nconfigs:\n"
        + "".join(
            f"- config_name: {each}\n  data_files:\n  - split: test\n    path: {each}/test.csv\n"
            for each in ("short", "long")
        )
        + "---\n"
    )
    monkeypatch.chdir(tmp_path)
    rows = sources.rows("hf:owner/films:long:test[1:]")
    assert (list(rows.items), rows.labels_N.tolist()) == (["long film"] * 2, [1, 1])
    assert "Please pick one among the available configs: ['short', 'long']" in told(
        "hf:owner/films:test"
    ) or "Config name is missing" in told("hf:owner/films:test")


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """A module of the current folder whose function is what a test writes."""

    def write(name, body):
        (tmp_path / f"{name}.py").write_text(body)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        return f"{name}:data"

    return write


def test_a_factory_may_return_a_data_set_of_the_library_or_a_stream(factory):
    word = factory(
        "films_of_mine",
        "import datasets\n"
        "NAMES = datasets.Features({'review': datasets.Value('string'),\n"
        "                          'label': datasets.ClassLabel(names=['bad', 'good'])})\n"
        "def rows():\n"
        "    for n in range(5):\n"
        "        yield {'review': f'film {n}', 'label': n % 2}\n"
        "def data():\n"
        "    return datasets.IterableDataset.from_generator(rows, features=NAMES)\n"
        "def splits():\n"
        "    return datasets.DatasetDict(train=datasets.Dataset.from_list(list(rows())))\n",
    )
    reading = sources.Reading(Columns(text="review"))
    rows = sources.rows(f"{word}[-2:]", reading)
    assert (list(rows.items), rows.labels_N.tolist()) == (["film 3", "film 4"], [1, 0])
    assert (rows.class_names, list(rows.keys)) == (("bad", "good"), [3, 4])
    rows = sources.rows("films_of_mine:splits", reading)
    assert list(rows.items) == [f"film {n}" for n in range(5)]


def test_a_stream_of_images_keeps_them_encoded(factory):
    word = factory(
        "pictures_of_mine",
        "import datasets\n"
        "from PIL import Image\n"
        "def data():\n"
        "    rows = {'image': [Image.new('RGB', (3, 2), (n, 0, 0)) for n in range(4)],\n"
        "            'label': [0, 1, 0, 1]}\n"
        "    features = datasets.Features({'image': datasets.Image(),\n"
        "                                  'label': datasets.Value('int64')})\n"
        "    whole = datasets.Dataset.from_dict(rows, features=features)\n"
        "    return whole.to_iterable_dataset()\n",
    )
    rows = sources.rows(word)
    assert rows.kind == "image"
    assert [np.asarray(rows[n][0])[0, 0, 0] for n in range(4)] == [0, 1, 2, 3]


def test_a_stream_of_batches_stays_a_stream_of_batches(factory):
    import datasets

    if not hasattr(datasets.IterableDataset, "batch"):
        pytest.skip("datasets before 2.21 has no batches of its own")
    word = factory(
        "batches_of_mine",
        "import datasets\n"
        "def rows():\n"
        "    for n in range(4):\n"
        "        yield {'x': [float(n)] * 2, 'label': n % 2}\n"
        "def data():\n"
        "    stream = datasets.IterableDataset.from_generator(rows)\n"
        "    return stream.batch(2).with_format('torch')\n",
    )
    assert not isinstance(sources.rows(word), sources.Rows)
