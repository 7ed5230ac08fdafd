"""Repair against its rivals on the same checkpoints: `python benchmarks/repair.py --help`.

Trains what is not there yet (an interrupted training goes on), measures every method on it,
writes one small JSON file for each checkpoint and prints the table of all of them. `--preset gpu`
runs the same on ResNet-18 and all of CIFAR-10.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
from sklearn.metrics import roc_auc_score
from torch import nn

import tailcut
from tailcut._typing import Batches
from tailcut.files import store
from tailcut.lab.baselines.registry import BASELINES, CONTROLS
from tailcut.lab.baselines.subject import Subject
from tailcut.lab.data.problems import Problem
from tailcut.lab.data.sources import SOURCES
from tailcut.lab.training.experiment import Experiment, conduct
from tailcut.lab.training.recipe import DIGITS, Recipe
from tailcut.network.stream import logits_of


@dataclass(frozen=True)
class Setting:
    """A problem and a network trained on it."""

    problem: str
    network: str
    recipe: Recipe
    sizes: dict[str, int] = field(default_factory=dict)


QUICK = Recipe(epochs=20, learning_rate=0.02)
AUGMENTED = Recipe(epochs=100, learning_rate=0.02, augment=True)
FULL = Recipe(epochs=100, batch_size=128, learning_rate=0.05)

SETTINGS = {
    "digits-mlp": Setting("digits", "mlp", DIGITS),
    "digits-cnn": Setting("digits", "cnn-8", Recipe(epochs=60, learning_rate=0.02)),
    "digits-vit": Setting("digits", "vit", Recipe(epochs=50, learning_rate=0.05)),
    "cifar-cnn": Setting("cifar10", "cnn-16", QUICK),
    "cifar-augmented": Setting("cifar10", "cnn-16", AUGMENTED, {"train": 4_000}),
    "cifar-resnet": Setting("cifar10", "resnet-8", QUICK),
    "cifar-wide": Setting("cifar10", "cnn", Recipe()),
    "resnet18": Setting("cifar10", "resnet", FULL, {"train": 45_000, "holdout": 5_000}),
}

NOISES: dict[str, tuple[str, float]] = {
    "clean": ("symmetric", 0.0),
    "symmetric-20": ("symmetric", 0.2),
    "symmetric-40": ("symmetric", 0.4),
    "symmetric-60": ("symmetric", 0.6),
    "pair-40": ("pair", 0.4),
    "asymmetric-40": ("asymmetric", 0.4),
    "human": ("human", 0.0),
}
"""Kind and rate by name."""

_REPORT = "folding and curves"
SELECTED = (
    "last epoch",
    "noisy-holdout early stopping",
    "oracle early stopping",
    "EMA",
    "SWA",
)


def main() -> None:
    """Run what is asked for, then print the table of all results there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=["digits-mlp"])
    parser.add_argument("--noises", nargs="*", choices=NOISES, default=["clean", "symmetric-40"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--preset", choices=["gpu"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results/repair")
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/benchmark"))
    asked = parser.parse_args()
    if asked.preset == "gpu":
        asked.settings, asked.device = ["resnet18"], "cuda"
        asked.noises = [name for name in NOISES if name != "pair-40"]
    for setting in asked.settings:
        for noise in asked.noises:
            for seed in asked.seeds:
                path = asked.results / f"{setting}-{noise}-{seed}.json"
                if not path.exists():
                    done = trained(setting, noise, seed, asked.checkpoints, asked.device)
                    result = {"setting": setting, "noise": noise, "seed": seed, **measure(done)}
                    store.write_json(path, result)
    print(table(read(asked.results)))


def trained(setting: str, noise: str, seed: int, checkpoints: Path, device: str) -> Experiment:
    """The checkpoint, trained on from where it was."""
    chosen, (kind, rate) = SETTINGS[setting], NOISES[noise]
    make = SOURCES[chosen.problem].make
    problem: Problem = make(rate=rate, kind=kind, seed=seed, **chosen.sizes)
    place = checkpoints / f"{setting}-{noise}-{seed}.pt"
    return conduct(
        chosen.network, problem, chosen.recipe, seed=seed, device=device, checkpoint=place
    )


def measure(done: Experiment) -> dict[str, Any]:
    """Every method on one checkpoint, and tailcut with and without a holdout."""
    train, holdout, test = (
        part.loader() for part in (done.problem.train, done.problem.holdout, done.problem.test)
    )
    fix = tailcut.repair(done.network, train, holdout, clean=test, progress=False)
    alone = tailcut.repair(done.network, train, clean=test, progress=False)
    subject = Subject(done.network, train, holdout, test)
    candidates = fix.candidates
    return {
        "schema": store.SCHEMA,
        "fit": done.fit,
        "noise_rate": true_rate(done),
        "accuracy": {
            **done.baselines(),
            **{name: method(subject) for name, method in {**BASELINES, **CONTROLS}.items()},
            "tailcut": fix.summary["clean"]["after"],
            "tailcut, no holdout": alone.summary["clean"]["after"],
            "best candidate": float(candidates["clean"].max()),
        },
        "issues_auroc": issues_auroc(done),
        "passes": passes(fix, done.network, train),
        "with_holdout": brief(fix.summary),
        "without_holdout": brief(alone.summary),
    }


def passes(fix: tailcut.Repair, network: nn.Module, train: Batches) -> float:
    """What the repair took, but for its report, over one pass of the network over the data."""
    start = perf_counter()
    for inputs, *_ in train:
        logits_of(network, inputs)
    one_pass = perf_counter() - start
    spent = sum(s for step, s in fix.summary["seconds"].items() if step != _REPORT)
    return spent / one_pass


def brief(summary: dict[str, Any]) -> dict[str, Any]:
    """A result without its long tables."""
    told = {key: value for key, value in summary.items() if key not in {"candidates", "spectrum"}}
    return told | {"noise": {"rate": (summary["noise"] or {}).get("rate")}}


def true_rate(done: Experiment) -> float:
    """Share of wrong training labels."""
    train = done.problem.train
    assert train.clean is not None
    return float((train.given != train.clean).double().mean())


def issues_auroc(done: Experiment) -> float | None:
    """How well the label score finds the wrong labels: 0.5 is chance; None without any."""
    train = done.problem.train
    assert train.clean is not None
    wrong = (train.given != train.clean).numpy()
    if not wrong.any():
        return None
    issues = tailcut.find_label_issues(
        done.network, train.loader(), done.problem.holdout.loader(), progress=False
    )
    return float(roc_auc_score(wrong, -issues["label_score"]))


def read(results: Path) -> pd.DataFrame:
    """One row for each checkpoint: setting, noise, seed, and every figure in %."""
    rows = []
    for path in sorted(results.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        before, after = result["with_holdout"]["clean"]["calibration_error"]
        alone = result["without_holdout"]["clean"]["calibration_error"][1]
        auroc = result["issues_auroc"]
        rows.append(
            {key: result[key] for key in ("setting", "noise", "seed")}
            | {name: 100 * value for name, value in result["accuracy"].items()}
            | {
                "best rival": 100 * max(result["accuracy"].get(name, 0) for name in BASELINES),
                "calibration error, last epoch": 100 * before,
                "calibration error, tailcut": 100 * after,
                "calibration error, no holdout": 100 * alone,
                "wrong labels": 100 * result["noise_rate"],
                "wrong labels, estimated": 100 * result["with_holdout"]["noise"]["rate"],
                "label issues AUROC": None if auroc is None else 100 * auroc,
                "time in passes": result.get("passes"),
                "cut": 100.0 * (result["with_holdout"]["verdict"] == "cut"),
                "cut, no holdout": 100.0 * (result["without_holdout"]["verdict"] == "cut"),
            }
        )
    return pd.DataFrame(rows)


def table(results: pd.DataFrame) -> str:
    """Mean and standard deviation over the seeds of every setting, and paired differences."""
    lines = []
    for (setting, noise), part in results.groupby(["setting", "noise"]):
        lines.append(f"{setting}, {noise}, {len(part)} seeds: mean +- sd, %")
        shown = part.drop(columns=["setting", "noise", "seed", "best rival"])
        for name, values in shown.items():
            lines.append(f"  {name:<32}{spread(values.dropna().astype(float)):>16}")
        means = part.reindex(columns=list(BASELINES)).mean()
        lines.append(f"  best rival by mean: {means.idxmax()}")
    noisy = results[results["wrong labels"] > 0]
    lines.append("tailcut minus others on the same checkpoint, points: mean +- sd, least")
    for name, part, other in (
        ("best rival by test, all with noise", noisy, "best rival"),
        *((f"oracle, {noise}", part, SELECTED[2]) for noise, part in noisy.groupby("noise")),
        ("oracle, symmetric", noisy[noisy["noise"].str.startswith("symmetric")], SELECTED[2]),
        *((f"oracle, symmetric, {s}", part, SELECTED[2]) for s, part in _symmetric(noisy)),
        ("last epoch, clean", results[results["wrong labels"] == 0], "last epoch"),
        ("best candidate by test", results, "best candidate"),
        *((rival, noisy, rival) for rival in (*SELECTED, *BASELINES) if rival in noisy),
    ):
        gap = (part["tailcut"] - part[other]).dropna()
        if len(gap):
            lines.append(f"  {name:<36}{spread(gap):>16}{gap.min():>8.1f}   n = {len(gap)}")
    behind = noisy[noisy["tailcut"] < noisy["best rival"] - 0.3]
    lines.append(f"behind a rival by more than 0.3: {len(behind)} of {len(noisy)}")
    for _, row in behind.iterrows():
        gaps = [f"{row[name] - row['best rival']:.1f}" for name in ("tailcut", "best candidate")]
        name = " ".join(str(row[key]) for key in ("setting", "noise", "seed"))
        lines.append(f"  {name}: {gaps[0]}, best candidate {gaps[1]}")
    parts = [("all", noisy), *noisy.groupby("setting"), *noisy.groupby(["setting", "noise"])]
    for setting, part in parts:
        gained = (part["tailcut"] - part["last epoch"]).sum()
        alone = (part["tailcut, no holdout"] - part["last epoch"]).sum()
        told = setting if isinstance(setting, str) else " ".join(setting)
        lines.append(f"gain kept without a holdout, {told}: {100 * alone / gained:.0f} %")
    for setting, part in [("all", results), *results.groupby("setting")]:
        before, after = part[[f"calibration error, {n}" for n in ("last epoch", "tailcut")]].mean()
        lines.append(f"calibration error, {setting}: {before:.1f} before, {after:.1f} after")
        off = (part["wrong labels, estimated"] - part["wrong labels"]).abs().mean()
        lines.append(f"estimated share of wrong labels off by, {setting}: {off:.1f}")
        least, middle, most = part["time in passes"].quantile([0, 0.5, 1])
        lines.append(f"time in passes, {setting}: {least:.0f} to {most:.0f}, median {middle:.0f}")
    return "\n".join(lines)


def _symmetric(noisy: pd.DataFrame) -> Any:
    return noisy[noisy["noise"].str.startswith("symmetric")].groupby("setting")


def spread(values: pd.Series) -> str:
    """Mean and standard deviation."""
    if len(values) == 0:
        return "-"
    if len(values) == 1:
        return f"{values.iloc[0]:.1f}      "
    return f"{values.mean():.1f} +- {values.std():.1f}"


if __name__ == "__main__":
    main()
