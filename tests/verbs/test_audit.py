"""find_label_issues on digits with known wrong labels."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

import tailcut
from parts import Shuffling


@pytest.fixture(scope="module")
def issues(memoriser):
    return tailcut.find_label_issues(
        memoriser.network,
        memoriser.problem.train.loader(),
        memoriser.problem.holdout.loader(),
        progress=False,
    )


def test_wrong_labels_score_low(issues, memoriser):
    train = memoriser.problem.train
    wrong = (train.given != train.clean).numpy()
    assert roc_auc_score(wrong, -issues["label_score"]) >= 0.95
    assert wrong[issues["is_label_issue"]].mean() >= 0.9


def test_columns_are_those_of_cleanlab(issues, memoriser):
    cleanlabs = ["is_label_issue", "label_score", "given_label", "predicted_label"]
    assert list(issues) == [*cleanlabs, "p_wrong"]
    assert issues["is_label_issue"].dtype == bool
    assert issues["label_score"].between(0, 1).all()
    np.testing.assert_array_equal(issues["given_label"], memoriser.problem.train.given)


def test_what_is_flagged_is_contradicted_and_rather_wrong_than_right(issues):
    contradicted = issues["given_label"] != issues["predicted_label"]
    flagged = contradicted & (issues["p_wrong"] > 0.5)
    assert flagged.equals(issues["is_label_issue"])
    assert 0.25 < flagged.mean() < 0.45


def test_the_probabilities_rank_as_the_scores_do_and_their_mean_is_the_noise_rate(issues):
    ordered = issues.sort_values("label_score", kind="stable")["p_wrong"].to_numpy()
    assert (np.diff(ordered) <= 1e-9).all()
    assert ordered.mean() == pytest.approx(issues.attrs["noise_rate"], abs=1e-6)


def test_held_out_labels_say_how_many_are_wrong_and_what_the_flags_are_worth(issues, memoriser):
    train = memoriser.problem.train
    wrong = (train.given != train.clean).numpy()
    low, high = issues.attrs["noise_interval"]
    assert low < issues.attrs["noise_rate"] < high
    assert issues.attrs["noise_rate"] == pytest.approx(wrong.mean(), abs=0.05)
    flagged = issues["is_label_issue"].to_numpy()
    assert issues.attrs["expected_precision"] == pytest.approx(wrong[flagged].mean(), abs=0.1)
    assert issues.attrs["expected_recall"] == pytest.approx(flagged[wrong].mean(), abs=0.1)


def test_without_held_out_labels_nothing_is_said_of_how_sure_the_rate_is(memoriser):
    found = tailcut.find_label_issues(
        memoriser.network, memoriser.problem.train.loader(), progress=False
    )
    assert found.attrs["noise_interval"] is None
    assert found.attrs["rounds"] == 4


def test_an_index_of_the_loader_becomes_the_index_of_the_table(memoriser):
    train = memoriser.problem.train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(1))
    shuffled = [(train[rows][0], train.given[rows], rows) for rows in order.split(256)]
    found, plain = (
        tailcut.find_label_issues(memoriser.network, loader, views=[], depth="head", progress=False)
        for loader in (shuffled, train.loader())
    )
    assert found.index.tolist() == order.tolist()
    found = found.sort_index()
    assert found["given_label"].tolist() == plain["given_label"].tolist()
    assert found["predicted_label"].tolist() == plain["predicted_label"].tolist()
    np.testing.assert_allclose(found["label_score"], plain["label_score"], atol=1e-6)
    assert (found["is_label_issue"] == plain["is_label_issue"]).mean() > 0.95


def test_an_order_that_changes_unseen_is_refused_where_the_table_would_be_chance(memoriser):
    train = memoriser.problem.train
    own, rows = Shuffling(len(train)), torch.arange(len(train))
    with pytest.raises(tailcut.DataError) as error:
        tailcut.find_label_issues(
            memoriser.network,
            DataLoader(TensorDataset(train.inputs, train.given), 64, sampler=own),
            progress=False,
        )
    assert str(error.value) == (
        "batch 0 of the training samples holds other labels when it is read again; wanted the same "
        "samples in the same order in every pass, or (inputs, labels, index). Turn off what "
        "shuffles, or draws labels anew, or yield each sample's position in the data set as a "
        "third item."
    )
    numbered = DataLoader(TensorDataset(train.inputs, train.given, rows), 64, sampler=own)
    found = tailcut.find_label_issues(memoriser.network, numbered, progress=False)
    wrong = (train.given != train.clean).numpy()
    assert roc_auc_score(wrong, -found.sort_index()["label_score"]) >= 0.95
    assert roc_auc_score(wrong, -found["label_score"]) < 0.6


def test_clean_labels_are_hardly_ever_flagged(clean_network):
    p = clean_network.problem
    found = tailcut.find_label_issues(
        clean_network.network, p.train.loader(), p.holdout.loader(), progress=False
    )
    assert found["is_label_issue"].mean() < 0.05


def test_a_class_in_one_fold_only_is_refused(clean_network):
    model = clean_network.network
    labels = torch.zeros(20, dtype=torch.long)
    labels[:10] = torch.arange(10)
    few = [(clean_network.problem.train.inputs[:20], labels)]
    with pytest.raises(tailcut.DataError) as error:
        tailcut.find_label_issues(model, few, force=True, progress=False)
    assert str(error.value).startswith("class ")
    assert str(error.value).endswith(
        "is in one fifth of the training data only; wanted a few samples of each class, so that "
        "each fifth can be evaluated by the others. Drop the classes that are hardly there, or "
        "bring more of their samples."
    )
