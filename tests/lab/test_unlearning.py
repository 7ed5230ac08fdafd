"""Corrective unlearning does what its papers say, and nothing where there is nothing to forget."""

import pytest
import torch
from torch import nn

from tailcut.lab.baselines import cuts, ssd
from tailcut.lab.baselines.subject import Subject
from tailcut.network.stream import accuracy


@pytest.fixture(scope="module")
def subject(memoriser):
    p = memoriser.problem
    return Subject(memoriser.network, p.train.loader(), p.holdout.loader(), p.test.loader())


@pytest.fixture
def wrong(memoriser):
    train = memoriser.problem.train
    return train.given != train.clean


def weights(network):
    return torch.cat([weight.flatten() for weight in network.parameters()])


def test_with_nothing_to_forget_the_network_stays(subject, wrong):
    assert ssd.forgotten(subject, torch.zeros_like(wrong)) is subject.network


def test_dampening_shrinks_what_matters_more_to_the_forgotten():
    network = nn.Linear(3, 1, bias=False)
    nn.init.ones_(network.weight)
    everything = {"weight": torch.tensor([[1.0, 1.0, 1.0]])}
    unwanted = {"weight": torch.tensor([[20.0, 10.0, 0.5]])}
    twin = ssd.dampened(network, everything, unwanted, alpha=10, factor=1)
    torch.testing.assert_close(twin.weight, torch.tensor([[0.05, 1.0, 1.0]]))
    assert torch.equal(network.weight, torch.ones(1, 3))


def test_dampening_never_enlarges_a_parameter():
    network = nn.Linear(2, 1, bias=False)
    nn.init.ones_(network.weight)
    everything, unwanted = {"weight": torch.ones(1, 2)}, {"weight": torch.tensor([[2.0, 0.0]])}
    twin = ssd.dampened(network, everything, unwanted, alpha=1, factor=5)
    assert torch.equal(twin.weight, torch.ones(1, 2))


def test_what_is_forgotten_is_no_longer_told(subject, wrong, memoriser, monkeypatch):
    monkeypatch.setattr(ssd, "SELECTIONS", (1.0,))
    monkeypatch.setattr(ssd, "DAMPENINGS", (0.1,))
    network = ssd.forgotten(subject, wrong)
    told = memoriser.problem.train.rows(wrong)
    assert accuracy(network, told.loader()) < accuracy(subject.network, told.loader()) - 0.1


def test_importance_is_the_mean_squared_gradient_of_a_batch(subject, wrong):
    found = ssd._importance(subject, torch.ones_like(wrong))
    network, sums, batches = subject.network, 0.0, 0
    (head,) = subject.head.modules(network)
    for inputs, labels, _ in subject.train:
        loss = nn.functional.cross_entropy(network(inputs), labels)
        sums += torch.autograd.grad(loss, head.weight)[0].square()
        batches += 1
    torch.testing.assert_close(found[f"{subject.head.name}.weight"], sums / batches)


def test_proxy_labels_are_all_wrong_and_all_others_alike():
    given = torch.arange(4).repeat(3_000)
    drawn = cuts.wrong_labels(given, 4)
    assert not (drawn == given).any()
    shares = torch.bincount(4 * given + drawn, minlength=16).reshape(4, 4) / 3_000
    torch.testing.assert_close(shares, (1 - torch.eye(4)) / 3, atol=0.05, rtol=0)


def test_a_step_goes_along_the_task_vector(subject):
    twin = cuts.corrupted(subject.network, *proxy(subject))
    ends = weights(twin)
    start = weights(subject.network)
    assert not torch.equal(ends, start)
    back = weights(cuts.stepped(subject.network, twin, -0.5))
    torch.testing.assert_close(back, start - 0.5 * (ends - start))
    nowhere = cuts.stepped(subject.network, twin, 0)
    assert torch.equal(weights(nowhere), start)


def proxy(subject):
    inputs, given = cuts._proxy(subject)
    return inputs, cuts.wrong_labels(given, 10)


def test_a_corrupted_network_knows_its_wrong_labels(subject):
    inputs, labels = proxy(subject)
    twin = cuts.corrupted(subject.network, inputs, labels)
    assert (twin(inputs).argmax(1) == labels).double().mean() > 0.9


def test_self_agreement_is_one_where_neighbours_agree_and_low_where_classes_are_missing():
    features = torch.eye(4).repeat_interleave(20, 0)
    right = 50 * torch.eye(4).repeat_interleave(20, 0)
    assert cuts.self_agreement(features, right) == pytest.approx(1, abs=1e-6)
    one = 50 * torch.eye(4)[:1].repeat(80, 1)
    assert cuts.self_agreement(features, one) == pytest.approx(-0.75, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    mixed = right[torch.randperm(80, generator=generator)]
    assert abs(cuts.self_agreement(features, mixed)) < 0.25
