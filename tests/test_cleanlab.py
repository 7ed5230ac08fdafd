"""docs/cleanlab.md is run: what cleanlab makes of the audit's probabilities, features and table."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

PAGE = (Path(__file__).parents[1] / "docs" / "cleanlab.md").read_text(encoding="utf-8")
FIRST, *REST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def audited(memoriser):
    """What the first block leaves behind, and which labels are wrong."""
    problem = memoriser.problem
    names = {
        "model": memoriser.network,
        "train": problem.train.loader(),
        "holdout": problem.holdout.loader(),
    }
    exec(FIRST, names)
    return names, (problem.train.given != problem.train.clean).numpy()


def after(part, audited):
    """What a block of the page leaves behind."""
    pytest.importorskip("cleanlab")
    names = dict(audited[0])
    (block,) = (each for each in REST if part in each)
    exec(block, names)
    return names


def test_rows_are_those_of_the_table(audited):
    names, _ = audited
    issues, pred_probs, features = (names[each] for each in ("issues", "pred_probs", "features"))
    np.testing.assert_allclose(pred_probs.sum(1), 1)
    np.testing.assert_array_equal(pred_probs.argmax(1), issues["predicted_label"])
    assert len(features) == len(issues)
    assert features.shape[1] == names["model"][-1].in_features


def test_confident_learning(audited):
    _, wrong = audited
    found = after("cleanlab.filter", audited)["wrong"]
    assert wrong[found].mean() > 0.9
    assert found[wrong].mean() > 0.8


# cleanlab 2.9 renames as pandas 3.1 would not have it
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_datalab(audited, capsys):
    pytest.importorskip("datasets")
    _, wrong = audited
    found = after("Datalab", audited)["suspects"]["is_label_issue"].to_numpy()
    assert "Audit complete" in capsys.readouterr().out
    assert wrong[found].mean() > 0.9
    assert found[wrong].mean() > 0.6


def test_clean_learning_trains_without_what_the_table_flags(audited, memoriser):
    learner = after("CleanLearning", audited)["learner"]
    names, _ = audited
    flagged = names["issues"]["is_label_issue"].to_numpy()
    np.testing.assert_array_equal(learner.get_label_issues()["is_label_issue"], flagged)
    true = memoriser.problem.train.clean.numpy()
    plain = clone(learner.clf).fit(names["features"], names["labels"])
    cleaned, noisy = (
        (each.predict(names["features"]) == true).mean() for each in (learner.clf, plain)
    )
    assert cleaned > noisy + 0.1


def test_no_block_is_left_out():
    assert len(REST) == 3
