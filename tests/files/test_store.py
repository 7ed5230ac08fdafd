from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tailcut.errors import StoreError
from tailcut.files.store import (
    SCHEMA,
    load_tensors,
    metadata_of,
    read_json,
    save_tensors,
    write_json,
    write_text,
)


def told(call, *args):
    with pytest.raises(StoreError) as caught:
        call(*args)
    return str(caught.value)


def test_json_comes_back_and_what_it_cannot_say_is_null(tmp_path):
    content = {
        "schema": SCHEMA,
        "rate": 0.4,
        "ranks": (1, 2),
        3: "key",
        "not finite": [float("nan"), float("inf"), -float("inf"), np.float32("nan")],
        "numpy": [np.int64(3), np.bool_(1), np.float64(0.5), np.arange(2)],
        "tensor": torch.tensor([[1.5, torch.nan]]),
        "none": None,
        "text": "é",
    }
    path = write_json(tmp_path / "result.json", content)
    assert read_json(path) == {
        "schema": SCHEMA,
        "rate": 0.4,
        "ranks": [1, 2],
        "3": "key",
        "not finite": [None] * 4,
        "numpy": [3, True, 0.5, [0, 1]],
        "tensor": [[1.5, None]],
        "none": None,
        "text": "é",
    }
    assert path.read_text(encoding="utf-8").endswith("}\n")


plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["[\n  1,\n  2\n]", "[1, 2]", "null", "1e5", "\\n", '"[\n1\n]"']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


free_keys = st.text().filter(lambda key: key not in {"schema", "sha256"})


@given(st.dictionaries(free_keys, plain_data, max_size=4))
def test_json_comes_back_whatever_its_texts_hold(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    assert read_json(write_json(path, content)) == content


def test_a_list_of_numbers_is_one_line_and_nothing_else_is_packed(tmp_path):
    content = {"numbers": [1, -2.5, 1e-30, None], "mixed": [1, "2"], "rows": [[1, 2], [3]], "e": []}
    path = write_json(tmp_path / "a.json", content)
    assert path.read_text() == (
        '{\n  "numbers": [1, -2.5, 1e-30, null],\n  "mixed": [\n    1,\n    "2"\n  ],\n'
        '  "rows": [\n    [1, 2],\n    [3]\n  ],\n  "e": []\n}\n'
    )


@pytest.mark.parametrize("schema", ["1", None, [1], True, {}])
def test_json_whose_schema_is_no_number_is_refused(tmp_path, schema):
    path = write_json(tmp_path / "result.json", {"schema": schema})
    assert told(read_json, path) == (
        f"{path} has schema {schema!r}; wanted schema {SCHEMA} or lower. Run the command again "
        "that wrote it."
    )


def test_json_of_a_later_schema_is_refused(tmp_path):
    path = write_json(tmp_path / "result.json", {"schema": SCHEMA + 1})
    assert told(read_json, path) == (
        f"{path} has schema {SCHEMA + 1}; wanted schema {SCHEMA} or lower. Update tailcut."
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('{"schema": 1,', "Expecting property name enclosed in double quotes"),
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("[1]", "but a list"),
    ],
)
def test_damaged_json_is_refused(tmp_path, text, cause):
    path = write_text(tmp_path / "result.json", text)
    message = told(read_json, path)
    assert message.startswith(f"{path} is not a JSON object ({cause}")
    assert message.endswith(
        "); wanted a file written by tailcut. Run the command again that wrote it."
    )


@pytest.mark.parametrize("reader", [read_json, load_tensors, metadata_of])
def test_a_file_that_is_not_there_is_named(tmp_path, reader):
    path = tmp_path / "absent.safetensors"
    assert told(reader, path) == f"no file at {path}; wanted a file to read. Check the path."


def test_tensors_come_back_bit_for_bit(tmp_path):
    base = torch.arange(12, dtype=torch.float64).reshape(3, 4)
    tensors = {
        "strided": base.T,
        "shared": base,
        "shared again": base,
        "half": torch.tensor([torch.nan, -0.0, 1 / 3]).half(),
        "whole": torch.tensor(7),
        "empty": torch.empty(0, 3),
    }
    path = save_tensors(tmp_path / "undo.safetensors", tensors, {"head": "fc"})
    back = load_tensors(path)
    assert {name: (t.shape, t.dtype) for name, t in back.items()} == {
        name: (t.shape, t.dtype) for name, t in tensors.items()
    }
    assert all(torch.equal(back[name], tensors[name]) for name in tensors if name != "half")
    assert torch.equal(back["half"].view(torch.int16), tensors["half"].view(torch.int16))
    assert metadata_of(path) == {"schema": str(SCHEMA), "head": "fc"}


@pytest.mark.parametrize("kept", [0, 4, 40, 0.5, 0.99])
@pytest.mark.parametrize("reader", [load_tensors, metadata_of])
def test_a_truncated_safetensors_file_is_refused(tmp_path, reader, kept):
    path = save_tensors(tmp_path / "cut.safetensors", {"weight": torch.ones(100)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    message = told(reader, path)
    assert message.startswith(f"{path} cannot be read (Error while deserializing header: ")
    assert message.endswith(
        "); wanted a whole safetensors or torch file. It is truncated or of another format: copy "
        "or save it again."
    )


def test_json_files_hold_no_nan_for_strict_readers(tmp_path):
    path = write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"x": None}


# --- checksums


def flips(content, step=1):
    """The content with one bit changed, at every byte or at some."""
    for place in range(0, len(content), step):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        yield bytes(changed)


RESULT = {"schema": SCHEMA, "verdict": "cut", "ranks": [1, 2], "nested": {"rate": 0.25}, "é": None}
TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1, 2])}


def test_a_flipped_bit_anywhere_in_json_is_noticed(tmp_path):
    path = write_json(tmp_path / "result.json", RESULT)
    for changed in flips(path.read_bytes()):
        path.write_bytes(changed)
        with pytest.raises(StoreError):
            read_json(path)


def test_a_flipped_bit_anywhere_in_tensors_is_noticed(tmp_path):
    path = save_tensors(tmp_path / "undo.safetensors", TENSORS, {"head": "fc"})
    for changed in flips(path.read_bytes()):
        path.write_bytes(changed)
        for reader in (load_tensors, metadata_of):
            with pytest.raises(StoreError):
                reader(path)


@pytest.mark.parametrize("reader", [load_tensors, metadata_of])
def test_a_changed_value_is_told_with_what_to_do(tmp_path, reader):
    path = save_tensors(tmp_path / "undo.safetensors", TENSORS)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert told(reader, path) == (
        f"{path} is not as tailcut wrote it: its checksum differs; wanted the same bytes. It is "
        "damaged or was edited: copy it again, or run the command again that wrote it."
    )


def test_parts_of_a_result_put_together_are_not_taken_for_one(tmp_path):
    path = write_json(tmp_path / "result.json", RESULT)
    whole, joined = path.read_text(), 0
    for start in range(1, len(whole)):
        for end in range(len(whole) - 40, len(whole)):
            path.write_text(whole[:start] + whole[end:])
            try:
                found = read_json(path)
            except StoreError:
                continue
            joined += found == RESULT
            assert found == RESULT or "schema" not in found
    assert joined >= 1  # the control: cut at one place, it is whole again


def test_a_header_of_which_every_mark_is_damaged_is_still_ours(tmp_path):
    path = save_tensors(tmp_path / "undo.safetensors", TENSORS)
    changed = path.read_bytes().replace(b"tailcut", b"tai|#ut").replace(b"schema", b"sc(ema")
    path.write_bytes(changed[:-1] + b"\x01")
    assert "its checksum differs" in told(load_tensors, path)


@pytest.mark.parametrize("key", ["config", "configs", "mailcut", "tailcu", "a"])
def test_json_in_a_header_of_others_is_not_ours(tmp_path, key):
    path = tmp_path / "theirs.safetensors"
    save_file(TENSORS, path, {key: json.dumps({"sha256": 64 * "a"})})
    if key == "mailcut":  # as near as this is too near
        assert "its checksum differs" in told(load_tensors, path)
    else:
        assert torch.equal(load_tensors(path)["weight"], TENSORS["weight"])


def test_an_edited_result_is_told_with_what_to_do(tmp_path):
    path = write_json(tmp_path / "result.json", RESULT)
    path.write_text(path.read_text().replace('"cut"', '"leave"'))
    assert told(read_json, path).startswith(f"{path} is not as tailcut wrote it: its checksum ")


def test_a_checksum_is_part_of_the_file_and_not_of_what_it_tells(tmp_path):
    json_path = write_json(tmp_path / "result.json", RESULT)
    assert read_json(json_path) == RESULT
    raw = json.loads(json_path.read_text())
    assert list(raw) == ["sha256", *RESULT]
    assert write_json(tmp_path / "again.json", raw).read_bytes() == json_path.read_bytes()
    path = save_tensors(tmp_path / "undo.safetensors", TENSORS, {"head": "fc"})
    with safe_open(path, "pt") as file:
        assert len(json.loads(file.metadata()["tailcut"])["sha256"]) == 64
    assert all(torch.equal(load_file(path)[name], TENSORS[name]) for name in TENSORS)


def test_files_of_others_have_no_checksum_and_are_read(tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file(TENSORS, path, {"schema": "9", "modelspec.hash_sha256": "0x" + 64 * "a"})
    assert metadata_of(path)["schema"] == "9"
    assert torch.equal(load_tensors(path)["weight"], TENSORS["weight"])
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"schema": SCHEMA, "verdict": "cut"}))
    assert read_json(path)["verdict"] == "cut"


def test_the_same_content_gives_the_same_bytes(tmp_path):
    told = {name: name for name in ("n", "head", "classes", "bias", "title", "width")}
    written = {
        save_tensors(tmp_path / f"{number}.safetensors", TENSORS, told).read_bytes()
        for number in range(8)
    }
    assert len(written) == 1
