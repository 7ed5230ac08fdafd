"""What every test may lean on."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import torch
from operators import stand_in

stand_in()

# The networks here are so small that on a busy machine threads only wait for each other.
torch.set_num_threads(1)

# A busy machine makes no promises about the time of one example either.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def cifar10_folder() -> Path:
    """Where CIFAR-10 lies as parquet files."""
    folder = Path(os.environ.get("TAILCUT_DATA", "../shared/data")) / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: TAILCUT_DATA must name the folder with cifar10/ in it")
    return folder


@pytest.fixture(scope="session")
def memoriser():
    """A digits MLP at 100 % on labels of which 40 % are wrong."""
    return _trained(0.4)


@pytest.fixture(scope="session")
def clean_network():
    """The same on true labels: the control."""
    return _trained(0.0)


@pytest.fixture(scope="session")
def convolutions():
    """A small digits CNN whose wrong labels, 40 %, are remembered until there is noise."""
    from tailcut.lab.training.recipe import Recipe

    return _trained(0.4, "cnn-8", Recipe(epochs=60, learning_rate=0.02))


def _trained(rate, network="mlp", recipe=None):
    from tailcut.lab.data.digits import digits_problem
    from tailcut.lab.training.experiment import conduct
    from tailcut.lab.training.recipe import DIGITS

    return conduct(network, digits_problem(rate=rate, seed=0), recipe or DIGITS, seed=0)
