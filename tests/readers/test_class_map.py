"""The file that numbers class names, and one numbering for all the data of a run."""

import json

import numpy as np
import pytest
from PIL import Image

import tailcut
from tailcut.cli import datasets as sources
from tailcut.readers.class_map import class_map
from tailcut.readers.classes import Classes


def written(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    return str(tmp_path / name)


def told(function, *arguments):
    with pytest.raises(tailcut.TailcutError) as error:
        function(*arguments)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"no": 0, "01": 1, "a, b": 2, "été": 3}'),
        ("a.json", '\ufeff{"no": "0", "a, b": "2", "01": "1", "été": "3"}'),
        ("a.yaml", "no: 0\n01: 1\na, b: 2\nété: 3\n"),
        ("a.YML", "{'no': 0, été: 3, 01: 1, 'a, b': 2}"),
        ("a.csv", 'name,label\nno,0\n01,1\n"a, b",2\nété,3\n'),
        ("a.csv", 'été,3\r\nno,0\r\n\r\n01,1\r\n"a, b",2'),
        ("a.txt", "no\n01\na, b\nété\n"),
        ("a.txt", "no\r\n01\r\na, b\r\nété"),
    ],
)
def test_every_form_says_the_same_and_no_name_is_taken_for_something_else(tmp_path, name, content):
    classes = class_map(written(tmp_path, name, content))
    assert classes.numbers == {"no": 0, "01": 1, "a, b": 2, "été": 3}
    assert classes.names == ("no", "01", "a, b", "été")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", '{"cat": 0, "cat": 1}', "has the name 'cat' 2 times"),
        ("a.json", '{"cat": 0, "dog": 0}', "has the number 0 2 times"),
        ("a.yaml", "cat: 0\ncat: 1\n", "has the name 'cat' 2 times"),
        ("a.csv", "cat,0\ncat,1\n", "has the name 'cat' 2 times"),
        ("a.txt", "cat\ndog\ncat\n", "has the name 'cat' 2 times"),
    ],
)
def test_a_class_or_a_number_twice_is_refused(tmp_path, name, content, why):
    path = written(tmp_path, name, content)
    assert told(class_map, path) == (
        f"{path} {why}; wanted one number for each class, and one class for each number. Correct "
        "the class map."
    )


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", '["cat", "dog"]', "no mapping of names to numbers"),
        ("a.json", '{"0": "cat"}', "'cat' is not a number"),
        ("a.json", '{"cat": 0.0}', "0.0 is not a number"),
        ("a.json", '{"cat": true}', "True is not a number"),
        ("a.json", '{"cat": {"a": 1}}', "[('a', 1)] is not a number"),
        ("a.yaml", "- cat\n- dog\n", "no mapping of names to numbers"),
        ("a.yaml", "cat: [0]\n", "a list or a mapping in the place of a name or a number"),
        ("a.csv", "cat,zero\ndog,1\n", "'zero' is not a number"),
        ("a.csv", "cat,0,x\n", "'cat,0,x' is not a name and a number"),
        ("a.csv", "cat,-1\n", "-1 is negative"),
        ("a.txt", "cat\n\ndog\n", "'' is not a name"),
    ],
)
def test_another_form_is_refused(tmp_path, name, content, why):
    path = written(tmp_path, name, content)
    assert told(class_map, path) == (
        f"'{path}' cannot be read ({why}); wanted a name and a number from 0 for each class. "
        "Correct the class map."
    )


def test_a_file_of_no_known_form_or_without_a_class_is_refused(tmp_path):
    path = written(tmp_path, "a.xlsx", "")
    assert told(class_map, path) == (
        f"the class map {path}; wanted a file that ends in .json, .yaml, .yml, .csv, .txt. Rename "
        "or convert it."
    )
    path = written(tmp_path, "a.txt", "")
    assert told(class_map, path) == (
        f"{path} is empty; wanted a name and a number from 0 for each class. Correct the class map."
    )


def test_a_map_that_leaves_numbers_out_numbers_but_names_no_row_of_classes():
    classes = Classes({"tench": 0, "church": 497}, "some.json", given=True)
    assert classes.names is None
    assert classes.number("church", "here") == 497


def test_a_class_map_of_integers_renumbers_integers(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=np.zeros((3, 2)), labels=[1, 2, 1])
    reading = sources.Reading(classes=Classes({"1": 0, "2": 1}, "map.json", given=True))
    assert sources.rows(f"npz:{tmp_path}/a.npz", reading).labels_N.tolist() == [0, 1, 0]


def test_a_number_that_may_mean_two_classes_is_refused(tmp_path):
    """Class folders 1, 10 and 2 are numbered 0, 1 and 2, as torchvision does."""
    folders(tmp_path / "train", ["1", "10", "2"])
    np.savez(tmp_path / "a.npz", inputs=np.zeros((2, 3, 4, 4), "uint8"), labels=[0, 1])
    words = [f"imagefolder:{tmp_path}/train", f"npz:{tmp_path}/a.npz"]
    assert told(sources.of_run, words, sources.Reading()) == (
        f"row 1 of {tmp_path}/a.npz has the label 1, which is the name of class 0 in the training "
        f"data {words[0]}; wanted labels of one meaning. Number every class by its name with "
        "--class-map FILE (name and number of each class)."
    )


def folders(root, names, images=2):
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(images):
            Image.new("RGB", (4, 4)).save(root / name / f"{number}.png")
    return f"imagefolder:{root}"


def numbers(rows):
    names = [key.partition("/")[0] for key in rows.keys]
    return list(zip(names, rows.labels_N.tolist(), strict=True))


def test_a_holdout_without_a_class_keeps_the_numbers_of_the_training_data(tmp_path):
    train = folders(tmp_path / "train", ["ape", "bee", "cat", "dog"], 1)
    holdout = folders(tmp_path / "holdout", ["ape", "cat", "dog"], 1)
    clean = folders(tmp_path / "clean", ["dog"], 1)
    found = sources.of_run([train, holdout, clean, None], sources.Reading())
    assert [numbers(rows) for rows in found[:3]] == [
        [("ape", 0), ("bee", 1), ("cat", 2), ("dog", 3)],
        [("ape", 0), ("cat", 2), ("dog", 3)],
        [("dog", 3)],
    ]
    assert {rows.class_names for rows in found[:3]} == {("ape", "bee", "cat", "dog")}
    assert found[3] is None
    assert sources.of_run([f"{train}[1:2]", holdout], sources.Reading())[1].labels_N.tolist() == [
        0,
        2,
        3,
    ]


def test_a_class_that_only_the_holdout_has_is_refused_by_name(tmp_path):
    train = folders(tmp_path / "train", ["ape", "cat"])
    holdout = folders(tmp_path / "holdout", ["ape", "bee"])
    assert told(sources.of_run, [train, holdout], sources.Reading()) == (
        f"{tmp_path}/holdout/bee/0.png is of the class 'bee'; wanted a class of the training data "
        f"{train}: ape, cat. Correct the name, or number it with --class-map FILE (name and "
        "number of each class)."
    )


def test_class_folders_beside_training_data_without_names_are_refused(tmp_path):
    holdout = folders(tmp_path / "holdout", ["ape", "bee"])
    np.savez(tmp_path / "a.npz", inputs=np.zeros((2, 3, 4, 4), "uint8"), labels=[0, 2])
    words = [f"npz:{tmp_path}/a.npz", holdout]
    assert told(sources.of_run, words, sources.Reading()) == (
        f"{tmp_path}/holdout has names of classes, and the training data has only numbers; wanted "
        "the number of each name. Give the numbers that the network was trained on with "
        "--class-map FILE (name and number of each class)."
    )
    given = sources.Reading(classes=Classes({"ape": 2, "bee": 0}, "map.json", given=True))
    assert sources.of_run(words, given)[1].labels_N.tolist() == [2, 2, 0, 0]


def test_a_class_map_numbers_class_folders_and_so_do_names_of_the_network(tmp_path):
    train = folders(tmp_path / "train", ["ape", "bee"], 1)
    for reading in (
        sources.Reading(classes=Classes({"bee": 0, "cat": 1, "ape": 2}, "map.json", given=True)),
        sources.Reading(network=Classes.ordered(["bee", "cat", "ape"], "the network")),
    ):
        rows = sources.of_run([train], reading)[0]
        assert numbers(rows) == [("ape", 2), ("bee", 0)]
        assert (rows.class_names, rows.class_count) == (("bee", "cat", "ape"), 3)
    other = sources.Reading(network=Classes.ordered(["a great ape", "bee"], "the network"))
    assert numbers(sources.of_run([train], other)[0]) == [("ape", 0), ("bee", 1)]


def test_files_that_name_their_classes_in_another_order_get_one_numbering(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    def parquet(name, names, labels):
        about = {"info": {"features": {"label": {"names": names}}}}
        table = pa.table({"text": ["x"] * len(labels), "label": labels})
        pq.write_table(
            table.replace_schema_metadata({"huggingface": json.dumps(about)}), tmp_path / name
        )
        return f"parquet:{tmp_path}/{name}"

    train = parquet("train", ["cat", "dog"], [0, 1])
    holdout = parquet("holdout", ["dog", "owl", "cat"], [0, 2])
    found = sources.of_run([train, holdout], sources.Reading())
    assert [rows.labels_N.tolist() for rows in found] == [[0, 1], [1, 0]]
    holdout = parquet("holdout", ["dog", "owl", "cat"], [0, 1])
    assert told(sources.of_run, [train, holdout], sources.Reading()).startswith(
        "row 1 of holdout is of the class 'owl'; wanted a class of the training data "
    )
