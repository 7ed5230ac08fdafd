"""Damaged checkpoints, results, spectra and runs: read rightly or refused."""

import argparse
import json
import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file, save
from torch import nn

import tailcut
from fuzz.harness import fuzz
from tailcut.files import store
from tailcut.network.checkpoints import states_in
from tailcut.network.weights import load_weights
from tailcut.verbs import runs
from verbs.kills import made, plain, same

torch.manual_seed(0)
STATE = nn.Linear(4, 3).state_dict()
OTHER = nn.Linear(4, 3).state_dict()
CONTENTS = {
    "state.pt": STATE,
    "checkpoint.pt": {"state_dict": OTHER, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
    "module.pt": {"model": {f"module.{name}": tensor for name, tensor in STATE.items()}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model, fix = made(plain, 2)
    return model, fix, fix.save(tmp_path_factory.mktemp("run") / "run")


def linear(path):
    """The weights as a network gets them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_weights(nn.Linear(4, 3), path).state_dict()


def one_of(*states):
    def right(path, found):
        assert any(same(found, state) for state in states), path

    return right


def test_fuzzed_checkpoints(tmp_path):
    """Zip files, which hold checksums: what is read is what was written."""
    valid = {}
    for name, content in CONTENTS.items():
        torch.save(content, tmp_path / name)
        valid[name] = (tmp_path / name).read_bytes()
    fuzz("checkpoints", valid, linear, tmp_path, right=one_of(STATE, OTHER))


def test_fuzzed_checkpoints_of_early_torch(tmp_path):
    """Pickles, which hold none: what is read is what torch reads, without running anything."""
    valid = {}
    for name, content in CONTENTS.items():
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=False)
        valid[name] = (tmp_path / name).read_bytes()

    def right(path, found):
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = torch.load(path, map_location="cpu", weights_only=True)
        state = theirs.get("state_dict", theirs.get("model", theirs))
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        assert all(torch.equal(found[name], state[name].float()) for name in found)

    fuzz("early checkpoints", valid, linear, tmp_path, right=right)


def test_fuzzed_safetensors_of_others(tmp_path):
    """Without a checksum of ours: what is read is what safetensors reads."""
    valid = {"a.safetensors": save(STATE, {"format": "pt"}), "b.safetensors": save(OTHER)}

    def right(path, found):
        theirs = load_file(path)
        assert found.keys() == theirs.keys()
        assert all(torch.equal(t.isnan(), theirs[name].isnan()) for name, t in found.items())
        assert all(
            torch.equal(t.nan_to_num(), theirs[name].nan_to_num()) for name, t in found.items()
        )

    fuzz("safetensors of others", valid, lambda path: states_in(path)[""], tmp_path, right=right)


def test_fuzzed_safetensors_of_ours(tmp_path):
    valid = {}
    for name, state in {"a": STATE, "b": OTHER}.items():
        path = store.save_tensors(tmp_path / f"{name}.safetensors", state, {"head": "fc"})
        valid[path.name] = path.read_bytes()
    fuzz("safetensors", valid, store.load_tensors, tmp_path, right=one_of(STATE, OTHER))


def test_fuzzed_shard_lists(tmp_path):
    index = {"metadata": {"total_size": 60}, "weight_map": {"weight": "w.pt", "bias": "b.pt"}}
    torch.save({"weight": STATE["weight"]}, tmp_path / "w.pt")
    torch.save({"bias": STATE["bias"]}, tmp_path / "b.pt")
    valid = {"m.index.json": json.dumps(index).encode()}
    fuzz("shard lists", valid, linear, tmp_path, right=one_of(STATE))


def test_fuzzed_results(run, tmp_path):
    _, fix, place = run
    valid = {"result.json": (place / "result.json").read_bytes()}

    def right(path, found):
        for name in ("files", "load"):  # of the run, not of what was found
            found.pop(name, None)
        assert found == fix.summary

    fuzz("results", valid, lambda path: runs.result(path.parent)[0], tmp_path, right=right)


def test_fuzzed_reports(run, tmp_path):
    """Of results without a checksum, as an earlier release wrote them: a page or a refusal."""
    old = json.dumps(run[1].summary, indent=2).encode()

    def right(path, found):
        assert found.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    def read(path):
        return runs.write_again(path.parent)

    fuzz("reports", {"result.json": old}, read, tmp_path, right=right)


def test_fuzzed_spectra(run, tmp_path):
    _, fix, place = run
    valid = {"spectrum.safetensors": (place / "spectrum.safetensors").read_bytes()}

    def right(path, found):
        spectrum, head = found
        assert head == fix.head
        assert spectrum.n == fix.spectrum.n
        assert torch.equal(spectrum.basis_DD, fix.spectrum.basis_DD)

    fuzz("spectra", valid, runs.load_spectrum, tmp_path, right=right)


def test_fuzzed_runs(run, tmp_path):
    """Any file of a run: load gives the whole run, with its undo, or refuses."""
    model, fix, place = run
    kept = [path for path in place.iterdir() if path.suffix in {".safetensors", ".json"}]
    valid = {path.name: path.read_bytes() for path in kept}

    def read(path):
        for name in valid:
            if name != path.name:
                shutil.copy(place / name, tmp_path / name)
        return tailcut.load(tmp_path, model)

    def right(path, found):
        assert found.summary == fix.summary
        assert same(found.model.state_dict(), fix.model.state_dict())
        assert same(found.undo().state_dict(), model.state_dict())

    fuzz("runs", valid, read, tmp_path, right=right)
