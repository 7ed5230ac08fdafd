"""The settings of `settings.py` trained, measured and told: `python benchmarks/study.py --help`.

    TAILCUT_STUDY=FOLDER python benchmarks/study.py train     # nights; goes on where it stopped
    TAILCUT_STUDY=FOLDER python benchmarks/study.py status    # what is trained so far
    TAILCUT_STUDY=FOLDER python benchmarks/study.py measure   # one small JSON file for each
    python benchmarks/study.py table                          # development and validation apart
    python benchmarks/study.py figures                        # waterfalls and phase diagrams

A training leaves `last.safetensors` and `training.json` in a folder of its own under
$TAILCUT_STUDY (else runs/study). Results lie in benchmarks/results/study.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from drawing import figures
from foreign import register
from measuring import measure
from settings import SETTINGS
from telling import read, table
from trainings import Training, trainings

from tailcut.lab.experiment import Experiment, conduct
from tailcut.lab.training import Epoch
from tailcut.network import store

RESULTS = Path(__file__).parent / "results" / "study"
FIGURES = Path(__file__).parents[1] / "docs" / "study"


def main() -> None:
    """Do one step for the settings asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["train", "status", "measure", "table", "figures"])
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", nargs="*", type=int)
    parser.add_argument("--threads", type=int, help="processor threads to compute with")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--figures", type=Path, default=FIGURES)
    parser.add_argument(
        "--holdouts", nargs="*", type=int, default=[], help="also repair with so many held out"
    )
    asked = parser.parse_args()
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    if asked.step == "table":
        print(table(read(asked.results)))
        return
    if asked.step == "figures":
        for name, text in figures(read(asked.results)):
            print(store.write_text(asked.figures / f"{name}.svg", text))
        return
    register()
    chosen = list(trainings(asked.settings, asked.seeds))
    if asked.step == "status":
        print("\n".join(map(status, chosen)))
    elif asked.step == "train":
        train_all(chosen)
    else:
        measure_all(chosen, asked.results, asked.holdouts)


def train_all(chosen: Iterable[Training]) -> None:
    """Train what is not finished, one after the other."""
    for each in chosen:
        if not each.done:
            train(each)


def measure_all(chosen: Iterable[Training], results: Path, holdouts: list[int]) -> None:
    """Measure what is trained and not measured yet."""
    for each in chosen:
        path = results / f"{each.name}.json"
        if each.done and not path.exists():
            start = time.perf_counter()
            store.write_json(path, measure(each, holdouts=holdouts))
            print(each.name, f"measured in {time.perf_counter() - start:.0f} s", flush=True)


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
        checkpoint=training.checkpoint,
        on_epoch=told,
    )
    store.save_tensors(training.folder / "last.safetensors", done.trained.last)
    store.write_json(training.record, record(training, done))
    training.checkpoint.unlink(missing_ok=True)
    print(training.name, f"done in {time.perf_counter() - start:.0f} s", flush=True)


def record(training: Training, done: Experiment) -> dict[str, Any]:
    """Accuracies of every epoch, of the ends, and of the two kinds of early stopping."""
    problem = done.problem
    assert problem.train.clean is not None
    return {
        "schema": store.SCHEMA,
        "name": training.name,
        "seed": training.seed,
        "setting": asdict(training.setting),
        "samples": {part: len(getattr(problem, part)) for part in ("train", "holdout", "test")},
        "classes": problem.classes,
        "wrong": float((problem.train.given != problem.train.clean).double().mean()),
        "fit": done.fit,
        "baselines": done.baselines(),
        "best_epoch": done.trained.oracle_epoch.epoch,
        "noisy_epoch": done.trained.noisy_epoch.epoch,
        "epochs": [asdict(epoch) for epoch in done.trained.epochs],
    }


def status(training: Training) -> str:
    """One line: role, name, and how far it is."""
    told = "begun" if training.checkpoint.is_file() else "-"
    if training.done:
        found = training.told()
        accuracies = ", ".join(f"{k} {100 * v:.1f}" for k, v in found["baselines"].items())
        told = f"{100 * found['wrong']:.1f} wrong, fits {100 * found['fit']:.1f}, {accuracies}"
    return f"{training.setting.role:<12} {training.name:<44} {told}"


if __name__ == "__main__":
    main()
