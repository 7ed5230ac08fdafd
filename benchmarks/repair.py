"""Repair against its references on the same checkpoints: `python benchmarks/repair.py --help`.

Trains what is not there yet (an interrupted training goes on), repairs it with a noisy holdout,
writes one small JSON file for each checkpoint and prints the table of all of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import roc_auc_score

import tailcut
from tailcut.lab.baselines import papers_cut
from tailcut.lab.experiment import PROBLEMS, Experiment, conduct
from tailcut.lab.training import DIGITS, Recipe
from tailcut.network import store

SETTINGS: dict[str, tuple[str, str, Recipe]] = {
    "digits-mlp": ("digits", "mlp", DIGITS),
    "cifar-cnn": ("cifar10", "cnn", Recipe()),
    "cifar-resnet": ("cifar10", "resnet-16", Recipe()),
}
"""Problem, network and recipe of each setting, by name."""


def main() -> None:
    """Run what is asked for, then print the table of all results there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", nargs="*", default=["digits-mlp"], choices=SETTINGS)
    parser.add_argument("--rates", nargs="*", type=float, default=[0.0, 0.4])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results/repair")
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/benchmark"))
    asked = parser.parse_args()
    for setting in asked.settings:
        for rate in asked.rates:
            for seed in asked.seeds:
                name = f"{setting}-{100 * rate:.0f}-{seed}.json"
                if not (asked.results / name).exists():
                    result = measure(setting, rate, seed, asked.checkpoints)
                    store.write_json(asked.results / name, result)
    print(table(asked.results))


def measure(setting: str, rate: float, seed: int, checkpoints: Path) -> dict[str, Any]:
    """One checkpoint: train, compare, repair with and without a holdout."""
    problem_name, network, recipe = SETTINGS[setting]
    problem = PROBLEMS[problem_name](rate=rate, seed=seed)
    checkpoint = checkpoints / f"{setting}-{100 * rate:.0f}-{seed}.pt"
    done = conduct(network, problem, recipe, seed=seed, checkpoint=checkpoint)
    train, holdout, test = (
        part.loader() for part in (problem.train, problem.holdout, problem.test)
    )
    accuracies = done.baselines()
    accuracies["paper's cut"] = papers_cut(done.network, train, holdout, test)[1]
    fix = tailcut.repair(done.network, train, holdout, clean=test, seed=seed, progress=False)
    accuracies["tailcut"] = fix.summary["clean"]["after"]
    alone = tailcut.repair(done.network, train, clean=test, seed=seed, progress=False)
    accuracies["tailcut, no holdout"] = alone.summary["clean"]["after"]
    return {
        "schema": store.SCHEMA,
        "setting": setting,
        "rate": rate,
        "seed": seed,
        "fit": done.fit,
        "accuracy": accuracies,
        "noise_rate": true_rate(done),
        "estimated_noise_rate": (fix.summary["noise"] or {}).get("rate"),
        "issues_auroc": issues_auroc(done),
        "with_holdout": brief(fix.summary),
        "without_holdout": brief(alone.summary),
    }


def brief(summary: dict[str, Any]) -> dict[str, Any]:
    """A result without its long tables."""
    long = {"candidates", "noise", "spectrum"}
    return {key: value for key, value in summary.items() if key not in long}


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


def table(results: Path) -> str:
    """Mean and standard deviation over the seeds of every setting."""
    rows = []
    for path in sorted(results.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        key = {"setting": result["setting"], "wrong labels, %": 100 * result["rate"]}
        numbers = {name: 100 * value for name, value in result["accuracy"].items()}
        told = {
            "share left alone": float(result["with_holdout"]["verdict"] == "leave"),
            "label issues AUROC": result["issues_auroc"],
            "noise rate": result["noise_rate"],
            "estimated noise rate": result.get("estimated_noise_rate"),
        }
        rows.append({**key, **numbers, **told})
    lines = []
    for (setting, rate), part in pd.DataFrame(rows).groupby(["setting", "wrong labels, %"]):
        lines.append(f"{setting}, {rate:.0f} % wrong labels, {len(part)} seeds: mean +- sd")
        for name in part.columns[2:]:
            values = part[name].dropna().astype(float)
            decimals = 1 if values.max() > 2 else 3
            if len(values):
                cell = f"{values.mean():.{decimals}f} +- {values.std():.{decimals}f}"
                lines.append(f"  {name:<30}{cell:>16}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
