"""The settings of `settings.py` trained, measured and told: `python benchmarks/study.py --help`.

    TAILCUT_STUDY=FOLDER python benchmarks/study.py train     # nights; goes on where it stopped
    TAILCUT_STUDY=FOLDER python benchmarks/study.py status    # what is trained so far
    TAILCUT_STUDY=FOLDER python benchmarks/study.py measure   # one small JSON file for each
    TAILCUT_STUDY=FOLDER python benchmarks/study.py measure --again rivals   # or scores, if late
    TAILCUT_STUDY=FOLDER python benchmarks/study.py holdouts  # with fewer held-out labels
    python benchmarks/study.py inputs                         # controls of the data alone
    TAILCUT_STUDY=FOLDER python benchmarks/study.py retrain   # 5 folds, a filter, a sixth training
    TAILCUT_STUDY=FOLDER python benchmarks/study.py lpft      # pretrained ones: probe, fine-tune
    python benchmarks/study.py table                          # development and validation apart
    python benchmarks/study.py page                           # docs/study, and README's table

A training leaves `last.safetensors` and `training.json` in a folder of its own under
$TAILCUT_STUDY (else runs/study). Results lie in benchmarks/results/study, and in its folders
`holdouts` and `inputs`, of what trains again in `retrained` and `lpft`. Steps may follow each
other: `train measure`. On a GPU see `gpu.py`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from drawing import figures
from filling import FILLS, fill
from foreign import register
from measuring import measure, measure_holdouts, measure_inputs
from page import write
from retraining import lpft, retrain
from settings import SETTINGS
from telling import read, table
from trainings import Training, described, trainings

from tailcut.files import store
from tailcut.lab.training.experiment import Experiment, conduct
from tailcut.lab.training.records import Epoch
from tailcut.network.stream import device_of

RESULTS = Path(__file__).parent / "results" / "study"
PAGES = Path(__file__).parents[1] / "docs" / "study"
README = Path(__file__).parents[1] / "README.md"


def main() -> None:
    """Do the steps asked for, for the settings asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="+", choices=[*STEPS, "table", "page"])
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", nargs="*", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true", help="one epoch of 2 000 samples, to try")
    parser.add_argument("--threads", type=int, help="processor threads to compute with")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--pages", type=Path, default=PAGES)
    parser.add_argument("--readme", type=Path, default=README)
    parser.add_argument("--again", choices=FILLS, help="fill measured results with what came later")
    asked = parser.parse_args()
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    register()
    for step in asked.steps:
        if step == "table":
            print(table(read(asked.results)))
        elif step == "page":
            tell(read(asked.results), asked.pages, asked.readme)
        else:
            for each in trainings(asked.settings, asked.seeds, tiny=asked.tiny):
                STEPS[step](each, asked)


def tell(results: pd.DataFrame, folder: Path, front: Path) -> None:
    """The page with its figures, and the README's table."""
    for name, text in figures(results):
        print(store.write_text(folder / f"{name}.svg", text))
    print(*write(results, folder, front), sep="\n")


def show(training: Training, _: argparse.Namespace) -> None:
    """One line: role, name, and how far it is."""
    told = "begun" if training.checkpoint.is_file() else "-"
    if training.done:
        found = training.finished()
        accuracies = ", ".join(f"{k} {100 * v:.1f}" for k, v in found["baselines"].items())
        told = f"{100 * found['wrong']:.1f} wrong, fits {100 * found['fit']:.1f}, {accuracies}"
    print(f"{training.setting.role:<12} {training.name:<44} {told}")


def train_once(training: Training, asked: argparse.Namespace) -> None:
    """Train what is not finished."""
    if not training.done:
        train(training, asked.device)


def measure_once(training: Training, asked: argparse.Namespace) -> None:
    """Measure what is trained and not measured yet, or what came later (`--again`)."""
    path, start = asked.results / f"{training.name}.json", time.perf_counter()
    if not training.done or path.exists() != (asked.again is not None):
        return
    if asked.again is None:
        found = measure(training, device=asked.device)
    else:
        found = fill(training, store.read_json(path), asked.again, asked.device)
    if found is not None:
        store.write_json(path, found)
        print(training.name, f"measured in {time.perf_counter() - start:.0f} s", flush=True)


def holdouts_once(training: Training, asked: argparse.Namespace) -> None:
    """The same for smaller holdouts."""
    if training.done:
        path = asked.results / "holdouts" / f"{training.name}.json"
        once(path, lambda: measure_holdouts(training, device=asked.device))


def inputs_once(training: Training, asked: argparse.Namespace) -> None:
    """Measure the controls that need nothing but the data."""
    path = asked.results / "inputs" / f"{training.data_name}.json"
    once(path, lambda: measure_inputs(training))


def once(path: Path, measured: Callable[[], dict[str, Any]]) -> None:
    """Write what is measured, unless it was."""
    if not path.exists():
        start = time.perf_counter()
        store.write_json(path, measured())
        print(path.stem, f"measured in {time.perf_counter() - start:.0f} s", flush=True)


def again_once(step: str, training: Training, asked: argparse.Namespace) -> None:
    """Train again, as `retraining.py` has it, where there is no result yet."""
    path = asked.results / AGAIN[step] / f"{training.name}.json"
    if not path.exists():
        folder = training.folder.parent / AGAIN[step] / training.name
        folder.mkdir(parents=True, exist_ok=True)
        found = {"retrain": retrain, "lpft": lpft}[step](training, folder, device=asked.device)
        if found is not None:
            store.write_json(path, found)
            print(training.name, f"{step} in {found['seconds']:.0f} s", flush=True)


AGAIN = {"retrain": "retrained", "lpft": "lpft"}
"""Folders of the steps that train again."""

STEPS: dict[str, Callable[[Training, argparse.Namespace], None]] = {
    "train": train_once,
    "status": show,
    "measure": measure_once,
    "holdouts": holdouts_once,
    "inputs": inputs_once,
    **{step: partial(again_once, step) for step in AGAIN},
}


def train(training: Training, device: str = "cpu") -> None:
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
        device=device,
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
        "device": described(device_of(done.network)),
        "fit": done.fit,
        "baselines": done.baselines(),
        "best_epoch": done.trained.oracle_epoch.epoch,
        "noisy_epoch": done.trained.noisy_epoch.epoch,
        "epochs": [asdict(epoch) for epoch in done.trained.epochs],
    }


if __name__ == "__main__":
    main()
