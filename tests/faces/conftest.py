"""A small task for networks that learn it in seconds: digits, with and without wrong labels."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@pytest.fixture(scope="session")
def digits():
    """By share of wrong labels: data sets of vectors to train on, and held out."""
    from tailcut.lab.data.digits import digits_problem

    def parted(rate):
        problem = digits_problem(rate=rate, seed=0, train=600, holdout=300)
        parts = (problem.train, problem.holdout)
        train, holdout = (TensorDataset(each.inputs.flatten(1), each.given) for each in parts)
        return SimpleNamespace(train=train, holdout=holdout, problem=problem)

    return parted


@pytest.fixture
def network():
    """A perceptron, always with the same weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


@pytest.fixture
def loaders():
    """Two loaders of a task: one shuffles with a generator of its own."""

    def made(task):
        generator = torch.Generator().manual_seed(0)
        train = DataLoader(task.train, batch_size=50, shuffle=True, generator=generator)
        return train, DataLoader(task.holdout, batch_size=100)

    return made
