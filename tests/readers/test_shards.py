"""WebDataset shards: real tar files, whole and damaged."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

import tailcut
from tailcut.cli import datasets as sources
from tailcut.readers.columns import Columns


def png(value):
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (value, 0, 0)).save(buffer, "png")
    return buffer.getvalue()


def shard(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def pair(number, ending="png"):
    return [(f"{number:04}.{ending}", png(number)), (f"{number:04}.cls", b"%d\n" % (number % 3))]


def told(word, reading=None):
    with pytest.raises(tailcut.TailcutError) as error:
        sources.rows(word, reading)
    return str(error.value)


def reds(rows):
    return [int(np.asarray(rows[n][0])[0, 0, 0]) for n in range(len(rows))]


@pytest.fixture
def three(tmp_path):
    for number in range(3):
        files = [each for row in (2 * number, 2 * number + 1) for each in pair(row)]
        shard(tmp_path / f"train-{number:03}.tar", files)
    return tmp_path


@pytest.mark.parametrize("pattern", ["train-{000..002}.tar", "train-*.tar"])
def test_shards_are_read_in_order_and_rows_keep_their_keys(three, pattern):
    rows = sources.rows(f"webdataset:{three}/{pattern}")
    assert (rows.kind, rows.labels_N.tolist(), reds(rows)) == (
        "image",
        [0, 1, 2, 0, 1, 2],
        [0, 1, 2, 3, 4, 5],
    )
    last = sources.rows(f"webdataset:{three}/{pattern}[-2:]")
    assert (list(last.keys), reds(last)) == (["train-002.tar/0004", "train-002.tar/0005"], [4, 5])


def test_the_datasets_library_reads_the_same_from_them(three):
    import datasets

    datasets.disable_progress_bars()
    files = [str(three / f"train-{n:03}.tar") for n in range(3)]
    theirs = datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True)
    rows = sources.rows(f"webdataset:{three}/train-*.tar")
    for row, each in enumerate(theirs):
        assert np.array_equal(np.asarray(each["png"]), np.asarray(rows[row][0]))
        assert (each["cls"], rows.keys[row].rpartition("/")[2]) == (rows[row][1], each["__key__"])


def test_images_of_several_endings_and_compressed_shards_are_one_column(tmp_path):
    files = [*pair(7), *pair(8, "PNG"), *pair(9, "webp")]
    shard(tmp_path / "a.tar.gz", files, "w:gz")
    rows = sources.rows(f"webdataset:{tmp_path}/a.tar.gz")
    assert (reds(rows), list(rows.keys)) == ([7, 8, 9], [f"a.tar.gz/000{n}" for n in (7, 8, 9)])


def test_texts_and_labels_in_records_are_chosen_by_name(tmp_path):
    files = []
    for number, name in enumerate(["good", "bad"]):
        about = json.dumps({"feeling": number, "stars": 5}).encode()
        files += [(f"d/{number}.txt", f"film {name}".encode()), (f"d/{number}.json", about)]
    shard(tmp_path / "a.tar", files)
    assert told(f"webdataset:{tmp_path}/a.tar") == (
        f"{tmp_path}/a.tar has the columns ['txt', 'json', 'json.feeling', 'json.stars']; wanted "
        "one column of labels (cls, label) and one of items (jpg, jpeg, png, ppm, pgm, bmp, tif, "
        "tiff, webp, gif, image, txt, text). Rename the columns, or choose with --image-column, "
        "--text-column, --label-column."
    )
    rows = sources.rows(
        f"webdataset:{tmp_path}/a.tar", sources.Reading(Columns(label="json.feeling"))
    )
    assert (list(rows.items), rows.labels_N.tolist()) == (["film good", "film bad"], [0, 1])
    assert list(rows.keys) == ["a.tar/d/0", "a.tar/d/1"]


@pytest.mark.parametrize("lost", [1, 512, 600, 1100, 9000])
def test_a_shard_that_is_cut_anywhere_is_refused(tmp_path, lost):
    path = shard(tmp_path / "a.tar", [*pair(0), *pair(1)])
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content[: max(1, len(content) + 512 - lost)])
    assert f"'webdataset:{path}' cannot be read (" in told(f"webdataset:{path}")


def test_a_shard_cut_between_two_files_is_refused(tmp_path):
    path = shard(tmp_path / "a.tar", [*pair(0), *pair(1)])
    with tarfile.open(path) as archive:
        edge = archive.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:edge])
    assert "cannot be read (its end is missing); wanted whole files" in told(f"webdataset:{path}")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([*pair(0), ("0001.png", png(1))], "row 1 of FILE has no label"),
        ([*pair(0), ("0001.cls", b"1")], "a.tar/0001 holds nothing in the column of the images"),
        ([*pair(0), *pair(0)], "FILE cannot be read ('0000.png' stands twice)"),
        ([("0.png", png(0)), ("0.cls", b"cat")], "row 0 of FILE has the label 'cat'"),
        ([("0.json", b"{")], "FILE cannot be read (Expecting property name"),
        ([], "FILE holds no sample"),
    ],
)
def test_samples_that_cannot_be_used_are_told_with_their_key(tmp_path, files, why):
    path = shard(tmp_path / "a.tar", files)
    message = told(f"webdataset:{path}").replace(f"'webdataset:{path}'", "FILE")
    message = message.replace(str(path), "FILE").replace("a.tar/0 has", "row 0 of FILE has")
    assert message.replace("a.tar/0001 has", "row 1 of FILE has").startswith(why)


def test_a_shard_that_is_not_there_is_told(three):
    assert told(f"webdataset:{three}/train-{{000..003}}.tar") == (
        f"nothing at {three}/train-003.tar; wanted tar files, as train-{{000..012}}.tar or "
        "train-*.tar names them. Check the path."
    )
