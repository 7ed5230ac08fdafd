"""Training to interpolation, with a record of every epoch and the early-stopping references."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from tailcut._typing import Inputs
from tailcut.errors import StoreError
from tailcut.files.whole import write_atomically
from tailcut.lab.data.problems import Problem
from tailcut.lab.training.recipe import OPTIMISERS, SCHEDULES, Recipe
from tailcut.network.checkpoints import load_checkpoint
from tailcut.network.stream import accuracy, device_of, fitted

State = dict[str, Tensor]

_DECAY = 0.999


@dataclass(frozen=True)
class Epoch:
    """One epoch: loss and accuracy on the given labels while training, accuracies after it."""

    epoch: int
    loss: float
    train: float
    holdout: float
    test: float
    seconds: float


@dataclass
class Trained:
    """A trained network's records and the states worth comparing with.

    Attributes:
        epochs: One record each.
        last: State after the last epoch.
        oracle: State of the epoch with the best accuracy on *true* test labels: a reference
            that no user can have.
        noisy: State of the epoch with the best accuracy on the noisy holdout: the honest
            early stopping.
        averages: Averages of the weights by name, see `train`.
    """

    epochs: list[Epoch] = field(default_factory=list)
    last: State = field(default_factory=dict)
    oracle: State = field(default_factory=dict)
    noisy: State = field(default_factory=dict)
    averages: dict[str, State] = field(default_factory=dict)

    @property
    def oracle_epoch(self) -> Epoch:
        """The record of the first epoch with the best clean test accuracy."""
        return max(self.epochs, key=lambda epoch: epoch.test)

    @property
    def noisy_epoch(self) -> Epoch:
        """The record of the first epoch with the best noisy holdout accuracy."""
        return max(self.epochs, key=lambda epoch: epoch.holdout)

    def add(self, record: Epoch, network: nn.Module) -> None:
        """Record an epoch and keep its state where it is the last or the best so far."""
        self.epochs.append(record)
        self.last = _copied(network)
        if self.oracle_epoch is record:
            self.oracle = self.last
        if self.noisy_epoch is record:
            self.noisy = self.last


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

    Beside it two averages of its weights are kept: "EMA" of every step (Tarvainen & Valpola
    2017), its decay rising to 0.999, and "SWA" of the epochs in the last quarter (Izmailov et
    al. 2018; deviation: the learning rate goes on falling), BatchNorm statistics taken anew.

    Args:
        network: On the device to train on; the data is brought there.
        problem: Data.
        recipe: Hyperparameters.
        seed: Of the order of the samples, and of what the network draws by chance.
        checkpoint: A file written after every epoch; if it is there, training goes on from
            it, to the same numbers as without the interruption.
        on_epoch: Told of every finished epoch, before it is written; what it looks at is the
            network in that state.

    Raises:
        StoreError: A checkpoint that is damaged.
    """
    about = _about(problem, recipe, seed)
    problem = problem.to(device_of(network))
    steps = recipe.epochs * len(problem.train.loader(recipe.batch_size))
    optimiser = OPTIMISERS[recipe.optimiser](network.parameters(), recipe)
    schedule = SCHEDULES[recipe.schedule](optimiser, recipe, steps)
    averages = {
        "EMA": AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(), use_buffers=True),
        "SWA": AveragedModel(network),
    }
    parts: dict[str, Any] = {"network": network, "optimiser": optimiser, "schedule": schedule}
    parts |= averages
    trained = _resumed(checkpoint, parts, about)
    for number in range(len(trained.epochs) + 1, recipe.epochs + 1):
        start = time.perf_counter()
        loader = problem.train.loader(recipe.batch_size, shuffle=True, seed=1000 * seed + number)
        if recipe.augment:
            loader = _augmented(loader, seed=1000 * seed + number)
        with _seeded(1000 * seed + number, device_of(network)):
            loss, hits = _epoch(network, loader, recipe, optimiser, schedule, averages["EMA"])
        if 4 * number > 3 * recipe.epochs:
            averages["SWA"].update_parameters(network)
        held = accuracy(network, problem.holdout.loader(500))
        test = accuracy(network, problem.test.loader(500))
        seconds = time.perf_counter() - start
        trained.add(Epoch(number, loss, hits, held, test, seconds), network)
        on_epoch(trained.epochs[-1])
        if checkpoint is not None:
            _keep(checkpoint, parts, trained, about)
    inputs = (fitted(_fast(inputs), network) for inputs, *_ in problem.train.loader(500))
    update_bn(inputs, averages["SWA"])
    trained.averages = {name: _copied(each.module) for name, each in averages.items()}
    return trained


def _epoch(
    network: nn.Module,
    loader: Any,
    recipe: Recipe,
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    average: AveragedModel,
) -> tuple[float, float]:
    """Mean loss and accuracy on the given labels, while they change."""
    network.train()
    device = device_of(network)
    sums, n = torch.zeros(2, dtype=torch.float64, device=device), 0
    steps = int(average.n_averaged)
    for batch in loader:
        inputs, labels = fitted(_fast(batch[0]), network), batch[1].to(device)
        with _precision(recipe, device):
            logits = network(inputs) if isinstance(inputs, Tensor) else network(**inputs).logits
            mean_loss = nn.functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        mean_loss.backward()
        optimiser.step()
        schedule.step()
        average.multi_avg_fn = get_ema_multi_avg_fn(min(_DECAY, (1 + steps) / (10 + steps)))
        average.update_parameters(network)
        n, steps = n + len(labels), steps + 1
        right = (logits.argmax(1) == labels).sum()
        sums += torch.stack([mean_loss.detach().double() * len(labels), right.double()])
    network.eval()
    loss, hits = (sums / n).tolist()  # read once: every look at a number waits for the GPU
    return loss, hits


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


def _copied(network: nn.Module) -> State:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _augmented(loader: Any, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for inputs, labels, _ in loader:
        yield flipped_and_cropped(inputs, generator), labels


def flipped_and_cropped(images_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images mirrored, all shifted by up to an eighth of the side, zeros moving in.

    The usual augmentation of CIFAR: 32 x 32 crops of images padded by 4 (He et al. 2016).
    """
    n, _, height, width = images_NCHW.shape
    device = images_NCHW.device
    mirrored_N = (torch.rand(n, generator=generator) < 0.5).to(device)
    images_NCHW = torch.where(mirrored_N[:, None, None, None], images_NCHW.flip(3), images_NCHW)
    border = max(1, height // 8)
    padded_NCHW = nn.functional.pad(images_NCHW, [border] * 4)
    top_N, left_N = torch.randint(0, 2 * border + 1, (2, n), generator=generator).to(device)
    rows_NH1 = (top_N[:, None] + torch.arange(height, device=device))[:, :, None]
    columns_N1W = (left_N[:, None] + torch.arange(width, device=device))[:, None, :]
    samples_N11 = torch.arange(n, device=device)[:, None, None]
    return padded_NCHW.permute(0, 2, 3, 1)[samples_N11, rows_NH1, columns_N1W].permute(0, 3, 1, 2)


def _fast(inputs: Inputs) -> Inputs:
    """Images in the memory order that convolutions are fastest in."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 4:
        return inputs
    return inputs.contiguous(memory_format=torch.channels_last)


def _about(problem: Problem, recipe: Recipe, seed: int) -> dict[str, Any]:
    """What a checkpoint belongs to."""
    labels = zlib.crc32(problem.train.given.numpy().tobytes())
    return {**asdict(recipe), "seed": seed, "samples": len(problem.train), "labels": labels}


def _keep(checkpoint: Path, parts: dict[str, Any], trained: Trained, about: dict[str, Any]) -> None:
    content = {name: part.state_dict() for name, part in parts.items()}
    content["epochs"] = [asdict(epoch) for epoch in trained.epochs]
    content["oracle"], content["noisy"] = trained.oracle, trained.noisy
    content["about"] = about
    write_atomically(checkpoint, lambda place: torch.save(content, place))


def _resumed(checkpoint: Path | None, parts: dict[str, Any], about: dict[str, Any]) -> Trained:
    if checkpoint is None or not checkpoint.is_file():
        return Trained()
    content = load_checkpoint(checkpoint)
    theirs = content.get("about") if isinstance(content, dict) else None
    if theirs != about:
        raise StoreError(
            f"{checkpoint} is of another training: {theirs}",
            wanted=f"a checkpoint of {about}",
            advice="Delete it, or train into another directory",
        )
    try:
        for name, part in parts.items():
            part.load_state_dict(content[name])
        epochs = [Epoch(**epoch) for epoch in content["epochs"]]
        return Trained(epochs, content["network"], content["oracle"], content["noisy"])
    except (KeyError, TypeError, ValueError, RuntimeError) as cause:
        raise StoreError(
            f"{checkpoint} does not fit this network ({cause})",
            wanted="a checkpoint of the same network",
            advice="Delete it, or train into another directory",
        ) from None
