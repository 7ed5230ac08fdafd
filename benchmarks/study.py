"""The settings of `settings.py` trained, measured and told: `python benchmarks/study.py --help`.

    TAILCUT_STUDY=FOLDER python benchmarks/study.py train     # nights; goes on where it stopped
    TAILCUT_STUDY=FOLDER python benchmarks/study.py status    # what is trained so far

A training leaves `last.safetensors` and `training.json` in a folder of its own under
$TAILCUT_STUDY (else runs/study).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from foreign import register
from settings import SETTINGS, Setting
from torch import nn

from tailcut.lab.data import Problem
from tailcut.lab.experiment import PROBLEMS, Experiment, conduct
from tailcut.lab.networks import build
from tailcut.lab.training import Epoch
from tailcut.network import store


@dataclass(frozen=True)
class Training:
    """One seed of a setting, and where its files lie."""

    setting: Setting
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.setting.name}-{self.seed}"

    @property
    def folder(self) -> Path:
        """Under $TAILCUT_STUDY."""
        return Path(os.environ.get("TAILCUT_STUDY", "runs/study")) / self.name

    @property
    def done(self) -> bool:
        """Whether it was finished."""
        return (self.folder / "training.json").is_file()

    def problem(self) -> Problem:
        """The noisy data, the same whenever it is asked for."""
        chosen = self.setting
        return PROBLEMS[chosen.problem](
            rate=chosen.rate, kind=chosen.noise, seed=self.seed, **chosen.sizes
        )

    def untrained(self, problem: Problem) -> nn.Module:
        """The network before its first epoch, as `conduct` builds it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            shape = tuple(problem.train.inputs.shape[1:])
            return build(self.setting.network, shape, problem.classes).eval()

    def network(self, problem: Problem) -> nn.Module:
        """In the state of the last epoch."""
        network = self.untrained(problem)
        store.load_weights(network, self.folder / "last.safetensors")
        return network.eval()


def trainings(names: list[str], seeds: list[int] | None) -> Iterator[Training]:
    """Those asked for: of each setting its seeds, or those of them that are named."""
    for name in names:
        for seed in SETTINGS[name].seeds:
            if seeds is None or seed in seeds:
                yield Training(SETTINGS[name], seed)


def train(training: Training) -> None:
    """Train, going on from a checkpoint; then keep the last weights and the record."""
    problem, start = training.problem(), time.perf_counter()

    def told(epoch: Epoch) -> None:
        figures = {name: round(value, 4) for name, value in asdict(epoch).items()}
        print(training.name, figures, flush=True)

    done = conduct(
        training.setting.network,
        problem,
        training.setting.recipe,
        seed=training.seed,
        checkpoint=training.folder / "checkpoint.pt",
        on_epoch=told,
    )
    store.save_tensors(training.folder / "last.safetensors", done.trained.last)
    store.write_json(training.folder / "training.json", record(training, done))
    (training.folder / "checkpoint.pt").unlink()
    print(training.name, f"done in {time.perf_counter() - start:.0f} s", flush=True)


def record(training: Training, done: Experiment) -> dict[str, Any]:
    """Accuracies of every epoch, of the ends, and of the two kinds of early stopping."""
    train_ = done.problem.train
    assert train_.clean is not None
    return {
        "schema": store.SCHEMA,
        "name": training.name,
        "seed": training.seed,
        "setting": asdict(training.setting),
        "samples": {
            part: len(getattr(done.problem, part)) for part in ("train", "holdout", "test")
        },
        "classes": done.problem.classes,
        "wrong": float((train_.given != train_.clean).double().mean()),
        "fit": done.fit,
        "baselines": done.baselines(),
        "best_epoch": done.trained.oracle_epoch.epoch,
        "noisy_epoch": done.trained.noisy_epoch.epoch,
        "epochs": [asdict(epoch) for epoch in done.trained.epochs],
    }


def status(chosen: Iterator[Training]) -> None:
    """One line for each training."""
    for each in chosen:
        begun = (each.folder / "checkpoint.pt").is_file()
        told = "begun" if begun else "-"
        if each.done:
            found = store.read_json(each.folder / "training.json")
            accuracies = ", ".join(f"{k} {100 * v:.1f}" for k, v in found["baselines"].items())
            told = (
                f"fits {100 * found['fit']:.1f} of {100 * found['wrong']:.1f} wrong, {accuracies}"
            )
        print(f"{each.setting.role:<12} {each.name:<44} {told}")


def main() -> None:
    """Do one step for the settings asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["train", "status"])
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", nargs="*", type=int)
    parser.add_argument("--threads", type=int, help="processor threads to compute with")
    asked = parser.parse_args()
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    register()
    chosen = trainings(asked.settings, asked.seeds)
    if asked.step == "status":
        status(chosen)
        return
    for each in chosen:
        if not each.done:
            train(each)


if __name__ == "__main__":
    main()
