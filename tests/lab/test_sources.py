"""Data words: those there are, and one that a test adds."""

import pytest

from tailcut.errors import SpecError
from tailcut.files.store import read_json
from tailcut.lab.claims.study import Study
from tailcut.lab.data.digits import digits
from tailcut.lab.data.problems import Problem
from tailcut.lab.data.sources import SOURCES, source
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.training.recipe import CLUTTER, DIGITS, Recipe


def test_each_word_has_the_recipe_and_sizes_that_studies_were_made_with():
    assert list(SOURCES) == ["cifar10", "clutter", "digits"]
    assert [SOURCES[name].recipe for name in SOURCES] == [Recipe(), CLUTTER, DIGITS]
    sizes = [(each.train, each.holdout) for each in SOURCES.values()]
    assert sizes == [(10_000, 1_000), (4_000, 500), (1_100, 200)]
    assert SOURCES["digits"].train_under("openset") == 800
    assert SOURCES["digits"].train_under("human") == 1_100
    assert SOURCES["clutter"].train_under("openset") == 4_000
    with pytest.raises(SpecError, match="no label noise 'pears'"):
        SOURCES["digits"].train_under("pears")


@pytest.fixture
def few(monkeypatch):
    """The word `few`: the first 400 digits."""
    monkeypatch.setitem(SOURCES, "few", None)

    @source("few", recipe=Recipe(epochs=1), train=100, holdout=20)
    def few_problem(*, rate, seed, kind="symmetric", train=100, holdout=20, test=50):
        whole = digits()
        pool, tested = whole.rows(slice(200)), whole.rows(slice(200, 200 + test))
        sizes = {"train": train, "holdout": holdout, "seed": seed}
        return Problem.of(pool, tested, noise=noise_of(kind, rate), **sizes)

    return few_problem


def test_a_word_is_added_by_registering_it(few):
    assert SOURCES["few"].make is few
    problem = Study(data="few", train=60, holdout=30, test=40, rate=1.0).problem()
    assert [len(part) for part in (problem.train, problem.holdout, problem.test)] == [60, 30, 40]
    assert not (problem.train.given == problem.train.clean).any()
    with pytest.raises(SpecError, match="wanted one of cifar10, clutter, digits, few"):
        Study(data="many")


@pytest.mark.usefixtures("few")
def test_a_registered_word_is_one_of_the_command_line(tmp_path, capsys):
    from tailcut.cli.main import main

    run_words = ["lab", "train", "--data", "few", "--network", "mlp-8", "--quiet"]
    assert main([*run_words, "--out", str(tmp_path / "run")]) == 0
    told = read_json(tmp_path / "run" / "result.json")
    assert (told["data"], told["recipe"]["epochs"]) == ("few", 1)
    assert main(["lab", "train", "--data", "many"]) == 2
    assert capsys.readouterr().err == (
        "tailcut: error: no data 'many'; wanted one of cifar10, clutter, digits, few. Correct the "
        "name.\n"
    )
