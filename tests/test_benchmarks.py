"""The study: what is trained for rules and what only to report, and that its steps fit together."""

from dataclasses import replace

import audit
import fine_tuning
import pytest
import retraining
import study
import torch
from drawing import figures
from page import END, START, page, readme
from settings import SETTINGS, Setting, of_role
from telling import STEPS, easy, read, table, trained_again
from texts import Rated, Texts, drawn
from torch import nn
from trainings import Training

from tailcut.errors import DataError
from tailcut.files.store import read_json, write_json
from tailcut.lab.data.digits import digits_problem
from tailcut.lab.training.recipe import Recipe

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


LATER = {"nearest mean", "CUTS", "ALED"}


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


def _page_is_written(tmp_path, step, words):
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
    result = tmp_path / "results" / f"{TINY.name}-0.json"
    measured = read_json(result)
    missing = measured | {
        part: {name: value for name, value in measured[part].items() if name not in LATER}
        for part in ("rivals", "auroc")
    }
    write_json(result, missing)
    words += ["--again", "scores"]
    assert "measured in" in step("measure")
    assert read_json(result)["filled"] == {"names": ["ALED"], "device": "cpu"}
    words[-1] = "rivals"
    assert "measured in" in step("measure")
    filled = read_json(result)
    assert filled.pop("filled") == {"names": sorted(LATER), "device": "cpu"}
    assert filled == measured
    assert step("measure") == ""
    write_json(result, missing | {"accuracy": {"last epoch": 0.0}})
    with pytest.raises(DataError, match="is of another network; wanted the weights that were"):
        step("measure")
    del words[-2:]
    write_json(result, measured)
    assert "raw inputs not asked yet: left out of the averages" in step("table")
    assert "measured in" in step("inputs")
    assert step("inputs") == ""
    assert "measured in" in step("holdouts")
    assert step("holdouts") == ""
    told = step("table")
    assert "== development" in told
    assert f"{TINY.name}, 1 seeds (easy: left out of the averages)" in told
    assert "tailcut minus others" not in told
    _page_is_written(tmp_path, step, words)
    (row,) = read(tmp_path / "results").to_dict("records")
    assert row["step: untouched"] == row["last epoch"]
    assert row["50 held out"] > 0
    assert row["step: true labels"] >= row["step: untouched"]


def test_under_confusion_the_two_classes_are_told_apart_from_all(tmp_path, monkeypatch):
    confused = replace(TINY, noise="confusion", recipe=replace(TINY.recipe, epochs=6))
    monkeypatch.setenv("TAILCUT_STUDY", str(tmp_path / "study"))
    monkeypatch.setitem(SETTINGS, confused.name, confused)
    monkeypatch.setattr(study, "register", lambda: None)
    words = ["--settings", confused.name, "--results", str(tmp_path / "results")]
    monkeypatch.setattr("sys.argv", ["study.py", "train", "measure", *words])
    study.main()
    found = read_json(tmp_path / "results" / f"{confused.name}-0.json")
    assert set(found["corrective"]) == {"all classes", "confused classes"}
    everywhere, two = found["corrective"].values()
    assert everywhere["last epoch"] == found["accuracy"]["last epoch"]
    assert everywhere["tailcut"] == found["accuracy"]["tailcut"]
    assert everywhere["CUTS"] == found["rivals"]["CUTS"]
    assert two["last epoch"] < everywhere["last epoch"]
    (row,) = read(tmp_path / "results").to_dict("records")
    assert row["confused classes: tailcut"] == pytest.approx(100 * two["tailcut"])
    assert "SSD told all wrong labels" in row


def test_five_folds_a_filter_and_a_sixth_training(tmp_path, monkeypatch, capsys):
    pytest.importorskip("cleanlab")
    setting = replace(TINY, recipe=replace(TINY.recipe, epochs=4))
    monkeypatch.setenv("TAILCUT_STUDY", str(tmp_path / "study"))
    monkeypatch.setitem(SETTINGS, setting.name, setting)
    monkeypatch.setattr(study, "register", lambda: None)
    words = ["--settings", setting.name, "--results", str(tmp_path / "results")]
    monkeypatch.setattr("sys.argv", ["study.py", "retrain", *words])
    study.main()
    assert "retrain in" in capsys.readouterr().out
    found = read_json(tmp_path / "results" / "retrained" / f"{setting.name}-0.json")
    assert found["trainings"] == 6
    assert found["samples"] == round((1 - found["issues"]["share"]) * 300)
    assert found["confused classes"] is None
    assert 0.5 < found["auroc"] <= 1
    assert found["issues"]["wrong among the kept"] < 0.4
    study.main()
    assert capsys.readouterr().out == ""  # it is done


def test_every_fold_is_asked_by_a_network_that_has_not_seen_it(tmp_path, monkeypatch):
    training, seen = Training(TINY, 0), []
    problem = training.problem()
    rows = {image.numpy().tobytes() for image in problem.train.inputs}

    def conduct(_training, part, *_):
        known = {image.numpy().tobytes() for image in part.train.inputs}
        seen.append(rows - known)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        return retraining.Experiment(part, network, None, 0.0)

    asked = []
    monkeypatch.setattr(retraining, "_conduct", conduct)
    monkeypatch.setattr(retraining, "_probabilities", lambda _, loader: _noted(loader, asked))
    found = retraining.out_of_fold(training, problem, tmp_path, "cpu")
    torch.testing.assert_close(found.sum(1), torch.ones(300).double())
    assert len(seen) == 5
    assert all(part <= unseen for part, unseen in zip(asked, seen, strict=True))
    assert set.union(*asked) == rows
    retraining.out_of_fold(training, problem, tmp_path, "cpu")
    assert len(seen) == 5  # the folds are there already


def _noted(loader, asked):
    inputs = torch.cat([batch[0] for batch in loader])
    asked.append({image.numpy().tobytes() for image in inputs})
    return torch.full((len(inputs), 10), 0.1).double()


def test_the_probes_head_is_the_one_that_the_holdout_likes_best():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    problem = digits_problem(rate=0.2, seed=0, train=400, holdout=100)
    before = network[1].weight.clone()
    retraining.probe(network, problem, 100)
    assert torch.equal(network[1].weight, before)
    inputs, labels, _ = problem.test[torch.arange(len(problem.test))]
    assert (network(inputs).argmax(1) == labels).double().mean() > 0.7


def test_a_probe_then_all_of_it_and_nothing_from_scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("TAILCUT_STUDY", str(tmp_path))
    assert retraining.lpft(Training(TINY, 0), tmp_path) is None
    monkeypatch.setattr(retraining, "backbone", lambda _, network: network)
    gently = replace(TINY, recipe=replace(TINY.recipe, learning_rate=0.001))
    found = retraining.lpft(Training(gently, 0), tmp_path)
    assert found is not None
    assert set(found["accuracy"]) == {"linear probe", "last epoch", "noisy-holdout early stopping"}
    assert found["accuracy"]["linear probe"] > 0.4  # a random layer of digits tells much already
    assert found["accuracy"]["last epoch"] > 0.4
    assert found["samples"] == 300


def test_what_trains_again_has_rows_of_its_own(tmp_path):
    folds = {"accuracy": {"last epoch": 0.7}, "confused classes": 0.6, "auroc": 0.9}
    write_json(tmp_path / "retrained" / "a-0.json", folds)
    write_json(tmp_path / "lpft" / "a-0.json", {"accuracy": {"linear probe": 0.5}})
    assert trained_again(tmp_path, "a-0") == {
        "accuracy": {
            "does not fold, trains again: 5 folds, last epoch": 0.7,
            "confused classes: does not fold, trains again: 5 folds": 0.6,
            "does not fold, trains again: LP-FT, linear probe": 0.5,
        },
        "auroc": {"does not fold, trains again: 5 folds, self-confidence": 0.9},
    }
    assert trained_again(tmp_path, "b-0") == {"accuracy": {}, "auroc": {}}


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


def test_the_tables_in_readme_and_docs_are_those_of_the_results():
    results, root = read(study.RESULTS), study.README.parent
    front = study.README.read_text(encoding="utf-8")
    assert readme(front, results) == front, "run `python benchmarks/study.py page`"
    assert page(results) == (root / "docs" / "study" / "study.md").read_text(encoding="utf-8")
    named = {"fine-tuning"} | {name for name, _ in figures(results)}
    assert {each.stem for each in (root / "docs" / "study").glob("*.svg")} == named


def test_the_page_of_the_audits_is_that_of_their_results():
    found = [read_json(path) for path in sorted(audit.AUDITS.glob("*.json"))]
    written = (study.PAGES / "audit.md").read_text(encoding="utf-8")
    assert written == audit.HEAD + audit.table(found) + "\n", "run `python benchmarks/audit.py`"


def test_what_is_told_of_fine_tuned_networks_is_that_of_their_results():
    found = [read_json(path) for path in sorted(fine_tuning.TUNED.glob("*.json"))]
    written = (study.PAGES / "fine-tuning.md").read_text(encoding="utf-8")
    front = study.README.read_text(encoding="utf-8")
    assert written == fine_tuning.page(found), "run `python benchmarks/fine_tuning.py`"
    assert fine_tuning.readme(front, found) == front, "run `python benchmarks/fine_tuning.py`"


def test_an_audit_s_row_says_what_came_true_beside_what_was_expected():
    """Of flags of which three in four are right, where two in three were expected."""
    one = {"noise_rate": 0.4, "noise_interval": [0.35, 0.45], "seconds": 2.0, "auroc": 0.9}
    one |= {"precision": 0.75, "expected_precision": 2 / 3, "recall": 0.5, "expected_recall": None}
    found = {"name": "a", "role": "development", "wrong": 0.41, "audit": one, "others": {}}
    row = audit.row(found | {"without a holdout": {"auroc": 0.8}})
    assert row["estimated"] == "40.0 [35.0, 45.0]"
    assert row["precision (expected)"] == "75.0 (66.7)"
    assert row["recall (expected)"] == "50.0 (-)"
    assert (row["AUROC"], row["AUROC, no holdout"]) == ("90.0", "80.0")
