"""What each command does, once its words are parsed."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import tailcut
from tailcut._typing import Batches
from tailcut.cli import datasets as sources
from tailcut.cli import models
from tailcut.cli.demonstration import demonstrate
from tailcut.cli.options import Cutting, Inputs, Run
from tailcut.cli.output import (
    CONFIG,
    Screen,
    device_of_run,
    require_place,
    require_writable,
    run_directory,
    stamped,
    tell,
)
from tailcut.cli.pictures import Steps
from tailcut.cli.tables import comparison, ranks, verdict
from tailcut.errors import SpecError, TailcutWarning
from tailcut.files import store
from tailcut.files.whole import change_as_one
from tailcut.network import pretrained
from tailcut.network.batches import read
from tailcut.readers.class_map import class_map
from tailcut.readers.columns import Columns
from tailcut.verbs import runs
from tailcut.verbs.diagnosis import Diagnosis

Options = Mapping[str, Any]


def repair(options: Options, config: str) -> int:
    """`tailcut repair`."""
    run, cutting = options["run"], options["cutting"]
    device = device_of_run(run)
    require_place(run, "repair")
    opened, form = _open(options, cutting.clean), options["saving"].format
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
        _note(
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
    opened = _open(options, cutting.clean)
    found = tailcut.diagnose(
        opened.model, opened.train, opened.holdout, **_arguments(options, opened, device)
    )
    summary = found.to_dict(title=f"tailcut diagnose {options['model']}")
    summary["preprocessing"] = _preprocessing(opened, found)
    with run_directory(run, "diagnose") as directory:
        runs.write_diagnosis(directory, found, summary, stamped("diagnose", config))
    _tell(run, summary, directory)
    return 0


def audit(options: Options, config: str) -> int:
    """`tailcut audit`."""
    run, audited = options["run"], options["audited"]
    device, table = device_of_run(run), _table_of(run)
    opened = _open(options, None)
    if opened.steps is not None and opened.steps.source:
        _note(f"images are read as {opened.steps.source} proposes: {opened.steps.describe()}")
    issues = tailcut.find_label_issues(
        opened.model,
        opened.train,
        opened.holdout,
        views=_views(audited.views),
        depth=audited.depth,
        force=options["inputs"].force,
        seed=run.seed,
        device=device,
        progress=not run.quiet,
    )
    if opened.keys is not None:
        issues.insert(0, "key", [opened.keys[row] for row in issues.index])
    path = _write_audit(run, table, issues.to_csv(), config)
    flagged = issues["is_label_issue"].tolist().count(True)
    known = {"samples": len(issues), "issues": flagged, "file": str(path)}
    tell(run, f"{flagged} of {len(issues)} labels look wrong; wrote {path}", known)
    return 0


def _table_of(run: Run) -> Path | None:
    """The file that the table of an audit is to be, if that is what --out names.

    Raises:
        SpecError: A place that cannot be written to, or a run of another command.
    """
    if run.out is None or not run.out.endswith(".csv"):
        require_place(run, "audit")
        return None
    path = Path(run.out)
    if path.is_dir():
        raise SpecError(
            f"--out {path} is a directory",
            wanted="a file to write the table to, or a directory without .csv in its name",
            advice="Choose another place",
        )
    require_writable(path.parent)
    return path


def _write_audit(run: Run, table: Path | None, text: str, config: str) -> Path:
    if table is not None:
        return store.write_text(table, text)

    def both(place: Path) -> None:
        store.write_text(place / CONFIG, stamped("audit", config))
        store.write_text(place / "issues.csv", text)

    with run_directory(run, "audit") as directory:
        return change_as_one(directory, both) / "issues.csv"


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


@dataclass(frozen=True, eq=False)
class _Opened:
    """A network and its batches.

    Attributes:
        keys: What identifies each training row for a person.
        steps: How images are prepared, if there are any.
        code: Python that builds the network, where it is known.
        changed: The options that say how images are read.
    """

    model: nn.Module
    train: Batches
    holdout: Batches | None
    clean: Any
    keys: Sequence[str | int] | None
    steps: Steps | None
    code: str
    changed: list[str]


def _open(options: Options, clean: str | None) -> _Opened:
    inputs: Inputs = options["inputs"]
    model = models.network(options["model"], options["preprocessing"], inputs.weights)
    reading = sources.Reading(
        Columns(inputs.text_column, inputs.image_column, inputs.label_column),
        None if inputs.class_map is None else class_map(inputs.class_map),
        model.names,
    )
    rows, held, true = sources.of_run([inputs.data, inputs.holdout, clean], reading)

    def batches(found: Any) -> Any:
        if isinstance(found, sources.Rows):
            return found.batches(model.collate, inputs.batch_size)
        return found

    train, holdout = batches(rows), batches(held)
    if clean == inputs.data and isinstance(rows, sources.Rows) and rows.clean_N is not None:
        true = rows.clean_N
    else:
        true = batches(true.true() if isinstance(true, sources.Rows) else true)
    classes = inputs.classes
    if classes is None and isinstance(rows, sources.Rows):
        classes = rows.class_count
    elif classes is None:
        classes = 1 + max(int(batch.labels.max()) for batch in read(train))
    built = models.weighted(model, next(read(train)).inputs, classes, inputs.weights)
    known = isinstance(rows, sources.Rows)
    steps = model.steps if known and rows.kind == "image" else None
    keys = rows.keys if known else None
    code = model.code(None if inputs.weights is None else classes) if model.code else ""
    changed = [f"--{each.replace('_', '-')}" for each in options["preprocessing"].of_images]
    return _Opened(built, train, holdout, true, keys, steps, code, changed)


def _preprocessing(opened: _Opened, found: Diagnosis) -> dict[str, Any] | None:
    """How images were prepared, who proposed it, and whether the predictions confirm it."""
    steps = opened.steps
    if steps is None:
        return None
    confirmed = found.agreement.fits
    if steps.source and not confirmed:
        _note(
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


def _note(text: str) -> None:
    warnings.warn(text, TailcutWarning, stacklevel=2)


def _arguments(options: Options, opened: _Opened, device: str) -> dict[str, Any]:
    run: Run = options["run"]
    cutting: Cutting = options["cutting"]
    return {
        "clean": opened.clean,
        "views": _views(cutting.views),
        "depth": cutting.depth,
        "readout": cutting.readout,
        "rank": cutting.rank,
        "force": options["inputs"].force,
        "seed": run.seed,
        "device": device,
        "progress": not run.quiet,
    }


def _views(word: str) -> Any:
    if word == "auto":
        return "auto"
    return [each for each in word.split(",") if each not in {"", "none"}]


def _tell(run: Run, summary: dict[str, Any], directory: Path) -> None:
    if run.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    elif not run.quiet:
        console = Screen()
        console.print(verdict(summary))
        console.print(f"wrote {directory}", soft_wrap=True)
        if "load" in summary:
            console.print(f"to load it: {summary['load']}", soft_wrap=True)
