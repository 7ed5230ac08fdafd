"""Label scores of others: Gaussian classes in few directions find wrong labels."""

import pytest
import torch
from sklearn.covariance import MinCovDet
from sklearn.metrics import roc_auc_score

from tailcut.lab.baselines import scores
from tailcut.lab.baselines.subject import Subject


@pytest.fixture(scope="module")
def clouds():
    """Three classes in twelve directions, a fifth of the labels the next class."""
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(450) % 3
    features = torch.randn(450, 12, generator=generator)
    features[torch.arange(450), true] += 4
    wrong = torch.rand(450, generator=generator) < 0.2
    return features, torch.where(wrong, (true + 1) % 3, true), wrong


def test_wrong_labels_are_suspected(clouds):
    features, given, wrong = clouds
    suspicion = scores.probability_wrong(features, given, 3)
    assert roc_auc_score(wrong, suspicion) > 0.95
    assert suspicion.min() >= 0
    assert suspicion.max() <= 1


def test_the_scale_of_features_does_not_matter(clouds):
    features, given, _ = clouds
    there = scores.probability_wrong(1e-3 * features, given, 3)
    here = scores.probability_wrong(features, given, 3)
    torch.testing.assert_close(there, here, atol=1e-6, rtol=1e-3)


def test_of_two_classes_the_difference_of_their_means_is_the_direction(clouds, monkeypatch):
    """The paper's own case, written out: one direction, no random one to average over."""
    features, given, _ = clouds
    features, given = features[given < 2].double(), given[given < 2]
    means = [features[given == k].mean(0) for k in (0, 1)]
    direction = (means[0] - means[1]) / (means[0] - means[1]).norm()
    found = scores._between(features, given, 2)[:, 0]
    assert abs(float(found @ direction)) == pytest.approx(1)

    monkeypatch.setattr(scores, "_PROJECTIONS", 1)
    monkeypatch.setattr(torch, "randn", lambda *size, **_: torch.zeros(*size).double() + 1)
    projected = torch.stack([features @ found, features.sum(1)], 1)
    densities = []
    for k in (0, 1):
        fit = MinCovDet(random_state=0).fit(projected[given == k].numpy())
        root = torch.from_numpy(fit.covariance_).det().sqrt()
        distance = torch.from_numpy(fit.mahalanobis(projected.numpy()))
        densities.append((-distance / 2).exp() / (2 * torch.pi * root) * (given == k).sum())
    posterior = torch.stack(densities, 1) / sum(densities)[:, None]
    expected = 1 - posterior.gather(1, given[:, None])[:, 0]
    torch.testing.assert_close(scores.probability_wrong(features, given, 2), expected)


@pytest.mark.parametrize("name", scores.SCORES)
def test_every_score_finds_what_a_network_remembers(memoriser, name):
    p = memoriser.problem
    subject = Subject(memoriser.network, p.train.loader(), p.holdout.loader(), p.test.loader())
    suspicion = scores.SCORES[name](subject)
    assert roc_auc_score(p.train.given != p.train.clean, suspicion) > 0.8


def test_evaluated_on_others_a_subject_keeps_what_it_knows(memoriser):
    p = memoriser.problem
    subject = Subject(memoriser.network, p.train.loader(), p.holdout.loader(), p.test.loader())
    known, asked = subject.train_features, subject.test_features
    other = subject.evaluated_on(p.holdout.loader())
    assert other.train_features is known
    assert torch.equal(other.test_features[0], subject.holdout_features[0])
    assert not torch.equal(other.test_features[0], asked[0])
