"""What each command does, once its words are parsed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tailcut
from tailcut.cli.audits import audit
from tailcut.cli.backbones import backbone
from tailcut.cli.demonstration import demonstrate
from tailcut.cli.opening import Opened, note, open_run, views_of
from tailcut.cli.options import Cutting, Run
from tailcut.cli.output import (
    Screen,
    device_of_run,
    require_place,
    require_writable,
    run_directory,
    stamped,
    tell,
)
from tailcut.cli.tables import comparison, ranks, verdict
from tailcut.files import store
from tailcut.network import pretrained
from tailcut.verbs import runs
from tailcut.verbs.diagnosis import Diagnosis

Options = Mapping[str, Any]

__all__ = ["audit", "demo", "diagnose", "repair", "report"]


def repair(options: Options, config: str) -> int:
    """`tailcut repair`."""
    run, cutting = options["run"], options["cutting"]
    device = device_of_run(run)
    require_place(run, "repair")
    opened, form = open_run(options, cutting.clean), options["saving"].format
    pretrained.require_form(opened.model, form)
    fix = tailcut.repair(
        opened.model, opened.train, opened.holdout, **_arguments(options, opened, device)
    )
    summary = fix.diagnosis.to_dict(title=f"tailcut repair {options['model']}")
    summary["preprocessing"] = _preprocessing(opened, fix.diagnosis)
    with run_directory(run, "repair") as directory:
        kept = stamped("repair", config)
        runs.write_repair(directory, fix, summary, kept, form=form, code=opened.code)
    summary["load"] = pretrained.how_to_load(fix.model, directory, form, opened.code)
    if opened.changed and (directory / pretrained.FOLDER).is_dir():
        note(
            f"the image processor in {directory / pretrained.FOLDER} is as it was and knows "
            f"nothing of {', '.join(opened.changed)}: change it before you pass the folder on"
        )
    _tell(run, summary, directory)
    return 0


def diagnose(options: Options, config: str) -> int:
    """`tailcut diagnose`."""
    run, cutting = options["run"], options["cutting"]
    device = device_of_run(run)
    require_place(run, "diagnose")
    if run.out is not None:
        runs.refuse_repair(Path(run.out))
    opened = open_run(options, cutting.clean)
    found = tailcut.diagnose(
        opened.model, opened.train, opened.holdout, **_arguments(options, opened, device)
    )
    summary = found.to_dict(title=f"tailcut diagnose {options['model']}")
    summary["preprocessing"] = _preprocessing(opened, found)
    with run_directory(run, "diagnose") as directory:
        runs.write_diagnosis(directory, found, summary, stamped("diagnose", config))
    _tell(run, summary, directory)
    return 0


def report(options: Options, config: str) -> int:
    """`tailcut report`: a page is a function of the result, so there is no config to keep."""
    del config
    run, directory = options["run"], Path(options["directory"])
    store.require_file(directory / runs.RESULT)
    require_writable(directory if run.out is None else Path(run.out))
    path = runs.write_again(directory, run.out)
    tell(run, f"wrote {path}", {"file": str(path)})
    return 0


def demo(options: Options, config: str) -> int:
    """`tailcut demo`."""
    run, asked = options["run"], options["demo"]
    summaries = []
    with run_directory(run, "demo", config) as directory:
        for seed in range(run.seed, run.seed + asked.seeds):
            place = directory if asked.seeds == 1 else directory / f"seed-{seed}"
            summaries.append(demonstrate(run, asked, seed, place))
    if run.json:
        content = summaries[0] if asked.seeds == 1 else summaries
        sys.stdout.write(json.dumps(content) + "\n")
    elif not run.quiet:
        console = Screen()
        fits = ", ".join(f"{100 * each['fit']:.1f}" for each in summaries)
        console.print(
            f"{asked.data}, {100 * asked.rate:.0f} % of the training labels wrong, "
            f"{fits} % of the given ones fitted"
        )
        console.print(comparison(summaries))
        console.print(ranks(summaries))
        for each in summaries:
            console.print(f"{each['verdict']}: {each['reason']}")
        first = directory if asked.seeds == 1 else directory / f"seed-{run.seed}"
        console.print(f"report: {first / 'report.html'}", soft_wrap=True)
    return 0


def _preprocessing(opened: Opened, found: Diagnosis) -> dict[str, Any] | None:
    """How images were prepared, who proposed it, and whether the predictions confirm it."""
    steps = opened.steps
    if steps is None:
        return None
    confirmed = found.agreement.fits
    if steps.source and not confirmed:
        note(
            f"{steps.source} proposes {steps.describe()}, and what the network predicts does not "
            "confirm it: if it was trained on other inputs, say so with --image-size, --mean, "
            "--std and --resize"
        )
    return {
        "images": steps.describe(),
        "proposed_by": steps.source or None,
        "changed": opened.changed,
        "confirmed": confirmed,
    }


def _arguments(options: Options, opened: Opened, device: str) -> dict[str, Any]:
    run: Run = options["run"]
    cutting: Cutting = options["cutting"]
    return {
        "clean": opened.clean,
        "views": views_of(cutting.views),
        "depth": cutting.depth,
        "readout": cutting.readout,
        "rank": cutting.rank,
        "backbone": backbone(cutting.backbone, opened.train),
        "force": options["inputs"].force,
        "seed": run.seed,
        "device": device,
        "progress": not run.quiet,
    }


def _tell(run: Run, summary: dict[str, Any], directory: Path) -> None:
    if run.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    elif not run.quiet:
        console = Screen()
        console.print(verdict(summary))
        console.print(f"wrote {directory}", soft_wrap=True)
        if "load" in summary:
            console.print(f"to load it: {summary['load']}", soft_wrap=True)
