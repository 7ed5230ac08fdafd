"""Words, readouts and views that are registered while the program runs, from the command line."""

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

import tailcut
from tailcut.cli import models
from tailcut.cli.main import main
from tailcut.errors import DataError
from tailcut.network.views import VIEWS, View
from tailcut.numerics import fits
from tailcut.numerics.readout import Readout
from tailcut.readers import registry, sources
from tailcut.readers.found import Found

DIALS = ["--depth", "head", "--rank", "2", "--force", "--quiet"]


def inputs_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    labels_N = torch.arange(60) % 3
    return torch.eye(4)[labels_N] + 0.3 * torch.randn(60, 4), labels_N


@pytest.fixture
def rows(tmp_path):
    """A file of numbers, the last of each line its label."""
    inputs_ND, labels_N = inputs_and_labels()
    table = torch.cat([inputs_ND, labels_N[:, None]], 1).tolist()
    lines = [" ".join(map(str, [*row[:-1], int(row[-1])])) for row in table]
    (tmp_path / "rows.txt").write_text("\n".join(lines))
    return tmp_path / "rows.txt"


READER = """
from pathlib import Path

from tailcut.readers.found import Found
from tailcut.readers.registry import source
from tailcut.readers.words import existing


@source("numbers", "FILE")
def numbers(path, reading):
    import torch

    lines = [line.split() for line in existing(Path(path)).read_text().splitlines()]
    items = torch.tensor([[float(each) for each in line[:-1]] for line in lines])
    return Found(path, items, [int(line[-1]) for line in lines], "tensor", range(len(lines)))
"""


@pytest.fixture
def numbers(tmp_path, monkeypatch):
    """The DATA word `numbers:FILE`: one file beside the other readers."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "numbers.py").write_text(READER)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path / "more")])
    yield
    registry.DATA.pop("numbers", None)
    sys.modules.pop("tailcut.readers.sources.numbers", None)


@pytest.fixture
def toy(monkeypatch):
    """The MODEL word `toy:CLASSES`."""
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))

    @models.model("toy", "CLASSES")
    def opened(classes, asked):
        from tailcut.cli.items import PLAIN

        torch.manual_seed(0)
        network = torch.nn.Linear(4, int(classes))
        return models.Opened(PLAIN, lambda _inputs, _classes: network)


def result(place):
    return json.loads((place / "result.json").read_text())


def helped(capsys, *words):
    with suppress(SystemExit):
        main([*words, "--help"])
    return " ".join(capsys.readouterr().out.split())


def told(capsys, *words):
    assert main(list(words)) == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_data_and_a_model_word_are_used_by_name(rows, numbers, toy, tmp_path):
    words = ["repair", "toy:3", "--data", f"numbers:{rows}[:50]", "--readout", "lda", *DIALS]
    assert main([*words, "--views", "none", "--out", str(tmp_path / "run")]) == 0
    assert (result(tmp_path / "run")["readout"], result(tmp_path / "run")["rank"]) == ("lda", 2)
    table = tmp_path / "issues.csv"
    words = ["audit", "toy:3", "--data", f"numbers:{rows}", "--force", "--quiet"]
    assert main([*words, "--views", "none", "--depth", "head", "--out", str(table)]) == 0
    assert len(table.read_text().splitlines()) == 61


def test_help_and_errors_list_the_words_that_are_registered(numbers, toy, capsys):
    told_of_data = (
        "digits, csv:FILE, hf:NAME, imagefolder:DIR, json:FILE, jsonl:FILE, npz:FILE, "
        "numbers:FILE, parquet:FILE, tsv:FILE, webdataset:SHARDS or package.module:factory"
    )
    told_of_models = (
        "torchvision:NAME, timm:NAME, hf:DIR_OR_ID, lab:NAME, toy:CLASSES or package.module:factory"
    )
    for command in ("repair", "diagnose", "audit"):
        text = helped(capsys, command)
        assert f"DATA is {told_of_data}; DATA[a:b] takes rows a to b, DATA[-n:] the last n." in text
        assert f"model {told_of_models} " in text
        assert ("READOUT is one of auto, project, centroid, " in text) == (command != "audit")
    assert told(capsys, "repair", "toy:3", "--data", "other:x") == (
        f"tailcut: error: no data called 'other:x'; wanted {told_of_data}, each perhaps with "
        "[a:b]. Correct DATA."
    )
    assert told(capsys, "repair", "toi:3", "--data", "digits") == (
        f"tailcut: error: no model called 'toi:3'; wanted {told_of_models}. Correct MODEL."
    )
    assert told(capsys, "repair", "--data", "digits") == (
        f"tailcut: error: no MODEL; wanted {told_of_models}. See tailcut repair --help."
    )


@pytest.mark.parametrize("word", ["digits:", "digits:x", "csv", "csv:"])
def test_a_word_stands_alone_or_with_a_colon_as_it_is_registered(word, capsys):
    assert told(capsys, "repair", "lab:mlp", "--data", word).startswith(
        f"tailcut: error: no data called {word!r}; wanted digits, csv:FILE, "
    )


def test_a_word_that_stands_alone_is_registered_without_a_form(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "DATA", dict(registry.DATA))

    @registry.source("triangle", "")
    def _(rest, reading):
        assert rest == ""
        inputs_ND, labels_N = inputs_and_labels()
        return Found("triangle", inputs_ND, labels_N.tolist(), "tensor", range(60))

    words = ["repair", "toy:3", "--data", "triangle", "--views", "none", "--readout", "ridge"]
    assert main([*words, *DIALS, "--out", str(tmp_path / "run")]) == 0
    assert result(tmp_path / "run")["readout"] == "ridge"


def test_registering_and_helping_imports_no_torch():
    script = (
        "import sys, contextlib, tailcut.cli.main\n"
        "from tailcut.cli.models import model\n"
        "from tailcut.numerics.fits import FITS\n"
        "from tailcut.readers.registry import source\n"
        "source('mine', 'FILE')(None); model('own', 'NAME')(None); FITS['median'] = None\n"
        "for words in ([], ['repair']):\n"
        "    with contextlib.suppress(SystemExit): tailcut.cli.main.main([*words, '--help'])\n"
        "assert not {'torch', 'numpy', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(each in done.stdout for each in ("mine:FILE", "own:NAME", "lda, median"))


@pytest.fixture
def shifted(monkeypatch):
    """The readout `shifted`: class means, each a little further from the others."""

    def fit(moments, label_set, spectrum):
        found = Readout.centroid(moments, label_set, spectrum=spectrum)
        return replace(found, gains_RK=1.5 * found.gains_RK, offsets_RK=1.5 * found.offsets_RK)

    monkeypatch.setitem(fits.FITS, "shifted", fit)


def test_a_readout_is_used_by_name(shifted):
    torch.manual_seed(0)
    model, data = torch.nn.Linear(4, 3), [inputs_and_labels()]
    dials = {"rank": 2, "views": [], "depth": "head", "force": True, "progress": False}
    fix = tailcut.repair(model, data, readout="shifted", **dials)
    plain = tailcut.repair(model, data, readout="centroid", **dials)
    assert (fix.readout, fix.rank, plain.readout) == ("shifted", 2, "centroid")
    ratio = fix.model.weight / plain.model.weight
    torch.testing.assert_close(ratio, ratio.mean().expand(3, 4), rtol=1e-3, atol=0)
    with pytest.raises(DataError) as error:
        tailcut.repair(model, data, readout="svm", **dials)
    assert str(error.value) == (
        "readout='svm'; wanted one of auto, project, centroid, ridge, lda, shifted. "
        "Correct readout."
    )


def test_a_readout_is_used_and_listed_on_the_command_line(
    shifted, toy, rows, numbers, tmp_path, capsys
):
    words = ["repair", "toy:3", "--data", f"numbers:{rows}", "--views", "none", *DIALS]
    assert main([*words, "--readout", "shifted", "--out", str(tmp_path / "run")]) == 0
    assert result(tmp_path / "run")["readout"] == "shifted"
    assert "READOUT is one of auto, project, centroid, ridge, lda, shifted." in helped(
        capsys, "repair"
    )
    assert told(capsys, *words, "--readout", "svm") == (
        "tailcut: error: --readout svm; wanted one of auto, project, centroid, ridge, lda, "
        "shifted. Correct the name."
    )


def test_a_readout_that_is_not_registered_cannot_be_fitted():
    moments = tailcut.Moments(4, 3).update(inputs_and_labels()[0], given=inputs_and_labels()[1])
    assert torch.equal(fits.fitted("lda", moments).fold(2)[0], Readout.lda(moments).fold(2)[0])
    with pytest.raises(DataError) as error:
        fits.fitted("project", moments)
    assert str(error.value) == (
        "no readout called 'project' that is fitted; wanted one of centroid, ridge, lda. "
        "Correct the name, or put the function that fits it into FITS."
    )


def test_a_view_is_used_by_name(toy, rows, numbers, tmp_path, monkeypatch):
    seen = []

    def dimmed(inputs, generator):
        seen.append(len(inputs))
        return 0.9 * inputs + 0.05 * torch.randn(inputs.shape, generator=generator)

    monkeypatch.setitem(VIEWS, "dimmed", View("dimmed", dimmed))
    torch.manual_seed(0)
    dials = {"readout": "lda", "rank": 2, "depth": "head", "force": True, "progress": False}
    fix = tailcut.repair(torch.nn.Linear(4, 3), [inputs_and_labels()], views=["dimmed"], **dials)
    assert list(fix.summary["memorisation"]["views"]) == ["dimmed"]
    assert sum(seen) > 0
    words = ["repair", "toy:3", "--data", f"numbers:{rows}", "--readout", "lda", *DIALS]
    assert main([*words, "--views", "dimmed", "--out", str(tmp_path / "run")]) == 0
    assert list(result(tmp_path / "run")["memorisation"]["views"]) == ["dimmed"]
