"""Settings of the study trained and measured on one GPU, many at a time, until the time is up.

    TAILCUT_STUDY=FOLDER python benchmarks/gpu.py --minutes 8.5 --results FOLDER

Small networks leave most of a GPU idle, so every training is a process of its own, which goes on
to measure what it has trained. Set OMP_NUM_THREADS=1, so that they leave room for each other.
What is not finished in time is stopped; a training goes on from its last epoch in the next call,
and what has a result is left alone, so several calls add up. ResNet-18 on all of CIFAR-10 comes
first. Name settings, or single trainings (`cifar10-resnet-human-1`), to have others or another
order.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from multiprocessing import connection, get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import torch
from foreign import register
from settings import SETTINGS
from study import RESULTS, measure_once, train_once
from trainings import Training, trainings

FORKS = get_context("fork")
"""Processes begin with all modules and images loaded, and turn to the GPU afterwards."""

ORDER = (
    "cifar10-resnet-human",
    "cifar10-resnet-symmetric-40",
    "cifar10-cnn-human",
    "cifar10-cnn-symmetric-40",
    "cifar10-efficientnet-human",
    "cifar10-efficientnet-symmetric-40",
    "cifar10-efficientnet-asymmetric-40",
    "cifar10-resnet-16-augmented-human",
    "cifar10-resnet-16-human",
    "cifar10-resnet-16-asymmetric-40",
    "cifar10-cnn-augmented-symmetric-40",
    "movies-minilm-symmetric-30",
    "news-minilm-symmetric-30",
    "movies-minilm-worst",
    "news-minilm-rater",
    "cifar10-cnn-clean",
    "cifar10-resnet-symmetric-20",
    "cifar10-resnet-augmented-human",
    "cifar10-resnet-augmented-symmetric-40",
    "cifar10-resnet-augmented-symmetric-20",
)
"""What takes long and matters most comes first."""


def main() -> None:
    """Keep the GPU busy until the deadline, then say how each training ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=ORDER, help="of settings, or setting-seed")
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tiny", action="store_true", help="as in study.py: does it run at all?")
    parser.set_defaults(again=None)  # measure_once looks at it
    asked = parser.parse_args()
    deadline = time.monotonic() + 60 * asked.minutes
    torch.set_num_threads(1)
    register()
    waiting = [each for each in named(asked.names, tiny=asked.tiny) if missing(each, asked.results)]
    load(waiting)
    running: dict[ForkProcess, Training] = {}
    while (waiting or running) and time.monotonic() < deadline:
        while waiting and len(running) < asked.processes:
            process = FORKS.Process(target=work, args=(waiting[0], asked))
            process.start()
            running[process] = waiting.pop(0)
        ends = [process.sentinel for process in running]
        connection.wait(ends, timeout=deadline - time.monotonic())
        for process in [each for each in running if not each.is_alive()]:
            told = f"{running.pop(process).name:<44} ended with {process.exitcode}"
            print(f"{told}, {deadline - time.monotonic():.0f} s left", flush=True)
    for process, each in running.items():
        process.kill()
        print(f"{each.name:<44} {'trained, not measured' if each.done else 'not trained'} in time")
    for each in waiting:
        print(f"{each.name:<44} not begun")


def named(names: Iterable[str], *, tiny: bool) -> Iterator[Training]:
    """Trainings in the order of their names; a setting stands for all of its seeds."""
    for name in names:
        setting, _, seed = name.rpartition("-")
        alone = name not in SETTINGS
        seeds = [int(seed)] if alone else None
        yield from trainings([setting if alone else name], seeds, tiny=tiny)


def missing(training: Training, results: Path) -> bool:
    """Whether it has no result yet."""
    return not (results / f"{training.name}.json").exists()


def load(chosen: Iterable[Training]) -> None:
    """Decode the images once, before the processes part."""
    for name in {each.setting.problem for each in chosen}:
        next(each for each in chosen if each.setting.problem == name).problem()


def work(training: Training, asked: argparse.Namespace) -> None:
    """Train and measure, with what is told about it kept beside the weights."""
    training.folder.mkdir(parents=True, exist_ok=True)
    output = (training.folder / "output.txt").open("a", buffering=1)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    train_once(training, asked)
    measure_once(training, asked)


if __name__ == "__main__":
    main()
