"""The study: what is trained for rules and what only to report, and that its steps fit together."""

import pytest
import study
import torch
from drawing import figures
from page import END, START
from settings import SETTINGS, Setting, of_role
from telling import STEPS, easy, read, table
from texts import Rated, Texts, drawn

from tailcut.lab.recipe import Recipe
from tailcut.network.store import write_json

TINY = Setting(
    "development",
    "digits",
    "mlp-32",
    Recipe(epochs=3, learning_rate=0.05),
    "symmetric",
    0.4,
    (0,),
    {"train": 300, "holdout": 100},
)


def test_no_network_with_its_noise_and_data_has_both_roles():
    seen = {
        role: {
            (each.problem, each.network, each.noise, each.recipe.augment)
            for each in of_role(role).values()
        }
        for role in ("development", "validation")
    }
    assert not seen["development"] & seen["validation"]
    assert set(SETTINGS) == {*of_role("development"), *of_role("validation")}


def test_both_roles_have_a_network_from_scratch_an_augmented_a_pretrained_and_one_of_text():
    for role in ("development", "validation"):
        chosen = of_role(role).values()
        assert {each.recipe.augment for each in chosen if each.problem == "cifar10"} == {
            False,
            True,
        }
        assert "minilm" in {each.network for each in chosen}
    assert not any(each.easy for each in of_role("validation").values())


def test_the_label_is_the_first_wrong_rating_among_those_drawn():
    rated = Rated("text", (1, 1, 1, 1, -1, 0))
    assert rated.majority == 1
    assert Rated("text", (1, 1, -1, -1)).majority is None

    class Draw:
        def permutation(self, votes):
            return votes[::-1]

    assert [drawn(rated, (-1, 1), Draw(), raters) for raters in (1, 3)] == [-1, -1]
    assert [drawn(Rated("t", (-1, 1, 1, 1)), (-1, 1), Draw(), raters) for raters in (1, 3, 4)] == [
        1,
        1,
        -1,
    ]


def test_a_batch_of_texts_is_as_long_as_its_longest():
    ids = torch.tensor([[5, 6, 0, 0, 0], [5, 6, 7, 0, 0], [1, 2, 3, 4, 5]])
    texts = Texts(ids, torch.tensor([0, 1, 0]), torch.tensor([0, 0, 0]))
    (inputs, given, _), *_ = texts.rows(torch.tensor([0, 1])).loader(2)
    assert inputs["input_ids"].tolist() == [[5, 6, 0], [5, 6, 7]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert given.tolist() == [0, 1]
    assert isinstance(texts.true(), Texts)


def test_a_setting_goes_through_all_steps(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TAILCUT_STUDY", str(tmp_path / "study"))
    monkeypatch.setitem(SETTINGS, TINY.name, TINY)
    monkeypatch.setattr(study, "register", lambda: None)  # other tests must not see those networks
    words = ["--settings", TINY.name, "--results", str(tmp_path / "results")]

    def step(name):
        monkeypatch.setattr("sys.argv", ["study.py", name, *words])
        study.main()
        return capsys.readouterr().out

    assert step("status").split() == ["development", "digits-mlp-32-symmetric-40-0", "-"]
    assert "'epoch': 3" in step("train")
    assert step("train") == ""  # it is done
    assert "fits" in step("status")
    folder = tmp_path / "study" / f"{TINY.name}-0"
    assert sorted(each.name for each in folder.iterdir()) == ["last.safetensors", "training.json"]
    assert "measured in" in step("measure")
    assert step("measure") == ""
    assert "raw inputs not asked yet: left out of the averages" in step("table")
    assert "measured in" in step("inputs")
    assert step("inputs") == ""
    assert "measured in" in step("holdouts")
    assert step("holdouts") == ""
    told = step("table")
    assert "== development" in told
    assert f"{TINY.name}, 1 seeds (easy: left out of the averages)" in told
    assert "tailcut minus others" not in told
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    words += ["--pages", str(tmp_path), "--readme", str(readme)]
    drawn_ = [line.rsplit("/", 1)[1] for line in step("page").split()]
    phases = ("effective-rank", "NC1-of-given-labels", "still-remembered", "diagram")
    assert drawn_ == [*(f"phase-{name}.svg" for name in phases), "study.md", "README.md"]
    assert (tmp_path / drawn_[0]).read_text().count("cut of the") == 2
    assert f"{TINY.name} (1, easy)" in (tmp_path / "study.md").read_text()
    assert "### Smaller holdouts" in (tmp_path / "study.md").read_text()
    assert readme.read_text().startswith("before\n")
    assert readme.read_text().endswith(f"{END}\nafter\n")
    assert "old" not in readme.read_text()
    (row,) = read(tmp_path / "results").to_dict("records")
    assert row["step: untouched"] == row["last epoch"]
    assert row["50 held out"] > 0
    assert row["step: true labels"] >= row["step: untouched"]


@pytest.mark.parametrize(("near", "left_out"), [(56.0, True), (54.0, False)])
def test_a_setting_is_easy_where_raw_inputs_come_within_five_points(
    tmp_path, monkeypatch, near, left_out
):
    monkeypatch.setitem(SETTINGS, "data-network", TINY)
    accuracy = {"last epoch": 0.5, "tailcut": 0.6}
    raw = {"LDA on raw inputs": 0.1, "logistic regression on raw inputs": near / 100}
    result = {
        "name": "data-network-0",
        "setting": {"role": "validation"},
        "seed": 0,
        "accuracy": accuracy | dict.fromkeys(_OTHERS, 0.55),
        "rivals": {"SAP": 0.55, "MASC, last layer": 0.56},
        "controls": {"untrained, repaired": 0.2},
        "waterfall": {name: {"chosen": 0.5, "best": 0.5} for name in STEPS},
        "auroc": {"audit": 0.9},
        "geometry": {
            **dict.fromkeys(("effective_rank", "nc1_given", "nc1_true", "memorised"), 2.0),
            "memorisation": {"train": 1.0, "views": {"flip": 0.2}},
        },
        "wrong": 0.4,
        "with_holdout": {"noise": {"rate": 0.3}},
        "fit": 1.0,
    }
    write_json(tmp_path / "data-network-0.json", result)
    write_json(tmp_path / "inputs" / f"{TINY.data}-0.json", {"controls": raw, "auroc": {}})
    results = read(tmp_path)
    assert (easy(results) == {"data-network"}) == left_out
    assert ("tailcut minus others" in table(results)) != left_out
    names = [name for name, _ in figures(results)]
    assert ("waterfall-validation" in names) != left_out
    assert table(results).startswith("== validation: accuracy on true test labels, %")


_OTHERS = (
    "noisy-holdout early stopping",
    "oracle early stopping",
    "paper's cut",
    "tailcut, no holdout",
    "best candidate",
)
