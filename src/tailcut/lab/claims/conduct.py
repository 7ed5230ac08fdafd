"""A study conducted: its network is trained under label noise, and probed on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tailcut
from tailcut.lab.claims.features import Probe
from tailcut.lab.claims.probe import probe
from tailcut.lab.claims.progress import Progress
from tailcut.lab.claims.record import Record, rounded
from tailcut.lab.claims.study import Study
from tailcut.lab.training import experiment
from tailcut.lab.training.experiment import Experiment, untrained
from tailcut.lab.training.records import Epoch
from tailcut.network.stream import usual_device


def conduct(
    study: Study,
    directory: Path | None = None,
    *,
    device: str = "auto",
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Record:
    """Train, probe, and perhaps repair.

    Args:
        study: All of it.
        directory: Where an interrupted study goes on from: checkpoint and probes so far.
        device: To work on; "auto": a GPU if there is one where this runs.
        on_epoch: Called with every epoch.

    Raises:
        StoreError: See `require_own`.
    """
    progress, problem = Progress(directory, study), study.problem()
    device = str(usual_device()) if device == "auto" else device
    network = untrained(study.network, problem, seed=study.seed).to(device)

    def look(number: int) -> None:
        if number in study.probed_epochs() and number not in progress.probes:
            network.eval()
            progress.add(number, rounded(probe(network, problem, seed=study.seed)))

    def after(epoch: Epoch) -> None:
        look(epoch.epoch)
        on_epoch(epoch)

    if not progress.begun:
        look(0)
    how = {"device": device, "checkpoint": progress.checkpoint, "on_epoch": after}
    done = experiment.conduct(network, problem, study.recipe, seed=study.seed, **how)
    return Record.of(done.trained, progress.probes, _repaired(done) if study.repair else None)


def require_own(directory: Path, study: Study) -> None:
    """Refuse a directory from which a study cannot go on.

    Raises:
        StoreError: One that holds another study, or a training that was not probed.
    """
    Progress(directory, study)


def _repaired(done: Experiment) -> Probe:
    problem = done.problem
    fix = tailcut.repair(
        done.network,
        problem.train.loader(),
        problem.holdout.loader(),
        clean=problem.test.loader(),
        progress=False,
    )
    clean = fix.summary["clean"]
    known = {name: fix.summary[name] for name in ("verdict", "readout", "rank", "strength")}
    return {**known, "before": clean["before"], "after": clean["after"]}
