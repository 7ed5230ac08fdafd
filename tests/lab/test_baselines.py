"""Every rival does what its paper says on a network that memorised its labels."""

import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from tailcut.lab import baselines
from tailcut.lab.baselines import COMPETITORS
from tailcut.lab.controls import CONTROLS
from tailcut.lab.subject import Subject
from tailcut.network.head import find_head


@pytest.fixture(scope="module")
def subject(memoriser):
    p = memoriser.problem
    return Subject(memoriser.network, p.train.loader(), p.holdout.loader(), p.test.loader())


@pytest.fixture(scope="module")
def untouched(memoriser):
    return memoriser.trained.epochs[-1].test


@pytest.mark.parametrize("name", ["paper's cut", "nearest mean", "SAP", "MASC, last layer"])
def test_what_its_paper_promises_is_seen(subject, untouched, name):
    assert COMPETITORS[name](subject) > untouched + 0.02


@pytest.mark.parametrize("name", COMPETITORS)
def test_every_rival_gives_an_accuracy_and_leaves_the_network_alone(subject, name):
    before = {key: value.clone() for key, value in subject.network.state_dict().items()}
    assert 0.2 < COMPETITORS[name](subject) <= 1
    after = subject.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_do_not_mend_the_network(subject, untouched, name):
    assert CONTROLS[name](subject) < untouched + 0.02


def test_permuted_labels_are_at_chance(subject):
    assert CONTROLS["permuted labels"](subject) < 0.25


def test_neighbours_are_those_of_scikit_learn(subject):
    features_ND, given_N = subject.known
    peer = KNeighborsClassifier(5, metric="cosine").fit(features_ND.numpy(), given_N.numpy())
    theirs = peer.score(subject.asked[0].numpy(), subject.asked[1].numpy())
    assert baselines.nearest_neighbours(subject) == pytest.approx(theirs, abs=0.01)


def test_the_ridge_refit_is_scikit_learns(subject, monkeypatch):
    monkeypatch.setattr(baselines, "_RIDGE_PENALTIES", (0.1,))
    features_ND, given_N = (part.double().numpy() for part in subject.known)
    onehot_NK = torch.eye(10)[subject.known[1]].numpy()
    mean_variance = features_ND.var(0).mean()
    peer = Ridge(alpha=0.1 * mean_variance * len(given_N)).fit(features_ND, onehot_NK)
    theirs = peer.predict(subject.asked[0].double().numpy()).argmax(1)
    assert baselines.ridge_refit(subject) == pytest.approx(
        (theirs == subject.asked[1].numpy()).mean(), abs=0.005
    )


def test_a_ways_setting_is_chosen_by_the_noisy_holdout(subject):
    held_ND, given_N = subject.held
    asked_ND, true_N = subject.asked

    def knowing_the_test(features_ND):
        ours = features_ND.shape == asked_ND.shape and torch.equal(features_ND, asked_ND)
        return torch.eye(10)[true_N] if ours else torch.zeros(len(features_ND), 10)

    def knowing_the_holdout(features_ND):
        ours = features_ND.shape == held_ND.shape and torch.equal(features_ND, held_ND)
        return torch.eye(10)[given_N] if ours else torch.zeros(len(features_ND), 10)

    assert subject.best([knowing_the_test, knowing_the_holdout]) < 0.2


def test_the_papers_cut_lies_between_the_last_and_the_best_epoch(subject, memoriser, untouched):
    best = memoriser.trained.oracle_epoch.test
    assert untouched < baselines.papers_cut(subject) < best + 0.05


def test_the_head_is_the_one_that_repair_finds(subject, memoriser):
    inputs = next(iter(memoriser.problem.train.loader()))[0]
    assert subject.head == find_head(memoriser.network, inputs)
