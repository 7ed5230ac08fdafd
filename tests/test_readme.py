"""What the README says is run."""

import copy
import functools
import re
import shlex

import pytest

from documents import ROOT, blocks, run
from tailcut.cli.main import COMMANDS, LAB_COMMANDS
from tailcut.errors import TailcutWarning

README = (ROOT / "README.md").read_text()
BLOCKS = blocks("README.md")


def hosts_in(block):
    """The packages inside which its lines run."""
    return re.findall(r"from tailcut\.(sklearn|lightning|transformers) import", block)


def run_inside(host, names):
    return run("README.md", f"from tailcut.{host} import", names)


def test_the_python_lines_run_as_they_stand(memoriser, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    problem = memoriser.problem
    names = {
        "model": memoriser.network,
        "train": problem.train.loader(),
        "holdout": problem.holdout.loader(),
    }
    for block in BLOCKS:
        if not hosts_in(block):
            exec(block, names)
    assert capsys.readouterr().out.startswith("Repair(cut: ")
    assert (tmp_path / "runs" / "mine" / "report.html").exists()
    assert next(iter(names["issues"])) == "is_label_issue"


def test_the_lines_for_scikit_learn_run(memoriser):
    train = memoriser.problem.train
    names = {"features": train.inputs.flatten(1).numpy(), "labels": train.given.numpy()}
    assert 0.3 < run_inside("sklearn", names)["classifier"].noise_rate_ < 0.5


@pytest.mark.filterwarnings("ignore:Starting from v1.9.0")  # of which logger Lightning takes
def test_the_lines_for_lightning_run(memoriser, tmp_path, monkeypatch):
    from lightning.pytorch import Trainer

    from hosts import QUIET, LightningNetwork

    monkeypatch.chdir(tmp_path)
    problem, network = memoriser.problem, copy.deepcopy(memoriser.network)
    names = {
        "module": LightningNetwork(network.train(), rate=1e-5),
        "train": problem.train.loader(),
        "holdout": problem.holdout.loader(),
        "Trainer": functools.partial(Trainer, **QUIET),
    }
    with pytest.warns(TailcutWarning, match="memorises labels after epoch 1"):
        probe = run_inside("lightning", names)["probe"]
    assert probe.repair_.verdict == "cut"


def test_the_lines_for_hugging_face_run(memoriser, tmp_path):
    from hosts import trainer

    train, holdout = (
        zip(each.inputs, each.given, strict=True)
        for each in (memoriser.problem.train, memoriser.problem.holdout)
    )
    host = trainer(copy.deepcopy(memoriser.network), train, holdout, tmp_path, 2, rate=1e-5)
    with pytest.warns(TailcutWarning, match="memorises labels after epoch 1"):
        names = run_inside("transformers", {"trainer": host})
    assert names["probe"].repair_.verdict == "cut"


@pytest.mark.parametrize(
    "line", re.findall(r"^tailcut (.*)", README.replace("\\\n", " "), re.MULTILINE)
)
def test_the_commands_exist(line):
    first, second, *_ = shlex.split(line)
    assert second in LAB_COMMANDS if first == "lab" else first in COMMANDS


def test_every_file_that_it_names_is_there():
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path
