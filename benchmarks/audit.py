"""How well `find_label_issues` finds wrong labels, beside other scores of the same checkpoint.

    TAILCUT_STUDY=FOLDER python benchmarks/audit.py clutter-maxcnn-symmetric-40 ... [--seeds 0]

Of each training of `study.py`: AUROC and average precision of each score, precision and recall of
the flags and at the true number of wrong labels, the noise rate as it is estimated, and seconds.
Five folds of the same architecture, trained anew, stand beside them where `study.py retrain` ran.
Results go to benchmarks/results/audit, the table of all to docs/study/audit.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from foreign import register
from measuring import Case
from page import markdown
from scoring import suspicions
from settings import SETTINGS
from sklearn.metrics import average_precision_score, roc_auc_score
from study import PAGES, RESULTS
from torch import nn
from trainings import Training, collected, trainings

import tailcut
from tailcut.files import store

AUDITS = RESULTS.parent / "audit"

HEAD = """# Wrong labels found

Written by `python benchmarks/audit.py`; %, one line for each network, development settings first.
"True" and "estimated" are the share of wrong training labels; the interval is of 95 %. Precision
and recall are those of the flags, beside what the audit expects of them. Without a holdout the rate
is unknown. "Backbone" is the audit by a pretrained network before it was fine-tuned. Other scores
rank the same labels by the same checkpoint; "five folds" are five trainings of the same
architecture and `cleanlab`'s score.

"""


def main() -> None:
    """Measure what is asked for and missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", choices=[*SETTINGS, []], default=[])
    parser.add_argument("--seeds", nargs="*", type=int)
    parser.add_argument("--results", type=Path, default=AUDITS)
    parser.add_argument("--pages", type=Path, default=PAGES)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    register()
    found = collected(trainings(asked.settings, asked.seeds), asked.results, measured)
    print(store.write_text(asked.pages / "audit.md", HEAD + table(found) + "\n"))


def measured(training: Training) -> dict[str, Any]:
    """The audit with and without a holdout, and every other score."""
    problem = training.problem()
    case = Case(training, problem, training.network(problem))
    wrong_N = (problem.train.given != case.clean_N).numpy()
    start = perf_counter()
    others = {
        name: ranked(wrong_N, np.asarray(suspicion()))
        for name, suspicion in suspicions(case.own, case.untouched).items()
        if name != "audit" and wrong_N.any()
    }
    seconds = perf_counter() - start
    return {
        "schema": store.SCHEMA,
        "name": training.name,
        "role": training.setting.role,
        "samples": len(problem.train),
        "wrong": float(wrong_N.mean()),
        "audit": audited(case, wrong_N, case.batches("holdout")),
        "without a holdout": audited(case, wrong_N, None),
        "by the backbone": by_backbone(case, wrong_N),
        "others": others,
        "seconds of the others": round(seconds, 1),
    }


def by_backbone(case: Case, wrong_N: np.ndarray) -> dict[str, Any]:
    """The audit by the pretrained network before it was fine-tuned; empty for one from scratch."""
    if case.untouched is None:
        return {}
    return audited(case, wrong_N, case.batches("holdout"), case.untouched.network)


def audited(
    case: Case, wrong_N: np.ndarray, holdout: Any, backbone: nn.Module | None = None
) -> dict[str, Any]:
    """One audit, with what came true of what it expects."""
    start = perf_counter()
    issues = tailcut.find_label_issues(
        case.network, case.batches("train"), holdout, backbone=backbone, progress=False
    )
    seconds = perf_counter() - start
    flagged_N = issues["is_label_issue"].to_numpy()
    return {
        **issues.attrs,
        "seconds": round(seconds, 1),
        "flagged": float(flagged_N.mean()),
        "precision": float(wrong_N[flagged_N].mean()) if flagged_N.any() else None,
        "recall": float(flagged_N[wrong_N].mean()) if wrong_N.any() else None,
        **(ranked(wrong_N, issues["p_wrong"].to_numpy()) if wrong_N.any() else {}),
    }


def ranked(wrong_N: np.ndarray, suspicion_N: np.ndarray) -> dict[str, float]:
    """How a score ranks the labels; precision at the true number is the recall there, too."""
    first_n = np.argsort(-suspicion_N, kind="stable")[: int(wrong_N.sum())]
    return {
        "auroc": float(roc_auc_score(wrong_N, suspicion_N)),
        "average_precision": float(average_precision_score(wrong_N, suspicion_N)),
        "precision_at_true_number": float(wrong_N[first_n].mean()),
    }


def table(found: list[dict[str, Any]]) -> str:
    """One row for each network, and seconds in the last columns."""
    rows = [row(each) for each in sorted(found, key=lambda each: (each["role"], each["name"]))]
    return markdown(pd.DataFrame(rows).fillna("-"))


def row(found: dict[str, Any]) -> dict[str, str]:
    """A network as the page shows it."""
    audit, alone, others = found["audit"], found["without a holdout"], found["others"]
    path = RESULTS / "retrained" / f"{found['name']}.json"
    folds = store.read_json(path) if path.is_file() else {}
    other = found.get("by the backbone")
    low, high = audit["noise_interval"] or (None, None)
    scores = {name: percent(each["auroc"]) for name, each in others.items()}
    return {
        "network": found["name"],
        "true": percent(found["wrong"]),
        "estimated": f"{percent(audit['noise_rate'])} [{percent(low)}, {percent(high)}]",
        "precision (expected)": pair(audit, "precision"),
        "recall (expected)": pair(audit, "recall"),
        "AUROC": percent(audit.get("auroc")),
        "AUROC, no holdout": percent(alone.get("auroc")),
        **({"AUROC, backbone": percent(other.get("auroc"))} if other else {}),
        **scores,
        "five folds": percent(folds.get("auroc")),
        "seconds": f"{audit['seconds']:.0f}",
        "seconds, five folds": f"{folds['seconds']:.0f}" if folds else "-",
    }


def pair(audit: dict[str, Any], name: str) -> str:
    """What came true, and what was expected."""
    return f"{percent(audit[name])} ({percent(audit[f'expected_{name}'])})"


def percent(share: float | None) -> str:
    """One decimal, or a dash."""
    return "-" if share is None else f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
