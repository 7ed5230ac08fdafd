"""The commands of the lab, as a user meets them."""

import csv
import json
import math
import subprocess
import sys
from dataclasses import fields

import pytest
import yaml

from tailcut.cli.main import main
from tailcut.cli.output import Bar
from tailcut.lab.claims import page as claims_page
from tailcut.lab.claims import presets, scale
from tailcut.lab.claims.findings import Finding, Test
from tailcut.lab.claims.study import Study

PROBE = ["lab", "probe", "--network", "mlp-32", "--train", "300", "--epochs", "4", "--probes", "3"]
GRID = ["lab", "grid", "--workers", "1", "--axes"]
AXES = "{network: [mlp-16], rate: [0, 0.4], train: [200], epochs: [2], probes: [0]}"

FIELDS = ", ".join(each.name for each in fields(Study))


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def table_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def timeless(path):
    result = json.loads(path.read_text())
    del result["sha256"]  # of the seconds too
    for epoch in result["epochs"]:
        del epoch["seconds"]
    return result


def test_help_of_the_lab_imports_no_torch():
    script = (
        "import sys, contextlib, tailcut.cli.main\n"
        "for name in ('probe', 'claims', 'grid', 'train'):\n"
        "    with contextlib.suppress(SystemExit): tailcut.cli.main.main(['lab', name, '--help'])\n"
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in ("--probes", "--preset", "--axes", "--engine {pool,ray}", "--repair"):
        assert word in done.stdout


# --- probe


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("probe") / "run"
    assert main([*PROBE, "--out", str(directory), "--quiet"]) == 0
    return directory


def test_a_probe_leaves_tables_a_picture_and_a_result(probed):
    assert sorted(path.name for path in probed.iterdir()) == [
        "checkpoint.pt",
        "config.yaml",
        "epochs-ranks.svg",
        "probes.csv",
        "probes.json",
        "result.json",
        "scalars.csv",
    ]
    result = json.loads((probed / "result.json").read_text())
    assert (result["schema"], result["study"]["network"]) == (1, "mlp-32")
    assert [probe["epoch"] for probe in result["probes"]] == [0, 1, 4]
    assert [row["epoch"] for row in table_of(probed / "scalars.csv")] == ["0", "1", "4"]
    rows = [row for row in table_of(probed / "probes.csv") if row["fitted to"] == "own head"]
    assert float(rows[-1]["accuracy"]) == result["probes"][-1]["own"]["flipped true"][-1]


def test_a_probe_of_the_same_config_repeats_the_run(probed, tmp_path, capsys):
    words = ["lab", "probe", "--config", probed / "config.yaml", "--out", tmp_path, "--json"]
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert timeless(tmp_path / "result.json") == timeless(probed / "result.json")
    told = json.loads(out)
    assert told["directory"] == str(tmp_path)
    assert [each["epoch"] for each in told["probes"]] == [0, 1, 4]
    columns = ["epoch", "test", "memorised", "effective_rank", "nc1_true"]
    assert list(told["probes"][0]) == columns


def test_an_interrupted_probe_goes_on_in_its_directory(probed, tmp_path, monkeypatch, capsys):
    def interrupted(self, epoch):
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bar, "_on_step", interrupted)
        code, _, err = run(capsys, *PROBE, "--out", tmp_path)
    assert code == 130
    assert err == "tailcut: interrupted; every file written so far is whole\n"
    assert not (tmp_path / "result.json").exists()
    seen = []
    monkeypatch.setattr(Bar, "_on_step", lambda _, epoch: seen.append(epoch.epoch))
    code, out, _ = run(
        capsys, "lab", "probe", "--config", tmp_path / "config.yaml", "--out", tmp_path
    )
    assert (code, seen) == (0, [3, 4])
    assert out.endswith(f"wrote {tmp_path}\n")
    assert timeless(tmp_path / "result.json") == timeless(probed / "result.json")


def test_the_probe_of_something_else_leaves_a_directory_as_it_was(probed, capsys):
    before = {path.name: path.read_bytes() for path in probed.iterdir()}
    code, out, err = run(capsys, *PROBE, "--seed", 1, "--out", probed)
    assert (code, out) == (2, "")
    assert err.startswith(f"tailcut: error: {probed}/probes.json is of another study: {{'data'")
    assert err.endswith("Delete its directory, or choose another one.\n")
    assert {path.name: path.read_bytes() for path in probed.iterdir()} == before


def test_a_training_of_lab_train_is_not_taken_for_a_probed_one(tmp_path, capsys):
    words = ["--network", "mlp-16", "--train", "100", "--epochs", "1", "--out"]
    assert run(capsys, "lab", "train", *words, tmp_path)[0] == 0
    code, _, err = run(capsys, "lab", "probe", *words, tmp_path)
    assert code == 2
    assert err == (
        f"tailcut: error: {tmp_path}/checkpoint.pt is 1 epochs on, and no probe is there of "
        "[0, 1]; wanted a training whose probes lie beside it in probes.json. Delete the "
        "checkpoint, or choose another directory.\n"
    )


def test_json_of_true_labels_is_json_for_strict_readers(tmp_path, capsys):
    words = ["lab", "probe", "--network", "mlp-8", "--train", "100", "--epochs", "1"]
    words += ["--rate", "0", "--json", "--out"]
    code, out, _ = run(capsys, *words, tmp_path)
    assert code == 0
    told = json.loads(out, parse_constant=pytest.fail)
    assert [each["memorised"] for each in told["probes"]] == [None, None]


def test_open_set_noise_has_a_size_of_its_own(tmp_path, capsys):
    words = ["lab", "probe", "--network", "mlp-8", "--noise", "openset", "--epochs", "1"]
    words += ["--probes", "2", "--quiet", "--out"]
    assert run(capsys, *words, tmp_path) == (0, "", "")
    assert json.loads((tmp_path / "result.json").read_text())["study"]["train"] == 800


def test_epochs_to_probe_can_be_named(tmp_path, capsys):
    words = ["lab", "probe", "--network", "mlp-8", "--train", "100", "--epochs", "3", "--json"]
    told = json.loads(run(capsys, *words, "--probes", "[0, 2]", "--out", tmp_path)[1])
    assert [each["epoch"] for each in told["probes"]] == [0, 2]
    again = ["--config", tmp_path / "config.yaml", "--out", tmp_path]
    assert json.loads(run(capsys, "lab", "probe", *again)[1]) == told


# --- grid


@pytest.fixture(scope="module")
def gridded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("grid") / "run"
    assert main([*GRID, AXES, "--out", str(directory), "--quiet"]) == 0
    return directory


def test_a_grid_leaves_a_table_of_its_axes_and_ends(gridded):
    rows = table_of(gridded / "grid.csv")
    axes = ["seed", "network", "rate", "train", "epochs", "probes"]
    assert list(rows[0]) == [*axes, "last", "best_epoch", "noisy_epoch"]
    settings = [[row[name] for name in axes] for row in rows]
    assert settings == [["0", "mlp-16", rate, "200", "2", "0"] for rate in ("0.0", "0.4")]
    results = {
        content["config"]["rate"]: content["result"]
        for content in (json.loads(path.read_text()) for path in (gridded / "studies").iterdir())
    }
    for row in rows:
        assert float(row["last"]) == results[float(row["rate"])]["last"]


def test_a_grid_run_again_from_its_config_is_done_at_once(gridded, monkeypatch, capsys):
    monkeypatch.setattr("tailcut.lab.grid.pool._Lane", None)  # no process can be started
    before = {path: path.stat().st_mtime_ns for path in (gridded / "studies").iterdir()}
    words = ["lab", "grid", "--config", gridded / "config.yaml", "--out", gridded, "--json"]
    code, out, _ = run(capsys, *words)
    assert code == 0
    told = json.loads(out)
    assert told["file"] == str(gridded / "grid.csv")
    assert [each["rate"] for each in told["rows"]] == [0.0, 0.4]
    after = {path: path.stat().st_mtime_ns for path in (gridded / "studies").iterdir()}
    assert after == before
    config = yaml.safe_load((gridded / "config.yaml").read_text())
    assert config["axes"] == yaml.safe_load(AXES)
    assert "out" not in config


def test_a_table_with_gaps_is_json_for_strict_readers(tmp_path, monkeypatch, capsys):
    ends = {"last": 0.5, "best_epoch": math.nan, "noisy_epoch": 0.25}

    def ran(studies, *_, **__):
        found = [{"repair": {"after": 0.75}} if study.repair else {} for study in studies]
        configs = [{"seed": study.seed, "repair": study.repair} for study in studies]
        return [{"config": c, "result": {**ends, **f}} for c, f in zip(configs, found, strict=True)]

    monkeypatch.setattr("tailcut.lab.grid.runs.run", ran)
    code, out, _ = run(capsys, *GRID, "{repair: [true, false]}", "--json", "--out", tmp_path)
    assert code == 0
    rows = json.loads(out, parse_constant=pytest.fail)["rows"]
    assert [row["repaired"] for row in rows] == [0.75, None]
    assert rows[0]["best_epoch"] is None


# --- claims


def test_claims_of_a_preset_are_told_with_their_page(tmp_path, monkeypatch, capsys):
    asked = {}

    def settle(preset, directory, **options):
        asked.update(options, seeds=preset.seeds, directory=directory)
        return [Finding("C1", "It is so", (Test("a", (1.0, 1.0)),))]

    monkeypatch.setattr(claims_page, "settle", settle)
    words = ["lab", "claims", "--seeds", "3", "--seed", "4", "--workers", "1", "--out", tmp_path]
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert out == f"C1 supported      It is so\nwrote {tmp_path / 'claims.md'}\n"
    assert asked["seeds"] == (4, 5, 6)
    assert (asked["engine"].workers, asked["engine"].engine) == (1, "pool")
    assert asked["studies"] is None
    run(capsys, "lab", "claims", "--seed", "2", "--out", tmp_path)
    assert asked["seeds"] == tuple(range(2, 2 + len(presets.PRESETS["clutter"].seeds)))


def test_named_claims_run_no_more_than_they_need(tmp_path, monkeypatch, capsys):
    asked = []

    def settle(preset, directory, **options):
        asked.append(preset)
        return []

    monkeypatch.setattr(claims_page, "settle", settle)
    words = ["lab", "claims", "--preset", "digits", "--claims", "C3, C1", "--seeds", "2"]
    assert run(capsys, *words, "--out", tmp_path)[0] == 0
    assert asked[0].claims == ("C1", "C3")
    assert len(asked[0].studies()) == 2


def test_claims_at_scale_are_told_with_what_changes(tmp_path, monkeypatch, capsys):
    asked = {}

    def settle(chosen, directory, **options):
        asked.update(options, chosen=chosen)
        at = {"study": chosen.preset.base, "seeds": (0, 1)}
        held = [Finding("C1", "It is so", (Test("a", (value, value)),)) for value in (1.0, -1.0)]
        points = [
            scale.Point(size, str(size), found=(each,), **at)
            for size, each in zip((1, 2), held, strict=True)
        ]
        return [scale.Axis("images", "the images", (*points, scale.Point(3, "3", found=(), **at)))]

    monkeypatch.setattr(scale, "settle", settle)
    words = ["lab", "claims", "--preset", "scale", "--sizes", "[1000, 3000]", "--claims", "C1"]
    code, out, _ = run(capsys, *words, "--out", tmp_path)
    assert code == 0
    assert out == (
        "The verdict on C1 changes with the images: supported at 1; not supported at 2.\n"
        f"wrote {tmp_path / 'scale.md'}\n"
    )
    assert asked["sizes"] == [1000, 3000]
    assert asked["chosen"].preset.claims == ("C1",)
    _, out, _ = run(capsys, *words, "--out", tmp_path, "--json")
    assert json.loads(out)["verdicts"] == {
        "images": {"1": {"C1": "supported"}, "2": {"C1": "not supported"}, "3": {}}
    }


# --- refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["claims", "--preset", "nothing"],
            "no preset 'nothing'; wanted one of clutter, digits, cifar, gpu, scale, scale-gpu. "
            "Correct the name.",
        ),
        (
            ["claims", "--claims", "C1,C9"],
            "claims C9; wanted some of C1, C2, C3, C4, C5, C6, C7, C8. Correct --claims.",
        ),
        (
            ["claims", "--preset", "scale", "--claims", "C2"],
            "claims C2; wanted some of C1, C3, C5, C6. Correct --claims.",
        ),
        (
            ["claims", "--preset", "scale", "--sizes", "[1000, 7]"],
            "sizes 7; wanted some of 1000, 3000, 10000, 30000, 45000. Correct --sizes.",
        ),
        (
            ["claims", "--sizes", "[1000]"],
            "--sizes with the preset clutter; wanted sizes of scale or scale-gpu alone. Leave them "
            "out, or choose another preset.",
        ),
        (
            ["claims", "--seeds", "1"],
            "--seeds 1; wanted 2 or more: an interval needs a spread. Run more seeds.",
        ),
        (
            ["probe", "--probes", "0"],
            "--probes 0; wanted 2 or more: the untrained network and the last epoch. Choose "
            "another number.",
        ),
        (
            ["probe", "--epochs", "0"],
            "0 epochs of batches of 64; wanted at least 1 of each. Correct the recipe.",
        ),
        (
            ["probe", "--noise", "pears"],
            "no label noise 'pears'; wanted one of aligned, asymmetric, confusion, human, "
            "human:FILE, instance, matrix:FILE.npy, openset, pair, symmetric. Correct the name.",
        ),
        (
            ["grid", "--axes", "{colour: [red]}"],
            f"Study has no field colour; wanted axes that are fields of it: {FIELDS}. Name an axis "
            "for every field without default, and no other.",
        ),
        (
            ["grid", "--axes", "{data: [mnist]}"],
            "no data 'mnist'; wanted one of cifar10, clutter, digits. Correct the name.",
        ),
        (
            ["grid", "--workers", "0"],
            "--workers 0; wanted 1 or more. Leave it out for as many as there are cores.",
        ),
    ],
)
def test_unusable_input_gets_one_line_and_exit_code_2(
    words, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "lab", *words)
    assert (code, out) == (2, "")
    assert err == f"tailcut: error: {message}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("axes", ["{rate: 0.4}", "{network: mlp-16}", "[1, 2]", "{rate: [0"])
def test_axes_that_are_no_lists_by_name_get_one_line_and_exit_code_2(
    axes, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *GRID, axes)
    assert (code, out) == (2, "")
    assert err.startswith("tailcut: error: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["claims"], ["grid", "--axes", "{probes: [0]}"]])
def test_a_device_that_is_not_there_is_refused_before_anything_is_trained(words, tmp_path, capsys):
    place = tmp_path / "out"
    code = main(["lab", *words, "--device", "cuda:99", "--out", str(place)])
    assert code == 2
    assert capsys.readouterr().err == (
        "tailcut: error: no device 'cuda:99' here; wanted auto, cpu, cuda, cuda:1 or mps. "
        "Correct --device.\n"
    )
    assert not place.exists()
