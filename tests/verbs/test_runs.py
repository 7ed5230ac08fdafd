"""A run's folder changes as one, and load takes nothing that is not of one run."""

import json
import os
import resource
import shutil
import stat
import sys
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

import tailcut
from tailcut.cli.main import main
from tailcut.errors import TailcutWarning
from tailcut.files import whole as files
from tailcut.verbs import runs
from verbs.kills import INPUTS, LABELS, Hub, made, names, plain, same

# of Python 3.12 on, as torch has threads; the child uses none
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

FILES = [
    "candidates.csv",
    "curve.csv",
    "repaired.safetensors",
    "report.html",
    "result.json",
    "spectrum.safetensors",
    "undo.safetensors",
]
PARTS = ["repaired.safetensors", "spectrum.safetensors", "undo.safetensors"]


@pytest.fixture(scope="module")
def one():
    return made(plain, 2)


@pytest.fixture(scope="module")
def two():
    return made(plain, 1)


@pytest.fixture(scope="module")
def hub():
    return made(Hub, 2)


def told(call, *args):
    with pytest.raises(tailcut.StoreError) as caught:
        call(*args)
    return str(caught.value)


def flip(path, share=0.5):
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 1
    path.write_bytes(content)


# --- as one


@pytest.mark.parametrize("part", PARTS)
def test_a_file_of_another_run_is_refused(one, two, tmp_path, part):
    one[1].save(tmp_path / "a")
    two[1].save(tmp_path / "b")
    shutil.copy(tmp_path / "a" / part, tmp_path / "b" / part)
    assert told(tailcut.load, tmp_path / "b", two[0]) == (
        f"{tmp_path}/b/{part} is not the file of this run; wanted all files that result.json "
        "names, as they were written together. It is damaged, or of another run: copy the "
        "directory again, or repeat the repair."
    )


def test_a_result_of_another_run_is_refused(one, two, tmp_path):
    one[1].save(tmp_path / "a")
    two[1].save(tmp_path / "b")
    shutil.copy(tmp_path / "a" / "result.json", tmp_path / "b")
    assert "is not the file of this run" in told(tailcut.load, tmp_path / "b", two[0])


@pytest.mark.parametrize("part", PARTS)
def test_a_file_that_is_gone_is_named(one, tmp_path, part):
    (one[1].save(tmp_path) / part).unlink()
    assert told(tailcut.load, tmp_path).startswith(f"no file at {tmp_path}/{part}; wanted all fil")


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.9, 1])
@pytest.mark.parametrize("part", [*PARTS, "result.json"])
def test_a_flipped_bit_in_a_run_is_noticed(one, tmp_path, part, share):
    flip(one[1].save(tmp_path) / part, share)
    told(tailcut.load, tmp_path, one[0])


def test_a_flipped_bit_in_a_folder_of_a_network_that_saves_itself_is_noticed(hub, tmp_path):
    model, fix = hub
    fix.save(tmp_path)
    back = tailcut.load(tmp_path, model)
    assert same(back.model.state_dict(), fix.model.state_dict())
    assert same(back.undo().state_dict(), model.state_dict())
    flip(tmp_path / "repaired" / "model.safetensors", 1)
    assert "model.safetensors is not the file of this run" in told(tailcut.load, tmp_path, model)


@pytest.mark.parametrize("name", ["candidates.csv", "curve.csv", "report.html"])
def test_tables_and_pages_that_were_changed_are_told_and_can_be_written_again(
    one, tmp_path, name, capsys
):
    before = (one[1].save(tmp_path) / name).read_bytes()
    flip(tmp_path / name)
    with pytest.warns(TailcutWarning) as caught:
        tailcut.load(tmp_path, one[0])
    assert str(caught[0].message) == (
        f"{tmp_path}/{name} is not as it was written; tailcut report {tmp_path} writes it again"
    )
    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / name).read_bytes() == before
    tailcut.load(tmp_path, one[0])


def test_a_table_that_was_thrown_away_is_no_hindrance(one, tmp_path):
    (one[1].save(tmp_path) / "curve.csv").unlink()
    assert tailcut.load(tmp_path, one[0]).verdict == "cut"


# --- over an old run


def test_a_new_run_takes_the_place_of_the_old_and_others_files_stay(one, hub, tmp_path):
    hub[1].save(tmp_path, config="seed: 1\n")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "repaired" / "notes.txt").write_text("mine too")
    (tmp_path / "checkpoint.pt").write_text("theirs")
    one[1].save(tmp_path)
    wanted = [*FILES, "checkpoint.pt", "notes.txt", "repaired", "repaired/notes.txt"]
    assert names(tmp_path) == set(wanted)
    back = tailcut.load(tmp_path, one[0])
    assert same(back.model.state_dict(), one[1].model.state_dict())


def test_a_file_of_the_old_run_that_somebody_changed_stays(one, hub, tmp_path):
    hub[1].save(tmp_path, config="seed: 1\n")
    (tmp_path / "config.yaml").write_text("seed: 2\n")
    one[1].save(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "seed: 2\n"


def test_a_folder_in_the_place_of_a_file_stops_the_save_before_it_changes_anything(one, tmp_path):
    (tmp_path / "undo.safetensors").mkdir()
    (tmp_path / "undo.safetensors" / "mine").touch()
    before = names(tmp_path)
    assert told(one[1].save, tmp_path) == (
        f"{tmp_path}/undo.safetensors is a folder; wanted a place for the file of that name. Move "
        "it away, or write to another directory."
    )
    assert names(tmp_path) == before


def test_a_file_in_the_place_of_a_folder_stops_the_save_too(hub, tmp_path):
    (tmp_path / "repaired").write_text("mine")
    assert told(hub[1].save, tmp_path).startswith(
        f"{tmp_path}/repaired is a file; wanted a place for"
    )
    assert names(tmp_path) == {"repaired"}


def test_the_same_repair_gives_the_same_bytes_with_ordinary_permissions(one, hub, tmp_path):
    usual = os.umask(0o027)
    try:
        for fix, kind in ((one[1], "plain"), (hub[1], "hub")):
            first, second = (fix.save(tmp_path / f"{kind}-{each}") for each in "ab")
            assert names(first) == names(second)
            for name in names(first):
                path = first / name
                mode = stat.S_IMODE(path.stat().st_mode)
                assert mode == (0o750 if path.is_dir() else 0o640), name
                assert path.is_dir() or path.read_bytes() == (second / name).read_bytes(), name
    finally:
        os.umask(usual)


def test_a_full_disk_half_way_leaves_the_old_run_and_no_litter(one, two, tmp_path):
    """A limit on the size of a file is what the system refuses as it refuses a full disk."""
    one[1].save(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    for limit in (100, 1000, 4000):
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                two[1].save(tmp_path)
            except (OSError, tailcut.StoreError):
                os._exit(3)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_an_old_save_that_was_decided_is_completed_by_whoever_looks_next(
    one, two, tmp_path, monkeypatch
):
    one[1].save(tmp_path)
    monkeypatch.setattr(files, "_finish", lambda *_: None)
    two[1].save(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / ".tailcut-commit").is_dir()
    back = tailcut.load(tmp_path, two[0])
    assert same(back.undo().state_dict(), two[0].state_dict())
    assert names(tmp_path) == set(FILES) - {"curve.csv"}


def test_two_who_complete_the_same_save_do_not_mind_each_other(one, tmp_path, monkeypatch):
    finish = files._finish
    monkeypatch.setattr(files, "_finish", lambda *_: None)
    one[1].save(tmp_path)

    def after_another(folder, committed):
        finish(folder, committed)
        finish(folder, committed)

    monkeypatch.setattr(files, "_finish", after_another)
    assert same(tailcut.load(tmp_path, one[0]).undo().state_dict(), one[0].state_dict())
    assert names(tmp_path) == set(FILES)


def test_a_save_that_cannot_be_completed_is_no_run(one, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_finish", lambda *_: None)
    one[1].save(tmp_path)

    def read_only(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_finish", read_only)
    assert told(tailcut.load, tmp_path) == (
        f"a save into {tmp_path} was cut off and cannot be completed (Permission denied); wanted "
        "the right to write there, and space on the disk. Make the folder writable, or load a "
        "copy of it that is."
    )


# --- what load refuses


def test_a_run_that_names_files_outside_its_folder_is_refused(one, tmp_path):
    (tmp_path / "mine").touch()
    place = one[1].save(tmp_path / "run")
    result = json.loads((place / "result.json").read_text())
    for name in ("../mine", "/etc/hostname", "a/../../mine"):
        files_of = {**result["files"], name: "0"}
        runs.store.write_json(place / "result.json", {**result, "files": files_of})
        assert told(tailcut.load, place) == (
            f"{place}/result.json names files outside {place}; wanted the files of a run. Do not "
            "use it, unless you know who wrote it."
        )
    one[1].save(place)
    assert (tmp_path / "mine").exists()


def test_what_is_no_repair_is_not_loaded(one, tmp_path):
    summary = dict(one[1].summary)
    runs.write(tmp_path / "diagnosis", summary)
    runs.store.write_json(tmp_path / "training" / "result.json", {"schema": 1, "fit": 1.0})
    for name in ("diagnosis", "training"):
        assert told(tailcut.load, tmp_path / name) == (
            f"{tmp_path}/{name} holds no repair; wanted a directory that Repair.save or tailcut "
            "repair wrote. Name another directory, or run the repair again."
        )


def test_a_network_of_other_types_is_refused(one, tmp_path):
    one[1].save(tmp_path)
    half = plain().half()
    assert told(tailcut.load, tmp_path, half) == (
        f"{tmp_path}/repaired.safetensors holds '0.bias' as torch.float32, the network as "
        "torch.float16; wanted a network of the types that the repaired one has. Load into a "
        "network of those types, and convert the result."
    )
    tailcut.load(tmp_path, half.float())


def test_a_network_of_another_class_is_refused(one, hub, tmp_path):
    hub[1].save(tmp_path)
    assert told(tailcut.load, tmp_path, one[0]) == (
        f"{tmp_path}/repaired does not load as Sequential (that class has no from_pretrained); "
        "wanted the whole folder of a network of that class. Pass a network of the class that was "
        "saved, or save it again."
    )


# --- commands

MODULE = """
import numpy, torch
from torch import nn
def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a network's factory and data, to run commands in."""
    import numpy as np

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "made_here", raising=False)
    (tmp_path / "made_here.py").write_text(MODULE)
    np.savez(tmp_path / "train.npz", inputs=INPUTS.numpy(), labels=LABELS.numpy())
    return tmp_path


def repair_words(*more):
    dials = "--readout project --rank 2 --depth head --views none --quiet --force"
    return ["repair", "made_here:build", "--data", "npz:train.npz", *dials.split(), *more]


def test_a_refused_command_leaves_an_old_run_as_it_was(here, capsys):
    assert main(repair_words("--out", "run")) == 0
    before = {name: (here / "run" / name).read_bytes() for name in names(here / "run")}
    assert "config.yaml" in before
    refused = [
        repair_words("--out", "run", "--weights", "absent.pt"),
        repair_words("--out", "run", "--rank", "99"),
        ["diagnose", "made_here:build", "--data", "npz:train.npz", "--out", "run"],
        ["lab", "train", "--network", "nonsense", "--out", "run"],
        ["lab", "train", "--network", "mlp-16", "--train", "0", "--out", "run"],
    ]
    for words in refused:
        assert main(words) == 2, words
        assert capsys.readouterr().err.startswith("tailcut: error: ")
        after = {name: (here / "run" / name).read_bytes() for name in names(here / "run")}
        assert after == before, words


def test_a_refused_command_makes_no_folder(here, capsys):
    before = names(here)
    for words in (
        ["lab", "train", "--network", "nonsense"],
        ["lab", "train", "--network", "nonsense", "--out", "new/deep"],
        ["lab", "probe", "--network", "nonsense", "--out", "new/deep"],
    ):
        assert main([*words, "--quiet"]) == 2, words
        assert names(here) - {"made_here.py", "__pycache__"} <= before, words


def test_a_training_of_something_else_leaves_a_training_as_it_was(here, capsys):
    sizes = ["--network", "mlp-16", "--train", "100", "--epochs", "1"]
    words = ["lab", "train", *sizes, "--quiet", "--out", "run"]
    assert main(words) == 0
    before = {name: (here / "run" / name).read_bytes() for name in names(here / "run")}
    assert main([*words, "--seed", "1"]) == 2
    assert "is of another training" in capsys.readouterr().err
    assert {name: (here / "run" / name).read_bytes() for name in names(here / "run")} == before


def test_a_diagnosis_does_not_take_the_place_of_a_repair(one, here, capsys):
    one[1].save(here / "run")
    words = ["diagnose", "made_here:build", "--data", "npz:train.npz", "--out", "run"]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "tailcut: error: run holds a repair; wanted a new directory, or one of a diagnosis. "
        "Choose another place.\n"
    )


def test_what_was_made_to_fit_is_told_in_one_line(here, capsys):
    state = {f"module.{name}": tensor for name, tensor in plain().state_dict().items()}
    torch.save({"net": state, "model_ema": state}, here / "last.pt")
    words = repair_words("--out", "run", "--weights", "last.pt")
    words.remove("--quiet")
    assert main(words) == 0
    assert capsys.readouterr().err.splitlines() == [
        "tailcut: note: last.pt: 'module.0.weight' is taken for '0.weight', and so 4 names in all",
        "tailcut: note: last.pt: the weights under 'net' are taken; others are 'last.pt:model_ema'",
    ]
    assert main(repair_words("--out", "run", "--weights", "last.pt:model_ema")) == 0
    assert capsys.readouterr().err == ""


def test_files_of_an_older_release_are_refused_and_the_weights_are_still_weights(one, tmp_path):
    place = one[1].save(tmp_path)
    result = json.loads((place / "result.json").read_text())
    del result["files"], result["sha256"]
    (place / "result.json").write_text(json.dumps(result))
    save_file(load_file(place / "repaired.safetensors"), place / "repaired.safetensors")
    assert "holds no repair" in told(tailcut.load, place)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tailcut.network.weights.load_weights(plain(), place / "repaired.safetensors")
