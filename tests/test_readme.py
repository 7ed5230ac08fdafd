"""What the README says is run."""

import re
import shlex
from pathlib import Path

import pytest

from tailcut.cli.main import COMMANDS, LAB_COMMANDS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_python_lines_run_as_they_stand(memoriser, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    problem = memoriser.problem
    names = {
        "model": memoriser.network,
        "train": problem.train.loader(),
        "holdout": problem.holdout.loader(),
    }
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    assert capsys.readouterr().out.startswith("Repair(cut: ")
    assert (tmp_path / "runs" / "mine" / "report.html").exists()
    assert next(iter(names["issues"])) == "is_label_issue"


@pytest.mark.parametrize(
    "line", re.findall(r"^tailcut (.*)", README.replace("\\\n", " "), re.MULTILINE)
)
def test_the_commands_exist(line):
    first, second, *_ = shlex.split(line)
    assert second in LAB_COMMANDS if first == "lab" else first in COMMANDS


def test_every_file_that_it_names_is_there():
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[1] / path).exists(), path
