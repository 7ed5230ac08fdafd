from __future__ import annotations

import errno
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from network_reference import same_state, small_cnn, state_of
from tailcut.errors import StoreError
from tailcut.network.store import (
    SCHEMA,
    load_checkpoint,
    load_tensors,
    load_weights,
    metadata_of,
    read_json,
    save_tensors,
    write_atomically,
    write_folder_atomically,
    write_json,
    write_text,
)

FULL_DISK = OSError(errno.ENOSPC, "No space left on device")
INTERRUPTIONS = [FULL_DISK, KeyboardInterrupt(), RuntimeError("mid-way"), MemoryError()]


def told(call, *args):
    with pytest.raises(StoreError) as caught:
        call(*args)
    return str(caught.value)


def interrupted(by):
    """A writer that stops half-way."""

    def write(place):
        file = place / "part" if place.is_dir() else place
        file.write_text("half")
        raise by

    return write


def folder_of(*names):
    def write(place):
        place.mkdir()
        for name in names:
            (place / name).write_text(name)

    return write


@pytest.mark.parametrize("by", INTERRUPTIONS, ids=lambda by: type(by).__name__)
@pytest.mark.parametrize("old", ["old", None])
def test_an_interrupted_file_leaves_the_old_one_and_no_litter(tmp_path, old, by):
    path = tmp_path / "result.json"
    if old is not None:
        path.write_text(old)
    with pytest.raises((type(by), StoreError)):
        write_atomically(path, interrupted(by))
    assert [file.name for file in tmp_path.iterdir()] == ([path.name] if old else [])
    assert old is None or path.read_text() == old


def test_a_writer_that_runs_out_of_disk_in_its_own_way_is_understood(tmp_path):
    path = tmp_path / "c.pt"
    assert told(write_atomically, path, interrupted(RuntimeError("unexpected pos 64 vs 0"))) == (
        f"{path} could not be written (unexpected pos 64 vs 0); wanted room on the disk and the "
        "right to write. Free some space, or write to another directory."
    )


def test_a_file_is_not_there_until_it_is_whole(tmp_path):
    path = tmp_path / "new" / "deep" / "result.json"

    def write(place):
        place.write_text("whole")
        assert not path.exists()

    assert write_atomically(path, write) == path
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("by", INTERRUPTIONS, ids=lambda by: type(by).__name__)
def test_an_interrupted_folder_leaves_the_old_one_and_no_litter(tmp_path, by):
    path = tmp_path / "repaired"
    write_folder_atomically(path, folder_of("old"))

    def write(place):
        place.mkdir()
        interrupted(by)(place)

    with pytest.raises(type(by)):
        write_folder_atomically(path, write)
    assert list(tmp_path.iterdir()) == [path]
    assert [file.name for file in path.iterdir()] == ["old"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path):
    path = tmp_path / "repaired"
    write_folder_atomically(path, folder_of("old"))
    with pytest.raises(FileNotFoundError):
        write_folder_atomically(path, lambda _: None)
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "repaired"
    write_folder_atomically(path, folder_of("old", "both"))
    assert write_folder_atomically(path, folder_of("new", "both")) == path
    assert sorted(file.name for file in path.iterdir()) == ["both", "new"]
    assert list(tmp_path.iterdir()) == [path]


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


@given(st.dictionaries(st.text().filter(lambda key: key != "schema"), plain_data, max_size=4))
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


@pytest.mark.parametrize("reader", [read_json, load_tensors, load_checkpoint, metadata_of])
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


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.9])
def test_a_truncated_torch_file_is_refused(tmp_path, share, zipped):
    path = tmp_path / "cut.pt"
    torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert told(load_tensors, path).startswith(f"{path} cannot be read (")


@pytest.mark.parametrize("text", ["hello world", "a,b\n1,2\n", "\x80\x01", "{}"])
def test_a_file_of_another_format_is_damaged_rather_than_dangerous(tmp_path, text):
    path = write_text(tmp_path / "weights.pt", text)
    message = told(load_tensors, path)
    assert message.startswith(f"{path} cannot be read (")
    assert "code" not in message


class Malicious:
    """What pickle calls when it loads one of these writes a file."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return exec, (f"open({str(self.place)!r}, 'w').close()",)


def torch_file(path, content):
    torch.save(content, path)


def plain_pickle(path, content):
    path.write_bytes(pickle.dumps(content))


def early_pickle(path, content):
    path.write_bytes(pickle.dumps(content, protocol=2))


def old_torch_file(path, content):
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [torch_file, old_torch_file, plain_pickle, early_pickle])
def test_a_pickle_with_code_is_refused_and_its_code_never_runs(tmp_path, write):
    path, proof = tmp_path / "model.pt", tmp_path / "proof"
    content = {"weight": torch.ones(2), "payload": Malicious(proof)}
    write(path, content if "torch" in write.__name__ else content["payload"])
    message = (
        f"{path} holds more than tensors, and loading it could run code; wanted a safetensors "
        "file, or a torch file of tensors only. Save the weights alone: "
        "torch.save(model.state_dict(), path)."
    )
    assert told(load_tensors, path) == message
    assert told(load_weights, nn.Linear(2, 2), path) == message
    assert not proof.exists()


def test_the_code_of_that_pickle_would_have_run(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "proof")))
    assert (tmp_path / "proof").exists()


def test_a_pickle_named_safetensors_is_not_unpickled(tmp_path):
    path, proof = tmp_path / "model.safetensors", tmp_path / "proof"
    torch.save({"payload": Malicious(proof)}, path)
    assert told(load_tensors, path).startswith(f"{path} cannot be read (")
    assert not proof.exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2), path)
    assert told(load_tensors, path).startswith(f"{path} holds more than tensors, ")


def test_other_torch_files_tell_what_they_hold(tmp_path):
    path = tmp_path / "numbers.pt"
    torch.save([1, 2], path)
    assert told(load_tensors, path) == (
        f"{path} holds a list that is not a dict of tensors; wanted a state_dict. Save the "
        "weights alone: torch.save(model.state_dict(), path)."
    )


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_weights_are_found_in_a_checkpoint(tmp_path, key):
    model, path = small_cnn(), tmp_path / "checkpoint.pt"
    state = state_of(model)
    torch.save(state if key is None else {key: state, "epoch": 3, "best": 0.9}, path)
    fresh = small_cnn()
    nn.init.zeros_(fresh[0].weight)
    assert load_weights(fresh, path) is fresh
    assert same_state(state_of(fresh), state)


def test_weights_keep_the_types_of_the_model(tmp_path):
    path = save_tensors(tmp_path / "half.safetensors", nn.Linear(2, 2).half().state_dict())
    assert load_weights(nn.Linear(2, 2), path).weight.dtype == torch.float32


def test_weights_that_do_not_fit_are_named_and_the_model_stays_as_it_was(tmp_path):
    model = small_cnn()
    before = state_of(model)
    other = {name: tensor + 1 for name, tensor in before.items() if not name.startswith("4.")}
    other |= {"9.weight": torch.ones(5, 8), "module.fc.weight": torch.ones(1)}
    path = save_tensors(tmp_path / "other.safetensors", other)
    assert told(load_weights, model, path) == (
        f"{path} does not fit Sequential: it lacks 4.bias, 4.num_batches_tracked, "
        "4.running_mean, 4.running_var and 1 more; has no use for module.fc.weight; has other "
        "shapes for 9.weight (5, 8) instead of (3, 8); wanted the state_dict of this very "
        "network. Check the model's name and number of classes, or the weights file."
    )
    assert same_state(state_of(model), before)


def test_a_damaged_weights_file_leaves_the_model_as_it_was(tmp_path):
    model, path = small_cnn(), tmp_path / "weights.pt"
    before = state_of(model)
    torch.save(small_cnn(5).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-300])
    told(load_weights, model, path)
    assert same_state(state_of(model), before)


def test_json_files_hold_no_nan_for_strict_readers(tmp_path):
    path = write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"x": None}
