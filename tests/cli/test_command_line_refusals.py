"""Words, configs, places and processes that cannot be used: one line, exit code 2, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tailcut.cli.configs import require_plain
from tailcut.cli.main import main
from tailcut.cli.output import require_writable
from tailcut.errors import SpecError
from tailcut.readers.words import extra, factory

CONFIG = "wanted a YAML file of options in UTF-8, as each run writes as config.yaml."
REPAIR = ["repair", "lab:mlp", "--data", "digits"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def told(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("tailcut: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("tailcut: error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"\xff\xfes\x00",
            "is no text ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte); "
            f"{CONFIG} Save it as UTF-8.",
        ),
        (
            b"seed: 1\nviews: \xe9",
            "is no text ('utf-8' codec can't decode byte 0xe9 in position 15: unexpected end of "
            f"data); {CONFIG} Save it as UTF-8.",
        ),
        (b"", f"is empty; {CONFIG} Write one option a line, such as seed: 1."),
        (b"- seed\n", f"is a list; {CONFIG} Write one option a line, such as seed: 1."),
        (b"seed", f"is a str; {CONFIG} Write one option a line, such as seed: 1."),
        (b"seed: " + b"[" * 400 + b"]" * 400, f"is more than 20 levels deep; {CONFIG} Flatten it."),
        (b"a: &a [x, x]\nb: [*a, *a]\n", f"has the alias *a; {CONFIG} Write the values out."),
        (b"axes: &a {x: *a}\n", f"has the alias *a; {CONFIG} Write the values out."),
    ],
)
def test_a_config_that_cannot_be_used(content, message, tmp_path, capsys):
    (tmp_path / "run.yaml").write_bytes(content)
    assert told(capsys, *REPAIR, "--config", "run.yaml") == f"--config run.yaml {message}"


def test_a_config_with_a_billion_values_is_refused_at_once(tmp_path):
    lines = ["a: &a [" + ", ".join(["x"] * 9) + "]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [" + ", ".join([f"*{before}"] * 9) + "]")
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    start = time.perf_counter()
    with pytest.raises(SpecError, match=r"has the alias \*a"):
        require_plain("bomb.yaml")
    assert time.perf_counter() - start < 1


def test_an_option_with_aliases_is_refused_too(capsys):
    assert told(capsys, "lab", "grid", "--axes", "{rate: &a [0, 0.4], seed: *a}") == (
        "'{rate: &a [0, 0.4], seed: *a}' has the alias *a; wanted values as they are. "
        "Write the values out."
    )


def test_a_config_that_is_not_yaml_or_not_there(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("rank: [")
    assert told(capsys, *REPAIR, "--config", "run.yaml").startswith(
        "--config run.yaml is no YAML ("
    )
    assert told(capsys, *REPAIR, "--config", "no.yaml") == (
        f"--config no.yaml cannot be read (No such file or directory); {CONFIG} Check the path."
    )
    assert told(capsys, *REPAIR, "--config", str(tmp_path)) == (
        f"--config {tmp_path} cannot be read (Is a directory); {CONFIG} Check the path."
    )


def test_of_two_configs_the_later_counts(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("rate: 0.1\nseed: 7\n")
    (tmp_path / "b.yaml").write_text("rate: 3\n")
    words = ["lab", "train", "--config", "a.yaml", "--config", "b.yaml"]
    assert told(capsys, *words).startswith("--rate 3")
    words = ["lab", "train", "--config", "b.yaml", "--config", "a.yaml", "--epochs", "0"]
    assert told(capsys, *words).startswith("0 epochs of batches of 64")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("repair lab:mlp --data digits --rank 0", "--rank 0; wanted 1 or more. Choose another "),
        ("repair lab:mlp --data digits --rank x", "--rank x; wanted a whole number or auto. See "),
        ("repair lab:mlp --data digits --batch_size -3", "--batch_size -3; wanted 1 or more. "),
        ("audit lab:mlp --data digits --batch_size 0", "--batch_size 0; wanted 1 or more. "),
        ("repair lab:mlp --data digits --batch_size 1.5", "--batch_size 1.5; wanted a whole "),
        ("repair lab:mlp --data digits --classes 1", "--classes 1; wanted 2 or more. Leave it "),
        ("repair lab:mlp --data digits --depth most", "--depth most; wanted auto, head, all. See "),
        (
            f"demo --seed {2**63}",
            "--seed 9223372036854775808; wanted 9223372036854775807 or less. Choose another seed.",
        ),
        ("demo --rate 40", "--rate 40.0; wanted a number from 0 to 1. Rates are fractions of "),
        ("lab train --rate -0.1", "--rate -0.1; wanted a number from 0 to 1. Rates are "),
        ("lab train --rate nan", "--rate nan; wanted a number. See tailcut lab train --help."),
        ("lab train --learning_rate -1", "--learning_rate -1.0; wanted a number above 0. "),
        ("lab train --learning_rate 0", "--learning_rate 0.0; wanted a number above 0. "),
        ("lab train --learning_rate inf", "--learning_rate inf; wanted a number or null. See "),
        ("lab train --weight_decay -1", "--weight_decay -1.0; wanted a number of at least 0. "),
        ("lab train --train 0", "--train 0; wanted 1 or more. Choose another number."),
        ("lab train --holdout 1", "--holdout 1; wanted 2 or more. Choose another number."),
        ("lab train --epochs 0", "0 epochs of batches of 64; wanted at least 1 of each. Correct "),
        ("lab grid --gpus -1", "--gpus -1.0; wanted a number of at least 0. Choose another "),
        ("lab grid --workers 0", "--workers 0; wanted 1 or more. Leave it out for as many as "),
        ("repair lab:mlp --data digits --rnk 3", "unrecognized arguments: --rnk 3; wanted words "),
        ("repair", "the following arguments are required: repair.data; wanted words that tailcut "),
        ("lab foo", "argument subcommand: invalid choice: 'foo' (choose from "),
    ],
)
def test_a_number_out_of_range_or_a_word_that_is_unknown(words, message, tmp_path, capsys):
    assert told(capsys, *words.split()).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_a_seed_that_no_generator_takes_is_refused_in_python_too():
    import torch
    from torch import nn

    import tailcut

    for seed in (-1, 2**63, 0.5, True, None):
        with pytest.raises(tailcut.DataError) as caught:
            tailcut.repair(nn.Linear(2, 2), [(torch.ones(2, 2), [0, 1])], seed=seed)
        assert str(caught.value) == (
            f"seed={seed!r}; wanted a whole number from 0 to 9223372036854775807. Correct the seed."
        )


def test_a_device_that_is_not_there_is_refused_in_python_too():
    import torch
    from torch import nn

    import tailcut

    for device in ("cuda:99", "tpu9x"):
        with pytest.raises(tailcut.DataError) as caught:
            tailcut.repair(nn.Linear(2, 2), [(torch.ones(2, 2), [0, 1])], device=device)
        assert str(caught.value) == (
            f"no device {device!r} here; wanted a device that torch has, such as 'cpu' or 'cuda'. "
            "Correct device=, or leave it out to work where the network is."
        )


@pytest.mark.parametrize("command", ["repair", "diagnose", "audit"])
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("", "--out ''; wanted a directory, which may be new. Name one, or leave it out for a "),
        ("file", "--out file is a file; wanted a directory, which may be new. Choose another "),
        ("file/new/run", "file/new/run cannot be written to (Not a directory); wanted a directory"),
        ("dangling/run", "dangling/run cannot be written to ("),
        ("/proc/nothing/run", "/proc/nothing/run cannot be written to (No such file or directory)"),
    ],
)
def test_an_out_that_cannot_be_written_to_is_refused_before_the_work(
    command, out, message, tmp_path, capsys
):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("dangling")
    words = [command, "lab:mlp", "--data", "no-such-data", "--out", out]
    assert told(capsys, *words).startswith(message)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dangling", "file"]


def test_a_table_of_an_audit_is_checked_like_a_directory(tmp_path, capsys):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    words = ["audit", "lab:mlp", "--data", "no-such-data", "--out"]
    assert told(capsys, *words, "folder.csv") == (
        "--out folder.csv is a directory; wanted a file to write the table to, or a directory "
        "without .csv in its name. Choose another place."
    )
    assert told(capsys, *words, "file/issues.csv").startswith("--out file is a file; ")
    assert told(capsys, "repair", *words[1:], "a.csv").startswith("no data called 'no-such-data'")


def test_runs_that_cannot_be_made_are_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "runs").touch()
    message = told(capsys, "repair", "lab:mlp", "--data", "no-such-data")
    assert message.startswith("runs/")
    assert message.endswith(
        "cannot be written to (Not a directory); wanted a directory, which may be new. Choose "
        "another place with --out."
    )


def test_a_place_is_checked_without_a_trace(tmp_path):
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "file").write_text("x")
    for place in ("new/er/run", "held", "held/new", "ünïcode ✓/run"):
        require_writable(tmp_path / place)
    assert [each.name for each in tmp_path.rglob("*")] == ["held", "file"]


def test_a_run_of_another_command_is_not_written_over(tmp_path, capsys):
    words = "lab train --network mlp-16 --train 100 --epochs 1 --quiet --out runs/ünïcode"
    assert main(words.split()) == 0
    before = (tmp_path / "runs" / "ünïcode" / "result.json").read_text()
    assert told(capsys, *REPAIR, "--out", "runs/ünïcode") == (
        "runs/ünïcode holds a run of 'train'; wanted a new directory, or one of 'repair', which is "
        "written anew. Choose another --out."
    )
    assert (tmp_path / "runs" / "ünïcode" / "result.json").read_text() == before


FACTORIES = """
import sys
import argparse
def fails(): raise KeyError("weights")
def leaves(): sys.exit("usage: train.py")
def parses(): argparse.ArgumentParser().parse_args(["--nonsense"])
def wants(path): return path
def interrupted(): raise KeyboardInterrupt
def greedy(): raise MemoryError
def weights(): return {"fc": 1}
constant = 3
"""


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("fails", "KeyError ('weights')"),
        ("leaves", "SystemExit (usage: train.py)"),
        ("parses", "SystemExit (2)"),
        ("wants", "TypeError (wants() missing 1 required positional argument: 'path')"),
        ("constant", "TypeError ('int' object is not callable)"),
    ],
)
def test_a_factory_that_fails_is_named_with_its_cause(name, failure, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_factories", raising=False)
    (tmp_path / "my_factories.py").write_text(FACTORIES)
    with pytest.raises(SpecError) as caught:
        factory(f"my_factories:{name}")
    assert str(caught.value) == (
        f"'my_factories:{name}' failed with {failure}; wanted a factory that returns a network or "
        f"batches. To see where, run: python -c 'import my_factories as m; m.{name}()'."
    )
    assert caught.value.__cause__ is not None


def test_a_module_that_fails_while_it_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_broken.py").write_text("def f(:\n")
    with pytest.raises(SpecError, match=r"'my_broken:f' failed with SyntaxError \(invalid syntax"):
        factory("my_broken:f")


def test_interrupts_and_no_memory_are_no_failures_of_a_factory(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_factories", raising=False)
    (tmp_path / "my_factories.py").write_text(FACTORIES)
    for name, code in (("interrupted", 130), ("greedy", 2)):
        words = ["repair", "lab:mlp", "--data", f"my_factories:{name}"]
        assert main(words) == code
    assert capsys.readouterr().err == (
        "tailcut: interrupted; every file written so far is whole\n"
        "tailcut: error: out of memory; wanted more of it. Lower --batch_size\n"
    )
    message = told(capsys, "repair", "my_factories:weights", "--data", "digits")
    assert message.startswith("a dict with the keys 'fc' instead of a network; wanted a trained ")


def test_a_package_that_was_built_for_another_torch_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_operators.py").write_text(
        "import torch\ntorch.library.register_fake('my_operators::nms')(lambda: None)\n"
    )
    with pytest.raises(SpecError) as caught:
        extra("my_operators", "images")
    assert str(caught.value) == (
        "my_operators is installed and cannot be imported (operator my_operators::nms does not "
        f"exist); wanted my_operators as built for torch {torch.__version__}. Install releases of "
        "torch and my_operators that belong together."
    )


def test_a_network_that_its_library_cannot_build_is_told_in_one_line(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    for word in ("lab:nonsense", "hf:empty"):
        words = ["repair", word, "--data", "digits", "--weights", "none.safetensors"]
        assert "wanted " in told(capsys, *words)


@contextmanager
def started(*words):
    """A process that hears interrupts, also where this one runs in the background."""
    command = ["env", "--default-signal=INT", sys.executable, "-m", "tailcut", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def interrupted(running):
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    return running.returncode in {130, -signal.SIGINT}, err.decode()


INTERRUPTED = (True, "tailcut: interrupted; every file written so far is whole\n")


SLOW = """
import time
print("importing", flush=True)
try:
    time.sleep(60)
except BaseException:
    raise ImportError("half-way")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for what is imported")
def test_an_interrupt_while_torch_is_imported_is_one_line():
    with started("report", "nowhere") as running:
        maps = Path(f"/proc/{running.pid}/maps")
        while "libtorch" not in maps.read_text() and running.poll() is None:
            time.sleep(0.005)
        assert interrupted(running) == INTERRUPTED


@pytest.mark.skipif(sys.platform != "linux", reason="asks env to let interrupts through")
def test_an_interrupt_of_which_a_package_makes_another_error_is_one_line(tmp_path):
    (tmp_path / "slow_import.py").write_text(SLOW)
    with started("repair", "lab:mlp", "--data", "slow_import:batches") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"importing\n"
        assert interrupted(running) == INTERRUPTED


@pytest.mark.parametrize(
    ("words", "code", "told"), [(["--help"], 0, b""), (["demo", "--rate", "7"], 2, b"--rate 7")]
)
def test_a_reader_who_has_gone_hears_no_complaint(words, code, told):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tailcut", *words]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.returncode == code
    assert done.stderr[:8] == told[:8] or done.stderr.startswith(b"tailcut: error: " + told)


def test_closed_streams_are_no_error():
    script = '"$0" -m tailcut --version >&- && "$0" -m tailcut demo --rate 7 >&- 2>&-'
    done = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")
