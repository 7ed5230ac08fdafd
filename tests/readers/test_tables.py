"""csv, tsv and parquet files with columns by name: odd texts, odd headers, missing labels."""

import codecs
import csv
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tailcut
from tailcut.cli import datasets as sources
from tailcut.readers.classes import Classes
from tailcut.readers.columns import Columns

FEELINGS = sources.Reading(classes=Classes({"bad": 0, "good": 1}, "feelings.txt", given=True))
SEPARATORS = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\xa0", "\ufeff"]


def written(tmp_path, content, kind):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"{kind}:{path}"


def told(word, reading=None):
    with pytest.raises(tailcut.TailcutError) as error:
        sources.rows(word, reading)
    return str(error.value)


def seen(word, reading=None):
    """The first part of the error, without the folder."""
    return told(word, reading).partition("; wanted ")[0].replace(word.partition(":")[2], "FILE")


def held(word, reading=None):
    rows = sources.rows(word, reading)
    assert rows.kind == "text"
    return list(zip(rows.items, rows.labels_N.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("header", ["text{}label\n", ""])
def test_no_separator_inside_a_text_ends_a_row(tmp_path, kind, header):
    mark = {"csv": ",", "tsv": "\t"}[kind]
    texts = [f"good{each}film" for each in SEPARATORS]
    content = header.format(mark) + "".join(f"{text}{mark}1\n" for text in texts)
    assert held(written(tmp_path, content, kind)) == [(text, 1) for text in texts]


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_table_of_any_form_says_the_same(tmp_path, kind):
    texts = ['she said "fine"', "café 😀", "", " two  blanks ", "it's 1", "NA", "null", "3"]
    frame = pd.DataFrame({"id": range(8), "Label": [0, 1] * 4, "sentence": texts})
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "csv":
        frame.to_csv(path, index=False)
    else:
        lines = ["id\tLabel\tsentence", *(f"{n}\t{n % 2}\t{text}" for n, text in enumerate(texts))]
        path.write_text("\r\n".join(lines), encoding="utf-8-sig")
    assert held(f"{kind}:{path}") == [(text, n % 2) for n, text in enumerate(texts)]


def test_a_byte_order_mark_is_no_part_of_the_first_name_or_text(tmp_path):
    for content in ("text,label\ngood,1\n", "good,1\n"):
        word = written(tmp_path, codecs.BOM_UTF8 + content.encode(), "csv")
        assert held(word) == [("good", 1)]


@pytest.mark.parametrize(
    ("encoding", "why"),
    [
        ("utf-16", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ("utf-16-le", "it holds the character NUL, as a binary or UTF-16 file does"),
        ("latin-1", "'utf-8' codec can't decode byte 0xe9 in position 14: invalid continuation"),
    ],
)
def test_another_encoding_is_refused_and_not_guessed(tmp_path, encoding, why):
    accent = "e" if encoding == "utf-16-le" else "é"
    word = written(tmp_path, "text,label\ncafé,1\n".replace("é", accent).encode(encoding), "csv")
    assert told(word).startswith(f"'{word}' cannot be read ({why}")


def test_quotes_of_a_csv_keep_commas_and_line_ends(tmp_path):
    texts = ['a,b\r\nc "d"', "x\ny", '"', 'he said ""']
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["text", "label"], *([text, 1] for text in texts)])
    assert held(written(tmp_path, buffer.getvalue(), "csv")) == [(text, 1) for text in texts]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('text,label\n"good" film,1\n', "line 2: ',' expected after '\"'"),
        ('text,label\n"good film,1\nbad,0\n', "line 3: unexpected end of data"),
    ],
)
def test_quotes_that_close_nothing_are_told_with_their_line(tmp_path, content, why):
    word = written(tmp_path, content, "csv")
    assert told(word) == (
        f"'{word}' cannot be read ({why}); wanted whole files of the form that the word names. "
        "Check the path and the form; parquet files and images need tailcut[images]."
    )


def test_a_quote_in_a_tsv_is_a_letter(tmp_path):
    texts = ['"good" film', 'the "end', '"', '"quoted"', 'say "it" "']
    content = "".join(f"{text}\t1\n" for text in texts)
    assert held(written(tmp_path, content, "tsv")) == [(text, 1) for text in texts]


@pytest.mark.parametrize(
    "rows",
    [
        [["good", 1], ['she said "fine"', 0]],
        [["good", 1], ["a\tb", 0]],
    ],
)
def test_a_tsv_in_quotes_is_refused(tmp_path, rows):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter="\t", lineterminator="\n").writerows(rows)
    word = written(tmp_path, buffer.getvalue(), "tsv")
    assert told(word) == (
        f"line 2 of {tmp_path}/a.tsv has quotes around a cell, as a csv writer puts them; wanted "
        "tab-separated cells without quotes around them. Write it with quoting=csv.QUOTE_NONE, "
        "or with commas and read it as csv:FILE."
    )


def test_a_tsv_with_every_cell_in_quotes_is_refused(tmp_path):
    word = written(tmp_path, '"text"\t"label"\n"good"\t"1"\n', "tsv")
    assert seen(word) == "line 1 of FILE has quotes around a cell, as a csv writer puts them"


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_first_row_that_is_data_is_never_dropped(tmp_path, kind):
    mark = {"csv": ",", "tsv": "\t"}[kind]
    for first in ("good film|1", "text|1", "label|0"):
        content = f"{first}\nbad film|0\n".replace("|", mark)
        assert len(held(written(tmp_path, content, kind))) == 2
    word = written(tmp_path, "great|good\nawful|bad\n".replace("|", mark), kind)
    assert told(word) == (
        f"the first row of {tmp_path}/a.{kind} is ['great', 'good']; wanted a header that names "
        "a column label, or a text and an integer label. Choose columns with --text-column and "
        "--label-column, or number the classes with --class-map FILE (name and number of each "
        "class)."
    )
    assert held(word, FEELINGS) == [("great", 1), ("awful", 0)]


def test_names_of_the_network_number_a_table_only_if_it_knows_them_all(tmp_path):
    network = sources.Reading(network=Classes.ordered(["bad", "good"], "the network"))
    word = written(tmp_path, "great,good\nawful,bad\n", "csv")
    rows = sources.rows(word, network)
    assert (rows.labels_N.tolist(), rows.class_names) == ([1, 0], ("bad", "good"))
    word = written(tmp_path, "great,good\nawful,worse\n", "csv")
    assert seen(word, network) == "line 1 of FILE has the label 'good'"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("text,label\ngood,\n", "line 2 of FILE has no label"),
        ('text,label\n"good\nfilm",1\nbad, \n', "line 4 of FILE has no label"),
        ("good,1\nbad,\n", "line 2 of FILE is ['bad', '']"),
        ("text,label\ngood,1\nbad\n", "line 3 of FILE has 1 cells, and the header has 2"),
        ("text,label\ngood,1\nbad, really,0\n", "line 3 of FILE has 3 cells, and the header has 2"),
        ("good,1\nbad, really,0\n", "FILE has 2 or 3 columns and no header"),
        ("1,good,1\n2,bad,0\n", "FILE has 3 columns and no header"),
        ("text,label\ngood,1.0\n", "line 2 of FILE has the label '1.0'"),
        ("text,label\ngood,01\n", "line 2 of FILE has the label '01'"),
        ("text,label\ngood,²\n", "line 2 of FILE has the label '²'"),
        ("text,label\ngood,٣\n", "line 2 of FILE has the label '٣'"),
        ("text,label\ngood,1\nbad,negative\n", "line 3 of FILE has the label 'negative'"),
        (
            "text,label\ngood,99999999999999999999\n",
            "line 2 of FILE has the label '99999999999999999999'",
        ),
        ("text,label\ngood,-1\n", "FILE has the label -1"),
        ("text,label\n", "FILE holds no row"),
        ("", "FILE is empty"),
        ("\n\n", "FILE is empty"),
        ("label,label\n0,1\n", "FILE has the columns ['label', 'label']"),
        ("text,label,labels\na,0,1\n", "FILE has the columns ['text', 'label', 'labels']"),
        ("text,sentence,label\na,b,1\n", "FILE has the columns ['text', 'sentence', 'label']"),
    ],
)
def test_rows_that_cannot_be_used_are_told_with_their_line(tmp_path, content, why):
    assert seen(written(tmp_path, content, "csv")) == why


def test_a_tsv_of_three_columns_without_a_header_is_not_read_as_two(tmp_path):
    word = written(tmp_path, "1\tgood\t1\n2\tbad\t0\n", "tsv")
    assert told(word) == (
        f"{tmp_path}/a.tsv has 3 columns and no header; wanted a header, or two columns: a text "
        "and a label. Write a first row with the names of the columns."
    )


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_columns_are_chosen_by_name(tmp_path, kind):
    frame = pd.DataFrame({"label": ["x", "y"], "review": ["great", "awful"], "stars": [1, 0]})
    path = tmp_path / f"a.{kind}"
    saved(frame, path)
    chosen = sources.Reading(Columns(text="review", label="stars"))
    assert held(f"{kind}:{path}", chosen) == [("great", 1), ("awful", 0)]
    missing = sources.Reading(Columns(text="review", label="rating"))
    assert "has the columns ['label', 'review', 'stars']; wanted one column of labels (rating)" in (
        told(f"{kind}:{path}", missing)
    )


def test_a_tsv_without_a_last_line_end_loses_no_row(tmp_path):
    lines = [f"text number {n} , isn 't it ?\t{n % 2}" for n in range(500)]
    word = written(tmp_path, "\n".join(lines), "tsv")
    assert [f"{text}\t{label}" for text, label in held(word)] == lines


def png(mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (4, 3), 200 if mode == "L" else (200, 100, 0)).save(buffer, "png")
    return buffer.getvalue()


def arrow(tmp_path, metadata=None, **columns):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return f"parquet:{path}"


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ([0, None], "row 1 of a.parquet has no label"),
        ([0.0, float("nan")], "row 1 of a.parquet has no label"),
        (["0", None], "row 1 of a.parquet has no label"),
        ([0.0, 1.0], "a.parquet has labels of type torch.float32"),
        ([True, False], "a.parquet has labels of type torch.bool"),
        ([[0], [1]], "a.parquet has labels of shape (2, 1)"),
        (["cat", "dog"], "row 0 of a.parquet has the label 'cat'"),
        (pa.array(["cat", "dog"]).dictionary_encode(), "row 0 of a.parquet has the label 'cat'"),
        (pa.array([0, 2**63], pa.uint64()), "row 1 of a.parquet has the label 9223372036854775808"),
        ([{"a": 1}, {"a": 2}], "a.parquet has labels that are not numbers, such as {'a': 1}"),
    ],
)
def test_labels_of_a_parquet_file_are_whole_and_there(tmp_path, column, why):
    assert seen(arrow(tmp_path, text=["a", "b"], label=column)) == why


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ([png(), None], "row 1 of a.parquet holds nothing in the column of the images"),
        ([png(), b""], "row 1 of a.parquet holds nothing in the column of the images"),
        (
            ["a.png", "b.png"],
            "row 0 of a.parquet names the image 'a.png', and there is no file {folder}/a.png",
        ),
        ([[1, 2], [3, 4]], "row 0 of a.parquet holds a list in the column of the images"),
        (
            [{"bytes": None, "path": "a.png"}] * 2,
            "row 0 of a.parquet names the image 'a.png', and there is no file {folder}/a.png",
        ),
        (
            [{"bytes": None, "path": None}] * 2,
            "row 0 of a.parquet holds a record of bytes, path without bytes or path in the column "
            "of the images",
        ),
    ],
)
def test_cells_that_hold_no_image_are_told(tmp_path, column, why):
    assert seen(arrow(tmp_path, image=column, label=[0, 1])) == why.format(folder=tmp_path)


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_a_table_of_any_form_may_name_the_files_of_its_images(tmp_path, kind):
    (tmp_path / "pictures").mkdir()
    for name, mode in (("a b.png", "RGB"), ("c.png", "L")):
        (tmp_path / "pictures" / name).write_bytes(png(mode))
    elsewhere = str(tmp_path / "pictures" / "c.png")
    frame = pd.DataFrame(
        {"file": ["pictures/a b.png", elsewhere], "image": ["x", "y"], "is": [1, 0]}
    )
    word = saved(frame, tmp_path / f"a.{kind}")
    rows = sources.rows(word, sources.Reading(Columns(image="file", label="is")))
    assert (rows.kind, rows.labels_N.tolist(), list(rows.keys)) == ("image", [1, 0], [0, 1])
    assert [np.asarray(rows[n][0])[0, 0].tolist() for n in (0, 1)] == [[200, 100, 0], [200] * 3]
    place = {"csv": "line 2", "tsv": "line 2", "jsonl": "line 1"}.get(kind, "row 0")
    where = "a.parquet" if kind == "parquet" else f"{tmp_path}/a.{kind}"
    assert told(word, sources.Reading(Columns(image="image", label="is"))) == (
        f"{place} of {where} names the image 'x', and there is no file {tmp_path}/x; wanted paths "
        "of images, from the folder of the table on. Move the table to where they start, or write "
        "whole paths into it."
    )


def saved(frame, path):
    """A table written as pandas writes its form."""
    kind = path.suffix[1:]
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind.startswith("json"):
        frame.to_json(path, orient="records", lines=kind == "jsonl")
    else:
        frame.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t"}[kind])
    return f"{kind}:{path}"


@pytest.mark.parametrize("column", [["a", None], [1, 2], [b"a", b"b"]])
def test_cells_that_hold_no_text_are_told(tmp_path, column):
    told = seen(arrow(tmp_path, text=column, label=[0, 1]))
    assert told.endswith("in the column of the texts")


def test_images_of_a_parquet_file_may_be_bytes_alone(tmp_path):
    rows = sources.rows(arrow(tmp_path, image=[png(), png()], label=[0, 1]))
    assert rows.kind == "image"
    assert np.asarray(rows[1][0])[0, 0].tolist() == [200, 100, 0]


def features(names):
    about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    return {"huggingface": json.dumps(about)}


def test_names_of_classes_come_from_the_schema(tmp_path):
    word = arrow(tmp_path, features(["cat", "dog", "owl"]), text=["a", "b"], label=[0, 1])
    rows = sources.rows(word)
    assert (rows.class_names, rows.class_count) == (("cat", "dog", "owl"), 3)
    word = arrow(tmp_path, features(["cat"]), text=["a", "b"], label=[0, 1])
    assert told(word) == (
        "row 1 of a.parquet has the label 1, but a.parquet names 1 classes; wanted labels 0..0. "
        "Write the file again with the names of all classes, or without any."
    )
    word = arrow(tmp_path, features(["cat", "cat"]), text=["a", "b"], label=[0, 1])
    assert "the names of the classes are ['cat', 'cat']" in told(word)
    word = arrow(tmp_path, {"huggingface": "no json"}, text=["a", "b"], label=[0, 1])
    assert "cannot be read" in told(word)


def test_rows_keep_their_numbers_in_the_file(tmp_path):
    word = written(tmp_path, "a,0\nb,1\nc,0\n", "csv")
    assert list(sources.rows(word).keys) == [0, 1, 2]
    assert list(sources.rows(f"{word}[1:]").keys) == [1, 2]
    assert list(sources.rows(f"{word}[-2:]").keys) == [1, 2]
    assert list(sources.rows(f"{word}[:-1]").keys) == [0, 1]
    assert list(sources.rows(f"{word}[-2:-1]").items) == ["b"]
    assert list(sources.rows(f"{word}[-9:]").keys) == [0, 1, 2]
    assert seen(f"{word}[-1:1]") == "'csv:FILE' has no rows: there are 3"
