"""The same function in another form gains what the plain network does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import tailcut


def repaired(network, problem):
    return tailcut.repair(
        network.eval(),
        problem.train.loader(),
        problem.holdout.loader(),
        clean=problem.test.loader(),
        progress=False,
    )


@pytest.fixture(scope="module")
def plain(memoriser):
    return repaired(memoriser.network, memoriser.problem)


class TwoHeads(nn.Module):
    """Two heads of the same features, of which only the mean is the head that it had."""

    def __init__(self, network):
        super().__init__()
        self.body = copy.deepcopy(network[:-1])
        self.first, self.second = copy.deepcopy(network[-1]), copy.deepcopy(network[-1])
        torch.manual_seed(0)
        apart = 0.1 * torch.randn_like(self.first.weight)
        with torch.no_grad():
            self.first.weight += apart
            self.second.weight -= apart

    def forward(self, inputs):
        features = self.body(inputs)
        return (self.first(features) + self.second(features)) / 2


class Functional(nn.Module):
    """Its layers never run: only their weights are used."""

    def __init__(self, network):
        super().__init__()
        self.network = copy.deepcopy(network)

    def forward(self, inputs):
        for layer in self.network[:-1]:
            if isinstance(layer, nn.Linear):
                inputs = nn.functional.linear(inputs, layer.weight, layer.bias)
            else:
                inputs = layer(inputs)
        return self.network[-1](inputs)


def normed(network):
    network = copy.deepcopy(network)
    for layer in network[:-1]:
        if isinstance(layer, nn.Linear):
            parametrizations.weight_norm(layer)
    return network


@pytest.mark.parametrize("form", [TwoHeads, Functional, normed])
def test_another_form_gains_as_much(form, memoriser, plain):
    fix = repaired(form(memoriser.network), memoriser.problem)
    assert (fix.verdict, fix.readout, fix.strength) == ("cut", plain.readout, plain.strength)
    assert fix.diagnosis.layers.filtered == plain.diagnosis.layers.filtered == 2
    assert fix.summary["clean"]["after"] == pytest.approx(plain.summary["clean"]["after"], abs=0.01)
    assert fix.summary["clean"]["before"] < fix.summary["clean"]["after"] - 0.15
