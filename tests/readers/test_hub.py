"""Data sets that the hub's own library loads, from local files."""

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
