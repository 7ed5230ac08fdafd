"""Checkpoints of others are read, and nothing in them is run."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import io
import pathlib
import pickle
import types
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tailcut.errors import StoreError
from tailcut.files.store import write_text
from tailcut.network.checkpoints import load_checkpoint, states_in
from tailcut.network.weights import load_weights


def told(call, *args):
    with pytest.raises(StoreError) as caught:
        call(*args)
    return str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.9])
def test_a_truncated_torch_file_is_refused(tmp_path, share, zipped):
    path = tmp_path / "cut.pt"
    torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert told(states_in, path).startswith(f"{path} cannot be read (")


@pytest.mark.parametrize("text", ["hello world", "a,b\n1,2\n", "\x80\x01", "{}"])
def test_a_file_of_another_format_is_damaged_rather_than_dangerous(tmp_path, text):
    path = write_text(tmp_path / "weights.pt", text)
    message = told(states_in, path)
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
    assert told(states_in, path) == message
    assert told(load_weights, nn.Linear(2, 2), path) == message
    assert not proof.exists()


def test_the_code_of_that_pickle_would_have_run(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "proof")))
    assert (tmp_path / "proof").exists()


def test_a_pickle_named_safetensors_is_not_unpickled(tmp_path):
    path, proof = tmp_path / "model.safetensors", tmp_path / "proof"
    torch.save({"payload": Malicious(proof)}, path)
    assert told(states_in, path).startswith(f"{path} cannot be read (")
    assert not proof.exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2), path)
    assert told(states_in, path).startswith(f"{path} holds more than tensors, ")


def test_other_torch_files_tell_what_they_hold(tmp_path):
    path = tmp_path / "numbers.pt"
    torch.save([1, 2], path)
    assert told(states_in, path) == (
        f"{path} holds a list that is not a dict of tensors; wanted a state_dict. Save the "
        "weights alone: torch.save(model.state_dict(), path)."
    )


# --- what lies beside the weights

WEIGHTS = {"weight": torch.eye(2), "bias": torch.tensor([1.0, 2.0])}
BESIDE = {
    "argparse options": argparse.Namespace(lr=0.1, out=pathlib.Path("runs"), sizes=[1, 2]),
    "a path": pathlib.PurePosixPath("runs/x"),
    "a path of Windows": pathlib.PureWindowsPath("C:/runs"),
    "numpy numbers": {"best": np.float64(0.9), "epoch": np.int32(3)},
    "a numpy array": np.arange(3.0),
    "a defaultdict": collections.defaultdict(list, {"loss": [0.1, 0.2]}),
    "a time": (dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc), dt.timedelta(seconds=3)),
    "a namespace": types.SimpleNamespace(lr=0.1),
    "an ordered dict": collections.OrderedDict(a=1),
}


@pytest.mark.parametrize("write", [torch.save, "legacy"])
@pytest.mark.parametrize("kind", BESIDE)
def test_options_and_numbers_beside_the_weights_are_no_hindrance(tmp_path, kind, write):
    path = tmp_path / "last.pt"
    content = {"args": BESIDE[kind], "state_dict": WEIGHTS, "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=write == torch.save)
    found = states_in(path)
    assert list(found) == ["state_dict"]
    assert all(torch.equal(found["state_dict"][name], WEIGHTS[name]) for name in WEIGHTS)
    assert load_checkpoint(path)["epoch"] == 3


def test_weights_in_a_defaultdict_are_weights(tmp_path):
    path = tmp_path / "last.pt"
    torch.save(collections.defaultdict(dict, WEIGHTS), path)
    assert set(states_in(path)[""]) == set(WEIGHTS)


class MaliciousNamespace(argparse.Namespace):
    """Looks like options, and is a call."""

    def __reduce__(self):
        return exec, (f"open({self.proof!r}, 'w').close()",)


class Calls:
    """Calls what it is given when it is loaded."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("place", ["beside", "inside options", "as a value of numpy"])
def test_code_beside_good_weights_never_runs_and_the_file_is_refused(tmp_path, place):
    path, proof = tmp_path / "last.pt", tmp_path / "proof"
    bad = MaliciousNamespace(proof=str(proof))
    beside = {"beside": bad, "inside options": argparse.Namespace(bad=bad)}.get(place, [bad])
    torch.save({"state_dict": WEIGHTS, "args": beside}, path)
    assert told(states_in, path).startswith(f"{path} holds more than tensors, and loading it could")
    assert not proof.exists()


@pytest.mark.parametrize(
    "call", [pathlib.Path.touch, print, eval, getattr, np.load, torch.load, nn.Linear]
)
def test_no_other_call_is_let_through(tmp_path, call):
    path = tmp_path / "last.pt"
    torch.save({"state_dict": WEIGHTS, "x": Calls(call, str(tmp_path / "proof"))}, path)
    assert "loading it could run code" in told(states_in, path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_script_is_told_how_to_get_at_its_weights(tmp_path):
    path, other = tmp_path / "scripted.pt", tmp_path / "weights.pt"
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    path.write_bytes(buffer.getvalue())
    assert told(states_in, path) == (
        f"{path} is a TorchScript archive, which is code; wanted a safetensors file, or a torch "
        "file of tensors only. Save the weights alone: "
        "torch.save(torch.jit.load(path).state_dict(), other_path)."
    )
    torch.save(torch.jit.load(path).state_dict(), other)
    load_weights(nn.Linear(2, 2), other)


# --- damage


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_flipped_bit_in_the_numbers_of_a_torch_file_is_noticed(tmp_path, share):
    path = tmp_path / "last.pt"
    torch.save({"a": torch.ones(1000), "b": torch.zeros(1000)}, path)
    changed = bytearray(path.read_bytes())
    changed[int(share * len(changed))] ^= 4
    path.write_bytes(changed)
    torch.load(path, weights_only=True)  # the control: torch does not mind
    message = told(states_in, path)
    assert message.startswith(f"{path} cannot be read (Bad CRC-32 for file '")


def test_a_part_that_is_marked_as_a_folder_is_damage(tmp_path):
    """torch would take what lies in memory for its content."""
    path = tmp_path / "last.pt"
    torch.save({"a": torch.ones(1000)}, path)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"last/data/0") - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + 38] |= 0x10
    path.write_bytes(content)
    assert told(states_in, path) == (
        f"{path} cannot be read ('last/data/0' is marked as a folder); wanted a whole safetensors "
        "or torch file. It is truncated or of another format: copy or save it again."
    )


def test_an_early_file_of_which_torch_leaves_out_the_numbers_is_damage(tmp_path):
    """torch would take what lies in memory for them."""
    path = tmp_path / "last.pt"
    torch.save({"a": torch.ones(10)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    keys = content.rindex(b"\x80\x02]")  # the list of storages that follow
    path.write_bytes(content[: keys + 3] + b"." + content[keys + 4 :])
    assert told(states_in, path).startswith(
        f"{path} cannot be read (torch does not read all of it); "
    )


def test_another_zip_file_is_no_checkpoint(tmp_path):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert told(states_in, path).startswith(f"{path} cannot be read (")


# --- several files


def test_shards_named_by_an_index_are_one_state(tmp_path):
    save_file({"weight": WEIGHTS["weight"]}, tmp_path / "model-1.safetensors")
    torch.save({"bias": WEIGHTS["bias"]}, tmp_path / "model-2.bin")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"weight": "model-1.safetensors", "bias": "model-2.bin"}}')
    assert torch.equal(load_weights(nn.Linear(2, 2), index).bias, WEIGHTS["bias"])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('{"weight_map": {"weight": "../a.safetensors"}}', "a shard '../a.safetensors' in another"),
        ('{"weight_map": {"weight": "a.safetensors", "b": "a.safetensors"}}', "no shard holds 'b'"),
        ("{}", "no index of shards: 'weight_map'"),
        ("[]", "no index of shards: list indices"),
        ('{"weight_map": 3}', "no index of shards: 'int' object"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(tmp_path, text, cause):
    save_file({"weight": WEIGHTS["weight"]}, tmp_path / "a.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(text)
    path = tmp_path / "model.safetensors.index.json"
    assert told(states_in, path).startswith(f"{path} cannot be read ({cause}")


def test_a_folder_is_no_file_and_its_weights_are_named(tmp_path):
    assert told(states_in, tmp_path) == (
        f"{tmp_path} is a folder; wanted a file of weights. Check the path."
    )
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    assert told(states_in, tmp_path).endswith("Name one of them: model.safetensors.")


def test_safetensors_under_another_name_are_read(tmp_path):
    save_file(WEIGHTS, tmp_path / "weights.bin")
    assert set(states_in(tmp_path / "weights.bin")[""]) == set(WEIGHTS)


@pytest.mark.parametrize("reader", [load_checkpoint, states_in])
def test_a_file_that_is_not_there_is_named(tmp_path, reader):
    path = tmp_path / "absent.pt"
    assert told(reader, path) == f"no file at {path}; wanted a file to read. Check the path."
