"""json and jsonl files: lists of records and one record in each line."""

import json

import pandas as pd
import pytest

import tailcut
from tailcut.cli import datasets as sources
from tailcut.readers.classes import Classes
from tailcut.readers.columns import Columns

TEXTS = ['she said "fine"', "café 😀", "", "two\nlines", "2020-01-01", "NA", "null", "3"]


def told(word, reading=None):
    with pytest.raises(tailcut.TailcutError) as error:
        sources.rows(word, reading)
    return str(error.value)


def written(tmp_path, content, kind="jsonl"):
    path = tmp_path / f"a.{kind}"
    path.write_text(content, encoding="utf-8")
    return f"{kind}:{path}"


@pytest.mark.parametrize("word", ["json", "jsonl"])
@pytest.mark.parametrize("lines", [True, False])
def test_what_pandas_writes_is_read_back_whatever_the_word(tmp_path, word, lines):
    frame = pd.DataFrame({"id": range(8), "Label": [0, 1] * 4, "sentence": TEXTS})
    frame.to_json(tmp_path / "a", orient="records", lines=lines)
    rows = sources.rows(f"{word}:{tmp_path}/a")
    assert (list(rows.items), rows.labels_N.tolist()) == (TEXTS, [0, 1] * 4)
    assert (rows.kind, list(rows.keys)) == ("text", list(range(8)))


def test_what_the_hugging_face_library_writes_is_read_back(tmp_path):
    import datasets

    datasets.disable_progress_bars()
    table = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 4})
    table.to_json(str(tmp_path / "a.json"))
    assert list(sources.rows(f"json:{tmp_path}/a.json").items) == TEXTS


def test_names_are_numbered_by_a_class_map_and_told_with_their_line_without(tmp_path):
    word = written(tmp_path, '{"text": "great", "label": "good"}\n\n{"text": "no", "label": "bad"}')
    classes = Classes({"bad": 0, "good": 1}, "map.json", given=True)
    assert sources.rows(word, sources.Reading(classes=classes)).labels_N.tolist() == [1, 0]
    classes = Classes({"good": 1, "fine": 0}, "map.json", given=True)
    assert told(word, sources.Reading(classes=classes)).startswith(
        f"line 3 of {tmp_path}/a.jsonl is of the class 'bad'; wanted a class of map.json"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b"}\n', "line 2 of FILE has no label"),
        (
            '{"text": "a", "label": 1}\n{"label": 0}\n',
            "line 2 of FILE holds nothing in the column of the texts",
        ),
        (
            '[{"text": "a", "label": 1}, {"text": 5, "label": 0}]',
            "row 1 of FILE holds a int in the column of the texts",
        ),
        ('[{"text": "a", "label": 1}, [1, 2]]', "row 1 of FILE is a list"),
        ("", "FILE is empty"),
        ("[]", "FILE is empty"),
        (
            '{"text": "a", "stars": 1}',
            "FILE has the columns ['text', 'stars']",
        ),
        (
            '{"text": ["a"], "label": [1]}\n',
            "line 1 of FILE holds a list in the column of the texts",
        ),
        ('{"text": "a", "label": true}\n', "FILE has labels of type torch.bool"),
        ('{"text": "a", "label": 1.0}\n', "FILE has labels of type torch.float32"),
        ('{"text": "a", "label": NaN}\n', "line 1 of FILE has no label"),
    ],
)
def test_records_that_cannot_be_used_are_told_with_their_place(tmp_path, content, why):
    told_of = told(written(tmp_path, content)).partition("; wanted ")[0]
    assert told_of.replace(f"{tmp_path}/a.jsonl", "FILE") == why


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b", "la', "line 2: Unterminated string"),
        ('[{"text": "a", "label": 1}, {"text', "Unterminated string"),
        ('{"text": "a", "text": "b", "label": 1}', "line 1: the name 'text' stands twice in a"),
        ("[" * 100000, "too many levels of brackets"),
    ],
)
def test_a_damaged_file_is_told(tmp_path, content, why):
    message = told(written(tmp_path, content))
    assert message.startswith(f"'jsonl:{tmp_path}/a.jsonl' cannot be read ({why}")
    assert message.endswith("parquet files and images need tailcut[images].")


def test_a_chosen_column_of_any_record_counts(tmp_path):
    records = [{"a": 1, "label": 0}, {"review": "late", "a": 2, "label": 1}]
    word = written(tmp_path, json.dumps(records))
    assert told(word, sources.Reading(Columns(text="review"))).startswith(
        f"row 0 of {tmp_path}/a.jsonl holds nothing in the column of the texts; "
    )
