"""A study: one network trained under controlled label noise, and probed on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tailcut
from tailcut.errors import SpecError, StoreError
from tailcut.files import store
from tailcut.lab.claims.probe import Record, probe
from tailcut.lab.data.problems import Problem
from tailcut.lab.noise import transitions as noise
from tailcut.lab.training.experiment import PROBLEMS, RECIPES
from tailcut.lab.training.networks import build
from tailcut.lab.training.recipe import DIGITS, Recipe
from tailcut.lab.training.sgd import Epoch, train
from tailcut.network.checkpoints import load_checkpoint
from tailcut.network.stream import usual_device

_DIGITS = 4
"""Decimals kept of every figure in a record: the rest is noise, and would fill the files."""


@dataclass(frozen=True)
class Study:
    """What is trained, on which labels, and when it is probed.

    Attributes:
        data: Of the problem: digits, clutter or cifar10.
        network: As in `networks.build`: mlp-128, cnn, resnet-16, mlp/bottleneck-9.
        noise: Kind of label noise.
        rate: As the kind counts it.
        seed: Of samples, labels, weights and order.
        train: Training samples.
        holdout: Held-out samples, as noisy.
        test: Test images; all of them if not given, as always for digits.
        epochs: Passes over them.
        learning_rate: The largest; the data's usual recipe has the schedule.
        batch_size: Samples a step.
        weight_decay: On all parameters.
        augment: Flip and crop images.
        probes: How many states are probed, the untrained and the last among them, on a
            logarithmic scale of epochs; or which epochs, 0 for the untrained network; 0 for none.
        repair: Whether the last state is also repaired, with the noisy holdout.
    """

    data: str = "digits"
    network: str = "mlp"
    noise: str = "symmetric"
    rate: float = 0.4
    seed: int = 0
    train: int = 1100
    holdout: int = 200
    test: int | None = None
    epochs: int = DIGITS.epochs
    learning_rate: float = DIGITS.learning_rate
    batch_size: int = DIGITS.batch_size
    weight_decay: float = DIGITS.weight_decay
    augment: bool = False
    probes: int | tuple[int, ...] = 6
    repair: bool = False

    def __post_init__(self) -> None:
        noise.checked_kind(self.noise)
        if self.data not in PROBLEMS:
            raise SpecError(
                f"no data {self.data!r}",
                wanted=f"one of {', '.join(PROBLEMS)}",
                advice="Correct the name",
            )
        _ = self.recipe  # refuses what cannot be trained
        if self.data == "digits" and self.test is not None:
            raise SpecError(
                f"{self.test} test samples of digits",
                wanted="no number: all that neither train nor are held out are tested on",
                advice="Leave it out",
            )
        if not isinstance(self.probes, int):
            object.__setattr__(self, "probes", tuple(self.probes))
            self._require_epochs(tuple(self.probes))
        elif self.probes == 1 or self.probes < 0:
            raise SpecError(
                f"{self.probes} probes",
                wanted="0, or at least 2: the untrained network and the last epoch",
                advice="Choose another number",
            )

    def _require_epochs(self, epochs: tuple[int, ...]) -> None:
        if not epochs or not all(0 <= epoch <= self.epochs for epoch in epochs):
            raise SpecError(
                f"probes at the epochs {list(epochs)}",
                wanted=f"some of 0..{self.epochs}",
                advice="Choose other epochs; 0 is the untrained network",
            )

    def problem(self) -> Problem:
        """The noisy data."""
        sizes = {"train": self.train, "holdout": self.holdout}
        if self.test is not None:
            sizes["test"] = self.test
        return PROBLEMS[self.data](rate=self.rate, seed=self.seed, kind=self.noise, **sizes)

    @property
    def recipe(self) -> Recipe:
        """The hyperparameters."""
        return replace(
            RECIPES[self.data],
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            augment=self.augment,
        )

    def probed_epochs(self) -> list[int]:
        """Those chosen; or 0, then on a logarithmic scale up to the last, `probes` at most."""
        if not isinstance(self.probes, int):
            return sorted(set(self.probes))
        if not self.probes:
            return []
        steps = max(1, self.probes - 2)
        later = (round(self.epochs ** (step / steps)) for step in range(steps + 1))
        return sorted({0, *later} if self.probes > 2 else {0, self.epochs})


def conduct(
    study: Study,
    directory: Path | None = None,
    *,
    device: str = "auto",
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Record:
    """Train, probe, and perhaps repair.

    Args:
        study: All of it.
        directory: Where an interrupted study goes on from: checkpoint and probes so far.
        device: To work on; by default a GPU if there is one where this runs.
        on_epoch: Told of every epoch.

    Returns:
        `epochs` (records of the training), `probes` (see `probe.probe`, each with its `epoch`),
        `last` and `best_epoch` accuracies on true test labels, `noisy_epoch` that of the epoch
        best by the holdout, and `repair` if wanted.

    Raises:
        StoreError: See `require_own`.
    """
    kept = _Kept(directory, study)
    problem = study.problem()
    network = _built(study, problem, usual_device() if device == "auto" else device)
    wanted = study.probed_epochs()

    def look(number: int) -> None:
        if number in wanted and number not in kept.probes:
            network.eval()
            kept.add(number, rounded(probe(network, problem, seed=study.seed)))

    def after(epoch: Epoch) -> None:
        look(epoch.epoch)
        on_epoch(epoch)

    if not kept.begun:
        look(0)
    trained = train(
        network,
        problem,
        study.recipe,
        seed=study.seed,
        checkpoint=kept.checkpoint,
        on_epoch=after,
    )
    network.eval()
    record: Record = {
        "epochs": [asdict(epoch) for epoch in trained.epochs],
        "probes": [kept.probes[number] for number in sorted(kept.probes)],
        "last": trained.epochs[-1].test,
        "best_epoch": trained.oracle_epoch.test,
        "noisy_epoch": trained.noisy_epoch.test,
    }
    if study.repair:
        record["repair"] = _repaired(network, problem)
    return rounded(record)


def require_own(directory: Path, study: Study) -> None:
    """Refuse a directory from which a study cannot go on.

    Raises:
        StoreError: One that holds another study, or a training that was not probed.
    """
    _Kept(directory, study)


def rounded(content: Any) -> Any:
    """Plain data with its numbers cut to four decimals; NaN and infinities become None."""
    if isinstance(content, float):
        return round(content, _DIGITS) if math.isfinite(content) else None
    if isinstance(content, dict):
        return {name: rounded(value) for name, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return content


class _Kept:
    """Probes so far, in a file beside the checkpoint."""

    def __init__(self, directory: Path | None, study: Study) -> None:
        self.probes: dict[int, Record] = {}
        self._study, self._path = store.plain(asdict(study)), None
        self.checkpoint: Path | None = None
        if directory is not None:
            self._path, self.checkpoint = directory / "probes.json", directory / "checkpoint.pt"
            self._read(self._path)
            self._require(study.probed_epochs(), self.checkpoint)

    @property
    def begun(self) -> bool:
        """Whether a checkpoint is there: its weights are no longer the untrained ones."""
        return self.checkpoint is not None and self.checkpoint.is_file()

    def add(self, epoch: int, record: Record) -> None:
        self.probes[epoch] = {"epoch": epoch, **record}
        if self._path is not None:
            content = {"schema": store.SCHEMA, "study": self._study}
            store.write_json(self._path, {**content, "probes": list(self.probes.values())})

    def _require(self, wanted: list[int], checkpoint: Path) -> None:
        """Every probe up to the checkpoint, from which no way leads back."""
        if not self.begun:
            return
        content = load_checkpoint(checkpoint)
        over = len(content.get("epochs", ())) if isinstance(content, dict) else 0
        missed = [epoch for epoch in wanted if epoch <= over and epoch not in self.probes]
        if missed:
            raise StoreError(
                f"{checkpoint} is {over} epochs on, and no probe is there of {missed}",
                wanted="a training whose probes lie beside it in probes.json",
                advice="Delete the checkpoint, or choose another directory",
            )

    def _read(self, path: Path) -> None:
        if not path.is_file():
            return
        content = store.read_json(path)
        if content.get("study") != self._study:
            raise StoreError(
                f"{path} is of another study: {content.get('study')}",
                wanted=f"probes of {self._study}",
                advice="Delete its directory, or choose another one",
            )
        self.probes = {each["epoch"]: each for each in content["probes"]}


def _built(study: Study, problem: Problem, device: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(study.seed)
        shape = tuple(problem.train.inputs.shape[1:])
        return build(study.network, shape, problem.classes).to(device).eval()


def _repaired(network: nn.Module, problem: Problem) -> Record:
    fix = tailcut.repair(
        network,
        problem.train.loader(),
        problem.holdout.loader(),
        clean=problem.test.loader(),
        progress=False,
    )
    clean = fix.summary["clean"]
    told = {name: fix.summary[name] for name in ("verdict", "readout", "rank", "strength")}
    return {**told, "before": clean["before"], "after": clean["after"]}
