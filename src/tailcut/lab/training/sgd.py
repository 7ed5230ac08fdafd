"""Training to interpolation, with a record of every epoch and the early-stopping references."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailcut._typing import Inputs
from tailcut.lab.data.problems import Problem
from tailcut.lab.training.augmentation import augmented
from tailcut.lab.training.averages import Averages
from tailcut.lab.training.checkpoint import about, keep, resumed
from tailcut.lab.training.recipe import OPTIMISERS, SCHEDULES, Recipe
from tailcut.lab.training.records import Epoch, Trained
from tailcut.network.stream import accuracy, device_of, fitted


def train(
    network: nn.Module,
    problem: Problem,
    recipe: Recipe,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Trained:
    """Train a network in place on the given labels.

    Args:
        network: On the device to train on; the data is brought there.
        problem: Data.
        recipe: Hyperparameters.
        seed: Of the order of the samples, and of what the network draws by chance.
        checkpoint: A file written after every epoch; if it is there, training goes on from
            it, to the same numbers as without the interruption.
        on_epoch: Called with every finished epoch, before it is written; what it looks at is the
            network in that state.

    Raises:
        StoreError: A checkpoint that is damaged.
    """
    whose = about(problem, recipe, seed)
    loop = _Loop(network, problem.to(device_of(network)), recipe, seed)
    trained = resumed(checkpoint, loop.parts, whose)
    for number in range(len(trained.epochs) + 1, recipe.epochs + 1):
        trained.add(loop.epoch(number), network)
        on_epoch(trained.epochs[-1])
        if checkpoint is not None:
            keep(checkpoint, loop.parts, trained, whose)
    trained.averages = loop.averages.states(loop.training_inputs())
    return trained


class _Loop:
    """A network with what changes while it is trained."""

    def __init__(self, network: nn.Module, problem: Problem, recipe: Recipe, seed: int) -> None:
        self.network, self.problem, self.recipe, self.seed = network, problem, recipe, seed
        self.device = device_of(network)
        steps = recipe.epochs * len(problem.train.loader(recipe.batch_size))
        self.optimiser = OPTIMISERS[recipe.optimiser](network.parameters(), recipe)
        self.schedule = SCHEDULES[recipe.schedule](self.optimiser, recipe, steps)
        self.averages = Averages(network)

    @property
    def parts(self) -> dict[str, Any]:
        """Everything that has a state."""
        own = {"network": self.network, "optimiser": self.optimiser, "schedule": self.schedule}
        return own | self.averages.parts

    def epoch(self, number: int) -> Epoch:
        """Pass once over the training samples, then look at the others."""
        start, seed = time.perf_counter(), 1000 * self.seed + number
        loader: Any = self.problem.train.loader(self.recipe.batch_size, shuffle=True, seed=seed)
        if self.recipe.augment:
            loader = augmented(loader, seed)
        with _seeded(seed, self.device):
            loss, hits = self._pass(loader)
        self.averages.after_epoch(self.network, number, self.recipe.epochs)
        held = accuracy(self.network, self.problem.holdout.loader(500))
        test = accuracy(self.network, self.problem.test.loader(500))
        return Epoch(number, loss, hits, held, test, time.perf_counter() - start)

    def _pass(self, loader: Any) -> tuple[float, float]:
        """Mean loss and accuracy on the given labels, while they change."""
        self.network.train()
        sums, n = torch.zeros(2, dtype=torch.float64, device=self.device), 0
        steps = self.averages.steps
        for batch in loader:
            inputs, labels = fitted(_fast(batch[0]), self.network), batch[1].to(self.device)
            logits, mean_loss = self._step(inputs, labels)
            self.averages.after_step(self.network, steps)
            n, steps = n + len(labels), steps + 1
            right = (logits.argmax(1) == labels).sum()
            sums += torch.stack([mean_loss.detach().double() * len(labels), right.double()])
        self.network.eval()
        loss, hits = (sums / n).tolist()  # read once: every look at a number waits for the GPU
        return loss, hits

    def _step(self, inputs: Inputs, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and mean loss of a batch before the step that it makes."""
        with _precision(self.recipe, self.device):
            plain = isinstance(inputs, Tensor)
            logits = self.network(inputs) if plain else self.network(**inputs).logits
            mean_loss = nn.functional.cross_entropy(logits, labels)
        self.optimiser.zero_grad()
        mean_loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return logits, mean_loss

    def training_inputs(self) -> Iterator[Inputs]:
        """Of all training samples in their order, in batches."""
        batches = self.problem.train.loader(500)
        return (fitted(_fast(inputs), self.network) for inputs, *_ in batches)


def _precision(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    if recipe.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """What layers draw while they train hangs on the epoch alone, not on what ran before it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _fast(inputs: Inputs) -> Inputs:
    """Images in the memory order that convolutions are fastest in."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 4:
        return inputs
    return inputs.contiguous(memory_format=torch.channels_last)
