"""One experiment in one directory: noisy data, a network trained on it, its references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from tailcut.files import store
from tailcut.files.whole import change_as_one, write_atomically
from tailcut.lab.data.problems import Problem
from tailcut.lab.samples import Samples
from tailcut.lab.training.networks import build
from tailcut.lab.training.recipe import Recipe
from tailcut.lab.training.records import Epoch, State, Trained
from tailcut.lab.training.sgd import train
from tailcut.network.stream import accuracy

STATES = ("last", "oracle", "noisy")
"""Weights kept of a training: after the last epoch, and of the two best ones."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """A finished training.

    Attributes:
        problem: Data.
        network: In evaluation mode, in the state of the last epoch.
        trained: Records and states.
        fit: Accuracy of the last state on the given training labels: 1 is interpolation.
    """

    problem: Problem
    network: nn.Module
    trained: Trained
    fit: float

    def accuracy_of(self, state: State) -> float:
        """Accuracy on the true test labels with another state; the network keeps its own."""
        self.network.load_state_dict(state)
        measured = accuracy(self.network, self.problem.test.loader())
        self.network.load_state_dict(self.trained.last)
        return measured

    def baselines(self) -> dict[str, float]:
        """Accuracy on the true test labels: last epoch, early stopping, averaged weights."""
        return {
            "last epoch": self.accuracy_of(self.trained.last),
            "noisy-holdout early stopping": self.accuracy_of(self.trained.noisy),
            "oracle early stopping": self.accuracy_of(self.trained.oracle),
            **{name: self.accuracy_of(each) for name, each in self.trained.averages.items()},
        }


def conduct(
    network: str | nn.Module,
    problem: Problem,
    recipe: Recipe,
    *,
    seed: int,
    device: str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Experiment:
    """Build a lab network and train it on a problem: the one way to train.

    Args:
        network: Its name as in `networks.build`, or one that is `untrained`, which then changes.
        problem: Data.
        recipe: Hyperparameters.
        seed: Of the initial weights and the order of the samples.
        device: To train on.
        checkpoint: Where an interrupted training goes on from.
        on_epoch: Called with every finished epoch.
    """
    if isinstance(network, str):
        network = untrained(network, problem, seed=seed)
    network = network.to(device)
    trained = train(network, problem, recipe, seed=seed, checkpoint=checkpoint, on_epoch=on_epoch)
    network.eval()
    return Experiment(problem, network, trained, accuracy(network, problem.train.loader()))


def untrained(name: str, problem: Problem, *, seed: int) -> nn.Module:
    """The network as `conduct` builds it before its first epoch: a control."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = tuple(problem.train.inputs.shape[1:])
        return build(name, shape, problem.classes).eval()


def save(experiment: Experiment, directory: Path, about: dict[str, Any]) -> None:
    """The weights, the noisy data as npz, the epochs as a table, and `result.json`, as one."""
    change_as_one(directory, lambda place: _write(experiment, place, about))


def _write(experiment: Experiment, directory: Path, about: dict[str, Any]) -> None:
    for name in STATES:
        store.save_tensors(directory / f"{name}.safetensors", getattr(experiment.trained, name))
    for name in ("train", "holdout", "test"):
        save_npz(directory / f"{name}.npz", getattr(experiment.problem, name))
    epochs = pd.DataFrame([asdict(epoch) for epoch in experiment.trained.epochs])
    store.write_text(directory / "epochs.csv", epochs.to_csv(index=False))
    summary = {
        "schema": store.SCHEMA,
        **about,
        "fit": experiment.fit,
        "baselines": experiment.baselines(),
        "best_epoch": experiment.trained.oracle_epoch.epoch,
        "seconds": {"train": sum(epoch.seconds for epoch in experiment.trained.epochs)},
    }
    store.write_json(directory / "result.json", summary)


def save_npz(path: Path, samples: Samples) -> None:
    """Arrays `inputs`, `labels` and, where known, `clean`."""
    arrays: dict[str, Any] = {"inputs": samples.inputs.numpy(), "labels": samples.given.numpy()}
    if samples.clean is not None:
        arrays["clean"] = samples.clean.numpy()

    def write(place: Path) -> None:
        with place.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write_atomically(path, write)
