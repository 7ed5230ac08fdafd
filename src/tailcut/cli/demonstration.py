"""What `tailcut demo` shows: one network trained on wrong labels, repaired, beside its controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tailcut
from tailcut.cli.lab_options import Demo
from tailcut.cli.options import Run
from tailcut.cli.output import Bar, device_of_run
from tailcut.lab.baselines.controls import of_inputs
from tailcut.lab.baselines.papers_cut import papers_curve, papers_cut
from tailcut.lab.baselines.refits import lda_refit, logistic_refit
from tailcut.lab.baselines.subject import Subject
from tailcut.lab.data.problems import Problem
from tailcut.lab.data.sources import SOURCES
from tailcut.lab.training import experiment
from tailcut.verbs import runs

_NETWORKS = {"clutter": "maxcnn", "digits": "mlp"}


def demonstrate(run: Run, asked: Demo, seed: int, directory: Path) -> dict[str, Any]:
    """Train, compare, repair and save one network.

    Returns:
        Its summary, with the accuracies of what it is compared with (`baselines`) and of the
        paper's cut by rank (`papers_curve`).
    """
    source, name = SOURCES[asked.data], _NETWORKS[asked.data]
    problem, recipe = source.make(rate=asked.rate, seed=seed), source.recipe
    with Bar(run, recipe.epochs) as on_epoch:
        done = experiment.conduct(
            name, problem, recipe, seed=seed, device=device_of_run(run), on_epoch=on_epoch
        )
    train, holdout, test = (
        part.loader() for part in (problem.train, problem.holdout, problem.test)
    )
    fix = tailcut.repair(
        done.network, train, holdout, clean=test, seed=seed, progress=not run.quiet
    )
    subject = Subject(done.network, train, holdout, test)
    summary = fix.diagnosis.to_dict(title=f"tailcut demo: {asked.data}")
    summary.update(
        fit=done.fit,
        baselines={
            **done.baselines(),
            "paper's cut": papers_cut(subject),
            **_controls(name, problem, seed=seed),
        },
        papers_curve=papers_curve(subject),
    )
    summary["clean"]["best_epoch"] = done.trained.oracle_epoch.test
    summary["seconds"]["training"] = sum(each.seconds for each in done.trained.epochs)
    runs.write_repair(directory, fix, summary)
    return summary


def _controls(name: str, problem: Problem, *, seed: int) -> dict[str, float]:
    """How far the same labels lead without a trained network."""
    untrained = experiment.untrained(name, problem, seed=seed)
    parts = (problem.train.loader(), problem.holdout.loader())
    fix = tailcut.repair(
        untrained, *parts, clean=problem.test.loader(), seed=seed, force=True, progress=False
    )
    inputs = of_inputs(problem)
    return {
        "control: untrained network, repaired": fix.summary["clean"]["after"],
        "control: LDA on raw inputs": lda_refit(inputs),
        "control: logistic regression on raw inputs": logistic_refit(inputs),
    }
