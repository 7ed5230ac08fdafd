"""A training of the study: where its files lie, its data, and its networks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from settings import SETTINGS, Setting
from torch import nn

from tailcut.files import store
from tailcut.lab.data.problems import Problem
from tailcut.lab.data.sources import SOURCES
from tailcut.lab.noise.transitions import confused_classes
from tailcut.lab.samples import Samples
from tailcut.lab.training.experiment import untrained
from tailcut.network.weights import load_weights


@dataclass(frozen=True)
class Training:
    """One seed of a setting."""

    setting: Setting
    seed: int

    @property
    def name(self) -> str:
        """Of its folder, and of its result."""
        return f"{self.setting.name}-{self.seed}"

    @property
    def data_name(self) -> str:
        """Of the noisy data."""
        return f"{self.setting.data}-{self.seed}"

    @property
    def folder(self) -> Path:
        """Under $TAILCUT_STUDY."""
        return Path(os.environ.get("TAILCUT_STUDY", "runs/study")) / self.name

    @property
    def checkpoint(self) -> Path:
        """There while it is trained."""
        return self.folder / "checkpoint.pt"

    @property
    def record(self) -> Path:
        """Written last."""
        return self.folder / "training.json"

    @property
    def done(self) -> bool:
        """Whether it was finished."""
        return self.record.is_file()

    def finished(self) -> dict[str, Any]:
        """The record of a finished training."""
        return store.read_json(self.record)

    def problem(self) -> Problem:
        """The noisy data, the same whenever it is asked for."""
        chosen = self.setting
        return SOURCES[chosen.problem].make(
            rate=chosen.rate, kind=chosen.noise, seed=self.seed, **chosen.sizes
        )

    def confused(self, problem: Problem) -> Samples | None:
        """Test samples of the two classes that interclass confusion swaps; None for other noise."""
        if self.setting.noise != "confusion":
            return None
        classes = torch.tensor(confused_classes(problem.classes))
        return problem.test.rows(torch.isin(problem.test.given, classes))

    def untrained(self, problem: Problem) -> nn.Module:
        """The network before its first epoch."""
        return untrained(self.setting.network, problem, seed=self.seed)

    def network(self, problem: Problem) -> nn.Module:
        """In the state of the last epoch."""
        network = self.untrained(problem)
        load_weights(network, self.folder / "last.safetensors")
        return network.eval()


def described(device: torch.device) -> str:
    """A GPU by its name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


TINY = {"train": 2_000, "holdout": 500, "test": 500}
"""Samples to see whether everything runs."""


def trainings(
    names: Sequence[str], seeds: Sequence[int] | None, *, tiny: bool = False
) -> Iterator[Training]:
    """Those asked for: of each setting its seeds, or those of them that are named.

    Args:
        names: Of settings.
        seeds: None for all.
        tiny: One epoch of few samples; use other folders than for the real ones.
    """
    for name in names:
        setting = SETTINGS[name]
        if tiny:
            once = replace(setting.recipe, epochs=1)
            setting = replace(setting, recipe=once, sizes=TINY)
        for seed in setting.seeds:
            if seeds is None or seed in seeds:
                yield Training(setting, seed)


def collected(
    asked: Iterable[Training], folder: Path, measured: Callable[[Training], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Results of all networks in a folder, those asked for measured where they are missing.

    Args:
        asked: Finished trainings; others are left out.
        folder: One file for each.
        measured: What is written into it.
    """
    for training in asked:
        path = folder / f"{training.name}.json"
        if training.done and not path.exists():
            store.write_json(path, measured(training))
            print(training.name, flush=True)
    return [store.read_json(path) for path in sorted(folder.glob("*.json"))]
