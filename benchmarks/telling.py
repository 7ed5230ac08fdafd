"""What the results of `study.py` say: one table for development, one for validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from settings import SETTINGS

from tailcut.lab.baselines.registry import BASELINES

AGAIN = "does not fold, trains again: "
"""Before what is told of `retraining.py`."""

RAW = ("LDA on raw inputs", "logistic regression on raw inputs")
"""Controls that make a setting easy where one of them comes near."""

EASY = 5.0
"""Points behind tailcut within which a classifier of the raw inputs comes near."""

BACKBONES = (
    "LDA on the untouched backbone",
    "logistic regression on the untouched backbone",
    "5 nearest neighbours on the untouched backbone",
)
"""What a pretrained network knows that never saw these labels."""

FIRST = "tailcut, first rules"
"""Before each candidate was judged under noise of its own (docs/LOG.md)."""

STEPS = (
    "untouched",
    "paper's cut",
    "layers filtered",
    "LDA on views",
    "inferred labels",
    "self-training",
    "true labels",
    "true labels, filtered, on views",
)
"""Of the waterfall, in order."""

GEOMETRY = {
    "effective rank": "effective_rank",
    "NC1 of given labels": "nc1_given",
    "NC1 of true labels": "nc1_true",
    "memorised": "memorised",
}
"""Of the features, in units of their own."""

REFERENCES = (
    "last epoch",
    "noisy-holdout early stopping",
    "oracle early stopping",
    "paper's cut",
    "tailcut",
    "tailcut, no holdout",
    "best candidate",
    FIRST,
    f"{FIRST}, no holdout",
)


def read(results: Path) -> pd.DataFrame:
    """One row for each checkpoint: role, setting, seed, and every accuracy in %."""
    rows = []
    for path in sorted(results.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        setting = found["name"].rpartition("-")[0]
        alone = beside(results / "inputs" / f"{SETTINGS[setting].data}-{found['seed']}.json")
        fewer = beside(results / "holdouts" / path.name)
        again = trained_again(results, found["name"])
        auroc = found["auroc"] | alone.get("auroc", {}) | again["auroc"]
        rivals = {name: found["rivals"][name] for name in BASELINES if name in found["rivals"]}
        percent = {
            **found["accuracy"],
            "best rival by test": max(rivals.values()),
            "best foldable rival by test": max(
                value for name, value in rivals.items() if BASELINES[name].folds
            ),
            **found["controls"],
            **alone.get("controls", {}),
            **again["accuracy"],
            **of_confusion(found.get("corrective")),
            **{f"step: {name}": each["chosen"] for name, each in found["waterfall"].items()},
            **{f"best of step: {name}": each["best"] for name, each in found["waterfall"].items()},
            **{f"AUROC: {name}": value for name, value in auroc.items()},
            **{f"{n} held out": value for n, value in fewer.get("holdouts", {}).items()},
            "wrong labels": found["wrong"],
            "wrong labels, estimated": found["with_holdout"]["noise"]["rate"],
            "fit": found["fit"],
        }
        named = {"role": found["setting"]["role"], "setting": setting}
        numbers = {name: None if each is None else 100 * each for name, each in percent.items()}
        shape = {name: found["geometry"][key] for name, key in GEOMETRY.items()}
        shape["still remembered"] = _least_memory(found["geometry"]["memorisation"])
        rows.append({**named, "seed": found["seed"], **numbers, **shape})
    frame = pd.DataFrame(rows)
    late = [name for name in REFERENCES if name not in frame]
    return frame.reindex(columns=[*frame, *late]) if rows else frame


def _least_memory(memorisation: dict[str, Any]) -> float:
    """Under the view that makes the network forget most; all of it where there is no view."""
    return max(0.0, min([memorisation["train"], *memorisation["views"].values()]))


def beside(path: Path) -> dict[str, Any]:
    """What was measured in another step; nothing where it was not yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def trained_again(results: Path, name: str) -> dict[str, dict[str, float]]:
    """What does not fold but trains again, where it was done: five folds, and a probe first."""
    found: dict[str, dict[str, float]] = {"accuracy": {}, "auroc": {}}
    path = results / "retrained" / f"{name}.json"
    if path.is_file():
        folds = json.loads(path.read_text(encoding="utf-8"))
        told = {f"{AGAIN}5 folds, {key}": value for key, value in folds["accuracy"].items()}
        found["accuracy"] |= told
        if folds["confused classes"] is not None:
            found["accuracy"][f"confused classes: {AGAIN}5 folds"] = folds["confused classes"]
        if folds["auroc"] is not None:
            found["auroc"][f"{AGAIN}5 folds, self-confidence"] = folds["auroc"]
    path = results / "lpft" / f"{name}.json"
    if path.is_file():
        probed = json.loads(path.read_text(encoding="utf-8"))["accuracy"]
        found["accuracy"] |= {f"{AGAIN}LP-FT, {key}": value for key, value in probed.items()}
    return found


def of_confusion(found: dict[str, dict[str, float]] | None) -> dict[str, float]:
    """Accuracies on the two classes of interclass confusion, and of SSD where it is told."""
    if found is None:
        return {}
    told = {name: value for name, value in found["all classes"].items() if " told " in name}
    two = found["confused classes"].items()
    return told | {f"confused classes: {name}": value for name, value in two}


def easy(results: pd.DataFrame) -> set[str]:
    """Settings of which the raw inputs tell nearly as much as tailcut does, by the mean.

    And those whose raw inputs were not asked yet: averages wait for the control.
    """
    columns = [*RAW, "tailcut", FIRST]
    means = results.groupby("setting").mean(numeric_only=True).reindex(columns=columns)
    far = means[list(RAW)].max(axis=1) <= means["tailcut"].fillna(means[FIRST]) - EASY
    return set(means.index[~far])


def table(results: pd.DataFrame) -> str:
    """Development and validation apart: each setting, then the averages without the easy ones."""
    if results.empty:
        return "no results yet"
    known, lines = easy(results), []
    for role, of_role in results.groupby("role"):
        lines.append(f"== {role}: accuracy on true test labels, %, mean +- sd over seeds")
        for setting, part in of_role.groupby("setting"):
            marked = f" ({_left_out(part)})" if setting in known else ""
            lines.append(f"{setting}, {len(part)} seeds{marked}")
            for name in part.columns.drop(["role", "setting", "seed"]):
                values = part[name].dropna().astype(float)
                if len(values):
                    lines.append(f"  {name:<72}{spread(values):>14}")
        lines += averages(of_role[~of_role["setting"].isin(known)])
    return "\n".join(lines)


def _left_out(part: pd.DataFrame) -> str:
    why = "easy" if set(RAW) <= set(part.dropna(axis=1, how="all")) else "raw inputs not asked yet"
    return f"{why}: left out of the averages"


def averages(results: pd.DataFrame) -> list[str]:
    """Of settings, each by the mean of its seeds: tailcut minus the others, and the waterfall."""
    noisy = results[results["wrong labels"] > 0].drop(columns=["role", "seed"])
    noisy = noisy.dropna(subset=["tailcut"])
    means = noisy.groupby("setting").mean(numeric_only=True)
    if means.empty:
        return []
    lines = [f"tailcut minus others, points over {len(means)} settings repaired by today's rules"]
    others = [name for name in REFERENCES if name != "tailcut"]
    others += ["best rival by test", "best foldable rival by test"]
    others += [name for name in (*BACKBONES, *RAW) if name in means]
    others += ["untrained, repaired", *(name for name in means if name.startswith(AGAIN))]
    for name in (name for name in others if means[name].notna().any()):
        gaps = (means["tailcut"] - means[name]).dropna()
        lines.append(f"  {name:<52}{spread(gaps):>14}{gaps.min():>8.1f} least, n = {len(gaps)}")
    steps = [f"step: {name}" for name in STEPS if f"step: {name}" in means]
    lines.append("gain over the untouched network, step by step, points")
    for name in steps:
        gains = (means[name] - means["last epoch"]).dropna()
        lines.append(f"  {name.removeprefix('step: '):<52}{spread(gains):>14}")
    return lines


def spread(values: pd.Series) -> str:
    """Mean and standard deviation."""
    if len(values) < 2:
        return "-" if values.empty else f"{values.iloc[0]:.1f}"
    return f"{values.mean():.1f} +- {values.std():.1f}"
