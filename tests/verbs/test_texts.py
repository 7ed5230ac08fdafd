"""A small BERT that fits its labels, some of them wrong: it forgets under views of its tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

import tailcut

LENGTH, TRAIN, HELD = 12, 400, 200


@dataclass
class Read:
    """A network, batches of training and of held-out texts, and which labels are wrong."""

    network: nn.Module
    train: list
    holdout: list
    wrong_N: Tensor


def texts(n, rate):
    """Half of the words of a text are of its class, the others of none; some labels are wrong."""
    draw = torch.Generator().manual_seed(0)
    true_N = torch.randint(0, 2, (n,), generator=draw)
    own_NT = 10 + 20 * true_N[:, None] + torch.randint(0, 20, (n, LENGTH), generator=draw)
    none_NT = torch.randint(50, 150, (n, LENGTH), generator=draw)
    ids_NT = torch.where(torch.rand(n, LENGTH, generator=draw) < 0.5, own_NT, none_NT)
    ids_NT[:, 0], ids_NT[:, -1] = 1, 2
    wrong_N = torch.rand(n, generator=draw) < rate
    return ids_NT, torch.where(wrong_N, 1 - true_N, true_N), wrong_N


def batches(ids_NT, labels_N):
    return [
        ({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, labels)
        for ids, labels in zip(ids_NT.split(100), labels_N.split(100), strict=True)
    ]


def trained(rate):
    transformers = pytest.importorskip("transformers")
    ids_NT, labels_N, wrong_N = texts(TRAIN + HELD, rate)
    train = batches(ids_NT[:TRAIN], labels_N[:TRAIN])
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=150,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    network = transformers.BertForSequenceClassification(config)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(60):
        for inputs, given_N in train:
            optimiser.zero_grad()
            network(**inputs, labels=given_N).loss.backward()
            optimiser.step()
    return Read(network.eval(), train, batches(ids_NT[TRAIN:], labels_N[TRAIN:]), wrong_N[:TRAIN])


@pytest.fixture(scope="module")
def noisy():
    return trained(0.3)


@pytest.fixture(scope="module")
def clean():
    return trained(0.0)


def test_wrong_labels_of_texts_are_found_by_views_of_their_tokens(noisy):
    issues = tailcut.find_label_issues(noisy.network, noisy.train, noisy.holdout, progress=False)
    blind = tailcut.find_label_issues(
        noisy.network, noisy.train, noisy.holdout, views=[], depth="head", progress=False
    )
    seeing, without = (
        roc_auc_score(noisy.wrong_N.numpy(), -each["label_score"]) for each in (issues, blind)
    )
    assert seeing > max(0.8, without + 0.1)


@pytest.mark.parametrize("holdout", [True, False])
def test_texts_without_a_wrong_label_are_left(clean, holdout):
    held = clean.holdout if holdout else None
    fix = tailcut.repair(clean.network, clean.train, held, progress=False)
    assert fix.verdict == ("leave" if holdout else "unknown")
    assert fix.noise is None or fix.noise.rate < 0.1


def test_the_callers_network_and_random_numbers_are_as_before(noisy):
    before = {name: each.clone() for name, each in noisy.network.state_dict().items()}
    state = torch.get_rng_state()
    tailcut.diagnose(noisy.network.train(), noisy.train, progress=False)
    assert all(module.training for module in noisy.network.modules())
    after = noisy.network.eval().state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), state)
