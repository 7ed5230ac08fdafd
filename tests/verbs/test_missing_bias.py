"""Heads without bias: as good as with one where the features allow it, else it is said."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import tailcut
from reference import flipped


@pytest.fixture(scope="module")
def unbiased(memoriser):
    """The memoriser without the bias of its head, repaired."""
    p, model = memoriser.problem, copy.deepcopy(memoriser.network)
    model[-1].bias = None
    return tailcut.repair(
        model,
        p.train.loader(),
        p.holdout.loader(),
        clean=p.test.loader(),
        force=True,
        progress=False,
    )


def test_a_head_without_bias_gains_what_one_with_a_bias_does(unbiased, memoriser):
    p = memoriser.problem
    biased = tailcut.repair(
        memoriser.network,
        p.train.loader(),
        p.holdout.loader(),
        clean=p.test.loader(),
        force=True,
        progress=False,
    )
    assert (unbiased.verdict, unbiased.readout) == ("cut", "lda")
    assert unbiased.model[-1].bias is None
    assert unbiased.summary["clean"]["after"] > biased.summary["clean"]["after"] - 0.015
    assert "no bias" not in unbiased.reason


def test_the_curve_of_a_head_without_bias_is_that_of_the_network_delivered(unbiased):
    rank = unbiased.rank
    ranks = unbiased.curve.ranks
    place = ranks.index(rank) if rank in ranks else len(ranks) - 1
    said = float(unbiased.curve.accuracy("clean")[place])
    assert said == pytest.approx(unbiased.summary["clean"]["after"], abs=0.01)


def in_a_row(n: int, seed: int, *, ones: bool):
    """Three classes in a row about the origin, which no map through the origin tells apart.

    With a feature that is 1 for all samples it does.
    """
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(n) % 3
    inputs_ND = 0.3 * torch.randn(n, 4, generator=generator)
    inputs_ND[:, 0] += 3 * (labels_N - 1)
    if ones:
        inputs_ND[:, 3] = 1
    return inputs_ND, flipped(labels_N, 3, 0.2, seed)


@pytest.mark.parametrize("judged", [True, False])
@pytest.mark.parametrize("ones", [True, False])
def test_where_the_missing_bias_keeps_the_gain_small_the_reason_says_so(judged, ones):
    torch.manual_seed(0)
    features = nn.Linear(4, 4, bias=False)
    nn.init.eye_(features.weight)
    model = nn.Sequential(features, nn.Linear(4, 3, bias=False))
    fix = tailcut.repair(
        model,
        [in_a_row(600, 1, ones=ones)],
        [in_a_row(300, 2, ones=ones)] if judged else None,
        depth="head",
        views=[],
        force=True,
        progress=False,
    )
    if ones:
        assert "no bias" not in fix.reason
    elif judged:
        _, _, told = fix.reason.partition("; the head has no bias, which keeps the gain small: ")
        told, _, rest = told.removeprefix("with one the best readout gets ").partition(" ")
        assert float(told) > 10
        assert rest.startswith("points more of the held-out labels")
    else:
        assert "; the head has no bias, which changes " in fix.reason
        assert " % of the predictions" in fix.reason
