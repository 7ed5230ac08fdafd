"""Ten thousand damaged files of each form (`TAILCUT_FUZZ=10000 pytest tests/fuzz`)."""

import codecs
import csv
import io
import json
import tarfile
import zipfile
from functools import partial

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from PIL import Image

from fuzz.harness import fuzz
from tailcut.cli import datasets as sources
from tailcut.readers.class_map import class_map
from tailcut.readers.images import Picture

TEXTS = [
    "good film",
    'she said "fine"',
    "line\u2028separator",
    "caf\u00e9 \u0663",
    "a,b; c",
    "x\x0by\x85",
]
LABELS = [0, 1, 1, 0, 2, 1]


def read(kind):
    """The reader of a DATA word."""
    return lambda path: sources.rows(f"{kind}:{path}")


def arrays(save=np.savez, **changed):
    held = {
        "inputs": np.arange(24, dtype="float32").reshape(6, 4),
        "labels": np.array(LABELS),
        "clean": np.array(LABELS[::-1]),
    }
    buffer = io.BytesIO()
    save(buffer, **(held | changed))
    return buffer.getvalue()


def same_as_numpy(path, rows):
    """Every array of the file, whole by its check sum, and nothing else."""
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        held = {
            name.removesuffix(".npy"): np.lib.format.read_array(packed.open(name))
            for name in packed.namelist()
        }
    assert np.array_equal(rows.items.numpy(), held["inputs"], equal_nan=True)
    assert rows.items.numpy().dtype == held["inputs"].dtype.newbyteorder("=")
    assert rows.labels_N.tolist() == [int(label) for label in held["labels"].tolist()]
    assert (rows.clean_N is None) == ("clean" not in held)
    if rows.clean_N is not None:
        assert rows.clean_N.tolist() == [int(label) for label in held["clean"].tolist()]


def swapped_arrays(content, chance):
    """Arrays under other names, left out, or of another length."""
    names = ["inputs", "labels", "clean"]
    values = [np.arange(6), np.arange(5), np.ones(6, ">i2")]
    held = dict(zip(chance.sample(names, 3), values, strict=True))
    for _ in range(chance.randint(0, 2)):
        odd = [np.array(1), np.array([]), np.ones((6, 1), int), np.array(list("012345")), 1.5]
        held[chance.choice(names)] = chance.choice(odd)
    held.pop(chance.choice([*names, None]), None)
    return arrays(**held) if chance.random() < 0.5 else _saved(held)


def _saved(held):
    buffer = io.BytesIO()
    np.savez(buffer, **held)
    return buffer.getvalue()


def test_npz(tmp_path):
    valid = {
        "a.npz": arrays(),
        "packed.npz": arrays(np.savez_compressed),
        "half.npz": arrays(inputs=np.ones((6, 2, 2), "float16")),
        "bytes.npz": arrays(inputs=np.ones((6, 1, 2, 2), "uint8"), labels=np.arange(6, dtype="i2")),
        "names.npz": arrays(labels=np.array(list("012012"))),
    }
    fuzz("npz", valid, read("npz"), tmp_path, right=same_as_numpy, damages=[swapped_arrays])


def table(separator, header="text,label", *, quote=False):
    rows = [[text, str(label)] for text, label in zip(TEXTS, LABELS, strict=True)]
    rows = ([header.split(",")] if header else []) + rows
    if not quote:
        return "".join(separator.join(row) + "\n" for row in rows).encode()
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator).writerows(rows)
    return buffer.getvalue().encode()


def same_cells(path, rows, *, tabs):
    """Split at tabs and line ends, or read as strictly as Python's csv module can."""
    text = path.read_bytes().decode("utf-8-sig")
    if tabs:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        cells = [line.split("\t") for line in lines if line]
    else:
        cells = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    lowered = [cell.lower() for cell in cells[0]]
    if len(cells) == len(rows):
        expected = [("\t".join(row[:-1]), row[-1]) for row in cells]
    else:
        where = [lowered.index(each) for each in ("label", "text")]
        expected = [(row[where[1]], row[where[0]]) for row in cells[1:]]
        assert {len(row) for row in cells} == {len(lowered)}
    assert rows.items == [text for text, _ in expected]
    assert [str(label) for label in rows.labels_N.tolist()] == [
        label.strip() for _, label in expected
    ]


def swapped_columns(content, chance, separator):
    """The cells of some lines in another order, or one of them twice or left out."""
    lines = content.split(b"\n")
    for number in range(len(lines)):
        if chance.random() < 0.5:
            cells = lines[number].split(separator)
            chance.shuffle(cells)
            cells = cells[: chance.choice((1, 2, 2, 3))] + cells[: chance.choice((0, 0, 0, 1))]
            lines[number] = separator.join(cells)
    return b"\n".join(lines)


def other_lines(content, chance):
    """Other line ends, a byte order mark, quotes around everything, or UTF-16."""
    kind = chance.randrange(5)
    if kind == 0:
        return content.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b"\x0c")))
    if kind == 1:
        return codecs.BOM_UTF8 + content
    if kind == 2:
        return content.decode("utf-8", "replace").encode(chance.choice(("utf-16", "utf-16-le")))
    lines = content.split(b"\n")
    if kind == 3:
        return b"\n".join(b'"' + line.replace(b"\t", b'"\t"') + b'"' for line in lines)
    chance.shuffle(lines)
    return b"\n".join(lines)


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_tables_of_text(tmp_path, kind):
    tabs, separator = kind == "tsv", "\t" if kind == "tsv" else ","
    valid = {
        "header": table(separator, quote=not tabs),
        "bare": table(separator, header="", quote=not tabs),
        "extra": b"id,label,text\n1,0,good\n2,1,bad\n".replace(b",", separator.encode()),
        "bom": codecs.BOM_UTF8 + table(separator, "Text,Label", quote=not tabs),
    }
    damages = [partial(swapped_columns, separator=separator.encode()), other_lines]
    right = partial(same_cells, tabs=tabs)
    fuzz(kind, valid, read(kind), tmp_path, right=right, damages=damages)


def encoded(form="png", size=(5, 4), mode="RGB", **options):
    side = size[0] * size[1]
    pixels = np.random.default_rng(0).integers(0, 256, (side, 4), dtype="uint8")
    image = Image.frombytes("RGBA", size, pixels.tobytes())
    buffer = io.BytesIO()
    (image if mode == "RGBA" else image.convert("RGB").convert(mode)).save(buffer, form, **options)
    return buffer.getvalue()


def parquet_bytes(frame, **options):
    buffer = io.BytesIO()
    frame.to_parquet(buffer, **options)
    return buffer.getvalue()


def same_as_arrow(path, rows):
    """The columns as pyarrow reads the file as a whole."""
    columns = pyarrow.parquet.ParquetFile(path).read().to_pydict()
    label = next(name for name in columns if name.lower() in {"label", "labels"})
    item = next(name for name in columns if name.lower() in {"text", "image"})
    assert list(map(str, rows.labels_N.tolist())) == list(map(str, columns[label]))
    cells = columns[item]
    if rows.kind == "text":
        assert rows.items == cells
    else:
        expected = [cell["bytes"] if isinstance(cell, dict) else cell for cell in cells]
        assert [picture.source for picture in rows.items] == expected


def other_columns(content, chance):
    """Columns of other types: nulls, floats, names, nested cells."""
    labels = [LABELS, [*LABELS[:5], None], [float(each) for each in LABELS], list("abcabc")]
    labels += [[True] * 6, [[0]] * 6, [2**40] * 6, list("012012"), [-1] * 6]
    items = [TEXTS, [*TEXTS[:5], None], [b"x"] * 6, [{"bytes": None, "path": "a.png"}] * 6, LABELS]
    items += [[{"bytes": b"x", "path": "a.png"}] * 6, [["a"]] * 6]
    columns = {
        chance.choice(("text", "image", "Text")): chance.choice(items),
        chance.choice(("label", "labels", "x")): chance.choice(labels),
    }
    return parquet_bytes(pd.DataFrame(columns))


def test_parquet(tmp_path):
    images = [{"bytes": encoded(), "path": None}] * 6
    valid = {
        "text.parquet": parquet_bytes(pd.DataFrame({"text": TEXTS, "label": LABELS})),
        "image.parquet": parquet_bytes(pd.DataFrame({"image": images, "label": LABELS})),
        "plain.parquet": parquet_bytes(
            pd.DataFrame({"text": TEXTS, "label": LABELS}), compression=None
        ),
    }
    fuzz(
        "parquet",
        valid,
        read("parquet"),
        tmp_path,
        right=same_as_arrow,
        damages=[other_columns],
    )


def same_records(path, rows):
    """What Python's json module reads: one list, or one record in each line."""
    text = path.read_bytes().decode("utf-8-sig")
    whole = text.lstrip()[:1] == "["
    found = json.loads(text) if whole else [json.loads(x) for x in text.split("\n") if x.strip()]
    named = [{key.lower(): value for key, value in each.items()} for each in found]
    items = {"text": "text", "sentence": "text", "image": "image", "img": "image"}
    name = next(key for each in named for key in each if items.get(key) == rows.kind)
    assert rows.items == [each[name] for each in named]
    label = next(key for each in named for key in each if key in {"label", "labels"})
    assert rows.labels_N.tolist() == [int(each[label]) for each in named]


def other_records(content, chance):
    """Names left out, twice or nested, and values of other types."""
    values = ["good", "", None, 3, 1.0, True, ["a"], {"a": 1}, "1", float("nan")]
    lines = []
    for number in range(chance.randint(1, 4)):
        pairs = [("text", chance.choice([*TEXTS, *values])), ("label", number % 3)]
        pairs += [(chance.choice(["label", "text", "id"]), chance.choice(values))]
        pairs = chance.sample(pairs, chance.randint(1, 3))
        lines.append("{" + ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in pairs) + "}")
    text = "\n".join(lines) if chance.random() < 0.5 else "[" + ", ".join(lines) + "]"
    return text.encode()


@pytest.mark.parametrize("word", ["json", "jsonl"])
def test_records(tmp_path, word):
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS})
    valid = {
        f"a{lines}.json": frame.to_json(orient="records", lines=lines).encode()
        for lines in (True, False)
    }
    fuzz(word, valid, read(word), tmp_path, right=same_records, damages=[other_records])


def tar_bytes(compression="", ending="txt", contents=TEXTS):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for number, (text, label) in enumerate(zip(contents, LABELS, strict=True)):
            for name, held in ((ending, text.encode()), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{number}.{name}")
                member.size = len(held)
                archive.addfile(member, io.BytesIO(held))
    return buffer.getvalue()


def same_members(path, rows):
    """The texts and labels that tarfile finds, each of its own sample."""
    with tarfile.open(path) as archive:
        held = {
            each.name: archive.extractfile(each).read().decode()
            for each in archive
            if each.isfile() and not each.name.rpartition("/")[2].startswith(".")
        }
    texts = [text for name, text in held.items() if name.lower().endswith((".txt", ".text"))]
    labels = [text for name, text in held.items() if name.lower().endswith((".cls", ".label"))]
    assert list(rows.items) == texts
    assert rows.labels_N.tolist() == [int(label) for label in labels]
    assert len(set(rows.keys)) == len(rows)


def test_shards(tmp_path):
    valid = {"a.tar": tar_bytes(), "b.tar.gz": tar_bytes("gz"), "c.tar": tar_bytes(ending="text")}
    fuzz("webdataset", valid, read("webdataset"), tmp_path, right=same_members)


def as_torchvision_opens_it(path, image):
    """torchvision's pil_loader, in the words of its source."""
    with path.open("rb") as file:
        opened = Image.open(file)
        assert not opened.mode.startswith(("I", "F"))
        expected = opened.convert("RGB")
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("form", ["png", "jpeg", "bmp", "gif", "tiff", "ppm", "webp"])
def test_images(tmp_path, monkeypatch, form):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)  # or a flipped bit makes much work
    valid = {"rgb": encoded(form)}
    if form not in {"webp", "jpeg", "ppm"}:
        valid["palette"] = encoded(form, mode="P")
    if form in {"png", "tiff", "ppm", "jpeg"}:
        valid["grey"] = encoded(form, mode="L")
    if form == "png":
        valid["transparent"] = encoded(form, mode="RGBA")
        valid["transparent palette"] = encoded(form, mode="P", transparency=bytes(range(200)))
        valid["16 bits"] = _sixteen_bits()
    fuzz(
        form,
        valid,
        lambda path: Picture(path, str(path))(),
        tmp_path,
        right=as_torchvision_opens_it,
    )


def _sixteen_bits():
    buffer = io.BytesIO()
    Image.fromarray(np.arange(20, dtype="uint16").reshape(4, 5) * 3000).save(buffer, "png")
    return buffer.getvalue()


def same_numbers(path, classes):
    """The mapping that a plain parser finds."""
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix == ".json":
        expected = {name: int(number) for name, number in json.loads(text).items()}
    elif path.suffix == ".csv":
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        expected = {name: int(number) for name, number in rows if number.isdecimal()}
        assert len(expected) in {len(rows), len(rows) - 1}
    elif path.suffix == ".txt":
        lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        expected = {name: number for number, name in enumerate(lines)}
    else:
        assert all(name in text or "\\" in text or "'" in text for name in classes.numbers)
        expected = classes.numbers
    assert classes.numbers == expected
    assert len(set(expected.values())) == len(expected)


def test_class_maps(tmp_path):
    valid = {
        "a.json": b'{"cat": 0, "dog": 1, "1": 2}',
        "a.yaml": b"cat: 0\n'no': 1\ndog: 2\n01: 3\n",
        "a.csv": b'name,number\ncat,0\n"dog, small",1\n',
        "a.txt": "cat\ndog\nvache éléphant\n".encode(),
    }
    fuzz("class map", valid, lambda path: class_map(str(path)), tmp_path, right=same_numbers)
