"""The command line, as a user meets it."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import yaml

from tailcut.cli.main import main
from tailcut.cli.tables import ranks
from tailcut.lab.data.clutter import clutter_problem
from tailcut.lab.data.sources import SOURCES


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a small `tailcut lab train`."""
    directory = tmp_path_factory.mktemp("lab") / "run"
    words = f"lab train --network mlp-256 --epochs 60 --out {directory} --seed 1 --quiet"
    assert main(words.split()) == 0
    return directory


def lab_words(trained, *more):
    words = f"lab:mlp-256 --weights {trained}/last.safetensors --data npz:{trained}/train.npz"
    return [*f"{words} --holdout npz:{trained}/holdout.npz".split(), *more]


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_help_and_version_import_no_torch():
    script = (
        "import sys, contextlib, tailcut.cli.main\n"
        "for words in (['--help'], ['--version'], ['repair', '--help']):\n"
        "    with contextlib.suppress(SystemExit): tailcut.cli.main.main(words)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: tailcut" in done.stdout


def test_repair_writes_the_whole_run_and_the_config_repeats_it(trained, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    code, out, _ = run(
        capsys,
        "repair",
        *lab_words(trained, "--clean", f"npz:{trained}/test.npz", "--out", first),
    )
    assert code == 0
    assert "verdict" in out
    assert f"wrote {first}" in out
    assert sorted(path.name for path in first.iterdir()) == [
        "candidates.csv",
        "config.yaml",
        "curve.csv",
        "repaired.safetensors",
        "report.html",
        "result.json",
        "spectrum.safetensors",
        "undo.safetensors",
    ]
    code, out, _ = run(
        capsys, "repair", "--config", first / "config.yaml", "--out", second, "--quiet"
    )
    assert (code, out) == (0, "")
    results = [json.loads((each / "result.json").read_text()) for each in (first, second)]
    for result in results:
        for name in ("seconds", "files", "sha256"):  # checksums of pages that tell the seconds
            del result[name]
    assert results[0] == results[1]


def test_the_repaired_weights_are_weights_of_the_same_network(trained, tmp_path, capsys):
    run(capsys, "repair", *lab_words(trained, "--out", tmp_path / "a", "--quiet"))
    words = lab_words(trained, "--out", tmp_path / "b", "--json")
    words[2] = tmp_path / "a" / "repaired.safetensors"
    code, out, _ = run(capsys, "diagnose", *words)
    assert code == 0
    assert json.loads(out)["verdict"] in {"cut", "leave"}


def test_audit_writes_a_table(trained, tmp_path, capsys):
    path = tmp_path / "issues.csv"
    code, out, _ = run(capsys, "audit", *lab_words(trained, "--out", path))
    assert code == 0
    lines = path.read_text().splitlines()
    scores = "is_label_issue,label_score,given_label,predicted_label,p_wrong"
    assert lines[0] == f"index,key,{scores},given_name,suggested_name,rank"
    assert len(lines) == 1101
    assert "of 1100 labels look wrong (estimated " in out
    assert out.endswith(f"; wrote {path}\n")
    words = lab_words(trained, "--out", path, "--quiet", "--force")
    words[words.index("--data") + 1] = f"npz:{trained}/train.npz[-1000:-400]"
    assert run(capsys, "audit", *words)[0] == 0
    keys = [line.split(",")[:2] for line in path.read_text().splitlines()[1:]]
    assert keys == [[str(row), str(100 + row)] for row in range(600)]


def test_weights_that_were_forgotten_leave_the_network_and_stop_the_audit(
    trained, tmp_path, capsys
):
    from safetensors.torch import save_file

    from tailcut.lab.training.networks import build

    fresh = tmp_path / "fresh.safetensors"
    save_file(build("mlp-256", (1, 8, 8), 10).state_dict(), fresh)
    words = lab_words(trained, "--json", "--out", tmp_path / "run")
    words[2] = fresh
    code, out, _ = run(capsys, "repair", *words)
    result = json.loads(out)
    assert (code, result["verdict"]) == (0, "unknown")
    assert result["agreement"]["train"] < 0.3 < result["agreement"]["features"]
    words[-1] = tmp_path / "audit"
    code, out, err = run(capsys, "audit", *words)
    assert (code, out) == (2, "")
    assert err.startswith("tailcut: error: the network predicts ")
    assert "force=True (--force)" in err
    code, out, _ = run(capsys, "audit", *words, "--force")
    assert (code, json.loads(out)["samples"]) == (0, 1100)


def test_report_is_built_again_from_the_result_alone(trained, tmp_path, capsys):
    run(capsys, "diagnose", *lab_words(trained, "--out", tmp_path, "--quiet"))
    before = (tmp_path / "report.html").read_text()
    (tmp_path / "report.html").unlink()
    code, _, _ = run(capsys, "report", tmp_path)
    assert code == 0
    assert (tmp_path / "report.html").read_text() == before


def test_rows_can_be_chosen(trained, tmp_path, capsys):
    words = lab_words(trained, "--out", tmp_path, "--json", "--readout", "lda", "--rank", "9")
    words[4] = f"npz:{trained}/train.npz[:500]"
    code, out, _ = run(capsys, "repair", *words)
    result = json.loads(out)
    assert (code, result["readout"], result["rank"]) == (0, "lda", 9)


def test_lab_train_says_what_to_do_next(trained, tmp_path, capsys):
    words = f"lab train --network mlp-16 --train 200 --epochs 2 --noise pair --out {tmp_path}"
    code, out, _ = run(capsys, *words.split())
    assert code == 0
    assert f"next: tailcut repair lab:mlp-16 --weights {tmp_path}/last.safetensors" in out
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert (config["network"], config["train"], config["rate"]) == ("mlp-16", 200, 0.4)


def test_a_run_without_out_gets_a_new_directory_under_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        words = "lab train --network mlp-16 --train 100 --epochs 1 --quiet"
        assert run(capsys, *words.split())[0] == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "repair lab:mlp --data nothing",
            "no data called 'nothing'; wanted digits, csv:FILE, hf:NAME, imagefolder:DIR, "
            "json:FILE, jsonl:FILE, npz:FILE, parquet:FILE, tsv:FILE, webdataset:SHARDS or "
            "package.module:factory, each perhaps with [a:b]. Correct DATA.",
        ),
        (
            "repair resnet18 --data digits",
            "no model called 'resnet18'; wanted torchvision:NAME, timm:NAME, hf:DIR_OR_ID, "
            "lab:NAME or package.module:factory. Correct MODEL.",
        ),
        (
            "repair lab:mlp --data digits",
            "lab:mlp without weights; wanted a trained network. Pass --weights "
            "RUN/last.safetensors, as tailcut lab train writes it.",
        ),
        (
            "repair lab:mlp --data digits --weights no.safetensors",
            "no file at no.safetensors; wanted a file to read. Check the path.",
        ),
        (
            "repair --data digits",
            "no MODEL; wanted torchvision:NAME, timm:NAME, hf:DIR_OR_ID, lab:NAME or "
            "package.module:factory. See tailcut repair --help.",
        ),
        (
            "repair lab:mlp --data digits[1797:]",
            "'digits[1797:]' has no rows: there are 1797; wanted a range inside the data. "
            "Correct [a:b].",
        ),
        (
            "repair lab:mlp --data digits --device tpu9x",
            "no device 'tpu9x' here; wanted auto, cpu, cuda, cuda:1 or mps. Correct --device.",
        ),
        (
            "repair no.such.module:factory --data digits",
            "'no.such.module:factory' cannot be imported (No module named 'no'); wanted "
            "package.module:function that Python finds. Run from the folder of the module, or "
            "install its package.",
        ),
        (
            "repair lab:mlp --data digits --device cuda:99",
            "no device 'cuda:99' here; wanted auto, cpu, cuda, cuda:1 or mps. Correct --device.",
        ),
        (
            "lab train --noise human",
            "digits with human labels; wanted data that somebody has labelled anew: cifar10. "
            "Choose another noise, or cifar10.",
        ),
        (
            "lab train --seed -1",
            "--seed -1; wanted 0 or more. Choose another seed.",
        ),
        (
            "demo --seeds 0",
            "--seeds 0; wanted 1 or more. Train at least one network.",
        ),
        (
            "lab train --train 1597",
            "1597 training, 200 held-out and 0 test samples; wanted at least 1, 2 and 1. "
            "Correct the sizes.",
        ),
        (
            "report nowhere",
            "no file at nowhere/result.json; wanted a file to read. Check the path.",
        ),
    ],
)
def test_unusable_input_gets_one_line_and_exit_code_2(
    words, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words.split())
    assert (code, out) == (2, "")
    assert err == f"tailcut: error: {message}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["repair --rank many lab:mlp --data digits", "repear", ""])
def test_words_that_do_not_parse_get_one_line_and_exit_code_2(words, capsys):
    code, out, err = run(capsys, *words.split())
    assert (code, out) == (2, "")
    assert err.startswith("tailcut: error: ")
    assert err.count("\n") == 1


def test_a_fault_of_ours_shows_its_traceback_and_exits_with_1():
    script = (
        "import sys, tailcut.cli.main, tailcut.cli.commands\n"
        "tailcut.cli.commands.report = lambda *_: 1 / 0\n"
        "sys.exit(tailcut.cli.main.main(['report', 'x']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_an_interrupt_keeps_what_is_written(monkeypatch, capsys):
    import tailcut.cli.commands

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tailcut.cli.commands, "report", interrupted)
    code, _, err = run(capsys, "report", "x")
    assert code == 130
    assert err == "tailcut: interrupted; every file written so far is whole\n"


def test_true_labels_beside_noisy_ones_are_taken_for_clean(trained, tmp_path, capsys):
    train = f"npz:{trained}/train.npz"
    words = lab_words(trained, "--clean", train, "--out", tmp_path / "a", "--json")
    assert run(capsys, "diagnose", *words)[0] == 0
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert result["spectrum"]["segregation"] is not None
    assert result["clean"]["n"] == 1100
    holdout = f"npz:{trained}/holdout.npz"
    words = lab_words(trained, "--clean", holdout, "--out", tmp_path / "b", "--json")
    result = json.loads(run(capsys, "diagnose", *words)[1])
    assert result["clean"]["before"] > result["holdout"]["before"] + 0.1


def test_an_out_that_is_a_file_is_refused_before_any_work(trained, tmp_path, capsys):
    (tmp_path / "run").touch()
    code, _, err = run(capsys, "repair", *lab_words(trained, "--out", tmp_path / "run"))
    assert code == 2
    assert err == (
        f"tailcut: error: --out {tmp_path}/run is a file; wanted a directory, which may be new. "
        "Choose another place.\n"
    )


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory."), RuntimeError("can't allocate x")]
)
def test_out_of_memory_is_told_in_one_line(monkeypatch, capsys, error):
    import tailcut.cli.commands

    def greedy(*_):
        raise error

    monkeypatch.setattr(tailcut.cli.commands, "report", greedy)
    assert run(capsys, "report", "x") == (
        2,
        "",
        "tailcut: error: out of memory; wanted more of it. Lower --batch_size\n",
    )


def test_a_full_disk_is_told_in_one_line(monkeypatch, capsys):
    import tailcut.cli.commands

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tailcut.cli.commands, "report", full)
    code, _, err = run(capsys, "report", "x")
    assert code == 2
    assert err == (
        "tailcut: error: [Errno 28] No space left on device; wanted a place to write to. Free "
        "some space or pass --out\n"
    )


def test_the_demo_shows_the_rank_curve_and_its_controls(tmp_path, monkeypatch, capsys):
    few = {"train": 200, "holdout": 100, "test": 100}
    usual = SOURCES["clutter"]
    brief = replace(usual.recipe, epochs=1)
    few_images = replace(usual, make=partial(clutter_problem, **few), recipe=brief)
    monkeypatch.setitem(SOURCES, "clutter", few_images)
    code, out, _ = run(capsys, "demo", "--out", tmp_path)
    assert code == 0
    assert out.startswith("clutter, 40 % of the training labels wrong, ")
    for told in (
        "control: untrained network, repaired",
        "control: LDA on raw inputs",
        "control: logistic regression on raw inputs",
        "the paper's cut by rank, %",
    ):
        assert told in " ".join(out.split())
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["papers_curve"]) == {"rank", "holdout", "test"}


def test_of_several_networks_the_mean_is_shown_at_the_ranks_that_all_have():
    curves = [
        {"rank": [1, 2, 3, 4], "holdout": [0.1, 0.2, 0.4, 0.3], "test": [0.1, 0.3, 0.8, 0.4]},
        {"rank": [1, 2, 3], "holdout": [0.1, 0.4, 0.4], "test": [0.1, 0.5, 0.6]},
    ]
    shown = ranks([{"papers_curve": each} for each in curves])
    columns = [list(column.cells) for column in shown.columns]
    assert columns == [["2", "3"], ["30.0", "40.0"], ["40.0", "70.0"]]
    assert [row.style for row in shown.rows] == [None, "bold"]


def test_the_demo_beats_the_best_epoch_as_an_installed_program(tmp_path):
    words = [sys.executable, "-m", "tailcut", "demo", "--data", "digits", "--json"]
    words += ["--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["fit"] >= 0.995
    assert result["verdict"] == "cut"
    assert result["clean"]["after"] >= result["clean"]["best_epoch"]
    assert set(result["baselines"]) == {
        "last epoch",
        "noisy-holdout early stopping",
        "oracle early stopping",
        "EMA",
        "SWA",
        "paper's cut",
        "control: untrained network, repaired",
        "control: LDA on raw inputs",
        "control: logistic regression on raw inputs",
    }
    assert "<html" in (tmp_path / "report.html").read_text()
