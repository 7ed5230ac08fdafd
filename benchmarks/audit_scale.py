"""Seconds and peak memory of the audit's numerical part on synthetic features, by N and K.

    python benchmarks/audit_scale.py [--samples 10000 20000] [--classes 100 200] [--width 256]

Features stream in batches: a centre for each class and unit noise, 20 % of the labels wrong. Each
pair of N and K runs in a process of its own, without a holdout, through what `find_label_issues`
does behind the network: fold moments, inference, table. The line below the table says how peak
memory above that of an idle process divides into bytes for each cell of N x K and of N x D, by
least squares over the runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from page import markdown
from torch import Tensor

from tailcut.numerics.crossfit import FoldMoments
from tailcut.verbs.suspects import audited

BATCH = 1_000
WRONG = 0.2
SPREAD = 0.5
"""Of the centres, in units of the noise."""


def main() -> None:
    """Run every pair, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", nargs="+", type=int, default=[10_000, 20_000, 40_000])
    parser.add_argument("--classes", nargs="+", type=int, default=[100, 200])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--one", action="store_true", help="run the first pair here")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.samples[0], asked.classes[0], asked.width)))
        return
    runs = [
        alone(samples, classes, asked.width)
        for samples in asked.samples
        for classes in asked.classes
    ]
    print(markdown(pd.DataFrame(runs)))
    print(fitted(runs, asked.width))


def alone(samples: int, classes: int, width: int) -> dict[str, Any]:
    """A run in a process of its own, so that its peak is its own."""
    numbers = {"--samples": samples, "--classes": classes, "--width": width}
    words = [str(each) for pair in numbers.items() for each in pair]
    line = [sys.executable, str(Path(__file__)), "--one", *words]
    done = subprocess.run(line, check=True, capture_output=True, text=True)  # noqa: S603 ourselves
    return json.loads(done.stdout)


def measured(samples: int, classes: int, width: int) -> dict[str, Any]:
    """One audit."""
    torch.set_num_threads(1)
    idle, start = peak(), perf_counter()
    folds, wrong = FoldMoments(width, classes), []
    for number, (features_ND, given_N, true_N) in enumerate(stream(samples, classes, width)):
        numbers_N = torch.arange(len(given_N)) + number * BATCH
        folds.update(features_ND[None], given_N, numbers_N)
        wrong.append(given_N != true_N)
    read, streamed = perf_counter(), peak()
    table = audited(folds, None, forgotten=1.0, seed=0).table()
    wrong_N = torch.cat(wrong).numpy()
    return {
        "N": samples,
        "K": classes,
        "stream, s": round(read - start, 1),
        "inference, s": round(perf_counter() - read, 1),
        "idle, MiB": round(idle),
        "streamed, MiB": round(streamed),
        "peak, MiB": round(peak()),
        "wrong labels flagged, %": round(100 * float(table["is_label_issue"][wrong_N].mean()), 1),
    }


def stream(samples: int, classes: int, width: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of features, given labels and true labels."""
    draw = torch.Generator().manual_seed(0)
    centres_KD = SPREAD * torch.randn(classes, width, generator=draw)
    for start in range(0, samples, BATCH):
        n = min(BATCH, samples - start)
        true_N = torch.randint(classes, (n,), generator=draw)
        moved_N = torch.randint(1, classes, (n,), generator=draw)
        wrong_N = torch.rand(n, generator=draw) < WRONG
        given_N = torch.where(wrong_N, (true_N + moved_N) % classes, true_N)
        yield centres_KD[true_N] + torch.randn(n, width, generator=draw), given_N, true_N


def peak() -> float:
    """Largest resident memory so far, in MiB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fitted(runs: list[dict[str, Any]], width: int) -> str:
    """Bytes for each cell, if there are runs enough to tell them apart."""
    if len(runs) < 3:
        return "Too few runs to divide the memory."
    cells = [[run["N"] * run["K"], run["N"] * width, 1] for run in runs]
    grown = [2**20 * (run["peak, MiB"] - run["idle, MiB"]) for run in runs]
    (per_class, per_feature, rest), *_ = np.linalg.lstsq(np.array(cells, float), grown, rcond=None)
    return (
        f"Peak memory above idle: {per_class:.0f} bytes for each cell of N x K, {per_feature:.0f} "
        f"for each of N x D, and {rest / 2**20:.0f} MiB."
    )


if __name__ == "__main__":
    main()
