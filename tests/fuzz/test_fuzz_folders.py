"""Ten thousand odd folders, and as many damaged files in a folder that `datasets` reads."""

import json
import random
import shutil

import pandas as pd
import pytest

from fuzz.harness import fuzz
from tailcut.cli import datasets as sources
from tailcut.errors import SpecError

CLASSES = ["cat", "dog", "été", "10", "9", "a b", "train", "test", ".cache", "__MACOSX"]
FILES = ["a.png", "B.JPG", "c.txt", ".d.png", "._a.png", "s/e.webp", ".s/f.png", "s/t/g.tif", "h"]


def grown(seed, root):
    """A tree of empty files, and the rows that it holds: None where it has to be refused."""
    chance = random.Random(seed)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    shown, classes = {}, chance.sample(CLASSES, chance.randint(0, 4))
    for name in classes:
        files = chance.sample(FILES, chance.choice((0, 1, 2, 5)))
        for file in files:
            (root / name / file).parent.mkdir(parents=True, exist_ok=True)
            (root / name / file).touch()
        (root / name).mkdir(exist_ok=True)
        seen = [file for file in files if not any(part[0] == "." for part in file.split("/"))]
        if seen and name[0] != ".":
            shown[name] = sorted(seen, key=lambda file: (file.rpartition("/")[0], file))
    images = {name: [f for f in files if f.lower()[-3:] in SEEN] for name, files in shown.items()}
    nested = [name for name in shown if name in SPLITS and has_folders(root / name)]
    if not all(images.values()) or set(shown) <= SPLITS or len(nested) > 1:
        return None
    return [f"{name}/{file}" for name in sorted(images) for file in images[name]]


SEEN = {"png", "jpg", "ebp", "tif"}
SPLITS = {"train", "test"}


def has_folders(place):
    return any(each.is_dir() and each.name[0] != "." for each in place.iterdir())


def test_image_folders(tmp_path):
    root = tmp_path / "root"

    def right(path, rows):
        expected = grown(path.read_bytes(), root)
        assert expected is not None
        names = sorted({key.partition("/")[0] for key in expected})
        assert rows.class_names == tuple(names)
        assert rows.keys == expected
        assert [names[label] for label in rows.labels_N] == [k.partition("/")[0] for k in expected]

    def read(path):
        expected = grown(path.read_bytes(), root)
        try:
            return sources.rows(f"imagefolder:{root}")
        except SpecError:
            if expected is not None:
                raise AssertionError("a usable folder is refused") from None
            raise

    seeds = {str(number): bytes([number]) * 4 for number in range(3)}
    fuzz("imagefolder", seeds, read, tmp_path, right=right)


def objects(text):
    """JSON objects one after the other, each of which may take several lines."""
    text = text.lstrip()
    while text:
        found, end = json.JSONDecoder().raw_decode(text)
        yield found
        text = text[end:].lstrip()


def same_lines(path, rows):
    """As json and pandas read them; capitals in the names of columns do not matter."""
    if path.suffix == ".csv":
        table = pd.read_csv(path).to_dict("records")
    else:
        table = list(objects(path.read_text("utf-8")))
    table = [{name.lower(): cell for name, cell in row.items()} for row in table]
    assert list(rows.items) == [row["text"] for row in table]
    assert rows.labels_N.tolist() == [row["label"] for row in table]


# The library leaves a file open when it cannot read what is in it.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_data_sets_of_the_hub_library(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    place = tmp_path / "set"

    def read(path):
        for used in (place, tmp_path / "cache"):
            shutil.rmtree(used, ignore_errors=True)
        place.mkdir()
        shutil.copy(path, place)
        return sources.rows(f"hf:{place}")

    rows = [{"text": f"good film {n}", "label": n % 2} for n in range(6)]
    valid = {
        "train.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "train.csv": pd.DataFrame(rows).to_csv(index=False).encode(),
    }
    fuzz("hf", valid, read, tmp_path, right=same_lines)
