"""`tailcut audit`: the table of suspects, a page to look at them, a corrected data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

import tailcut
from tailcut.cli.backbones import backbone
from tailcut.cli.opening import Opened, note, open_run, views_of
from tailcut.cli.options import Audited, Run
from tailcut.cli.output import (
    CONFIG,
    device_of_run,
    require_place,
    require_writable,
    run_directory,
    stamped,
    tell,
)
from tailcut.errors import SpecError
from tailcut.files import store
from tailcut.files.whole import change_as_one
from tailcut.report.gallery import Suspect, gallery, suspect
from tailcut.verbs.class_names import names_of_network
from tailcut.verbs.corrected import corrected

_KNOWN = (
    "noise_rate",
    "noise_interval",
    "expected_precision",
    "expected_recall",
    "rounds",
    "backbone",
)


def audit(options: Mapping[str, Any], config: str) -> int:
    """`tailcut audit`."""
    run, audited = options["run"], options["audited"]
    device, table = device_of_run(run), _table_of(run)
    write_export = _exporter(audited)
    opened = open_run(options, None)
    if opened.steps is not None and opened.steps.source:
        note(f"images are read as {opened.steps.source} proposes: {opened.steps.describe()}")
    issues = tailcut.find_label_issues(
        opened.model,
        opened.train,
        opened.holdout,
        views=views_of(audited.views),
        depth=audited.depth,
        backbone=backbone(audited.backbone, opened.train),
        force=options["inputs"].force,
        seed=run.seed,
        device=device,
        progress=not run.quiet,
    )
    known = {name: issues.attrs[name] for name in _KNOWN}
    issues = named(issues, opened)
    flagged = int(issues["is_label_issue"].sum())
    summary = {"samples": len(issues), "issues": flagged, **known}
    if table is not None:
        path = store.write_text(table, issues.to_csv())
    else:
        title = f"tailcut audit {options['model']}"
        suspects = _suspects(issues, opened, audited.worst)
        page = gallery({"title": title, **summary}, issues, suspects)
        path = _write(run, issues, summary, page, stamped("audit", config))
    written = [str(path), *([str(write_export(issues))] if audited.export else [])]
    printed = {**summary, "file": str(path), "export": audited.export}
    tell(run, f"{_in_words(summary)}; wrote {' and '.join(written)}", printed)
    return 0


def named(issues: pd.DataFrame, opened: Opened) -> pd.DataFrame:
    """The table with the key of each row first and the names of its classes last.

    Columns `key` (where the rows are known), `given_name`, `suggested_name`, and `rank`: 1 for the
    most suspicious.
    """
    rows, names = opened.rows, names_of_network(opened.model)
    if rows is not None and rows.class_names:
        names = dict(enumerate(rows.class_names))
    table = issues.copy()
    if rows is not None and rows.keys is not None:
        table.insert(0, "key", [rows.keys[row] for row in table.index])
    for column, label in (("given_name", "given_label"), ("suggested_name", "predicted_label")):
        table[column] = [names.get(int(each), str(each)) for each in table[label]]
    order = table.sort_values(["is_label_issue", "label_score"], ascending=[False, True])
    table["rank"] = pd.Series(range(1, len(table) + 1), index=order.index)
    return table


def _suspects(issues: pd.DataFrame, opened: Opened, most: int) -> Sequence[Suspect]:
    """Flagged rows with their images or texts, the most suspicious first."""
    rows = opened.rows
    if rows is None:
        return []
    worst = issues.sort_values("rank").head(min(most, int(issues["is_label_issue"].sum())))
    found = []
    for number, row in worst.iterrows():
        item, _, _ = rows[int(str(number))]
        found.append(suspect(row.to_dict(), item))
    return found


def _in_words(summary: Mapping[str, Any]) -> str:
    found = f"{summary['issues']} of {summary['samples']} labels look wrong"
    if summary["backbone"] is not None:
        found += ", by the features of the backbone"
    if summary["noise_rate"] is None:
        return f"{found} (how many are wrong is unknown without a holdout that shows it)"
    low, high = (100 * end for end in summary["noise_interval"])
    return f"{found} (estimated {100 * summary['noise_rate']:.1f} % [{low:.1f}, {high:.1f}])"


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


def _exporter(audited: Audited) -> Callable[[pd.DataFrame], Path]:
    """What writes the list of the corrected data set.

    Raises:
        SpecError: A file that cannot be written to, or of no known kind.
    """
    path = Path(audited.export or "corrected.csv")
    writers: dict[str, Callable[[pd.DataFrame], str]] = {
        ".csv": lambda table: table.to_csv(index=False),
        ".jsonl": lambda table: str(table.to_json(orient="records", lines=True)),
    }
    if path.suffix not in writers:
        raise SpecError(
            f"--export {path}", wanted=f"a file {' or '.join(writers)}", advice="Name another one"
        )
    require_writable(path.parent)

    def write(issues: pd.DataFrame) -> Path:
        table = corrected(issues, drop=audited.drop, relabel=audited.relabel)
        return store.write_text(path, writers[path.suffix](table))

    return write


def _write(
    run: Run, issues: pd.DataFrame, summary: Mapping[str, Any], page: str, config: str
) -> Path:
    """The run's directory: the table, the page, and what is known in numbers."""

    def all_of_it(place: Path) -> None:
        store.write_text(place / CONFIG, config)
        store.write_text(place / "issues.csv", issues.to_csv())
        store.write_json(place / "audit.json", {"schema": store.SCHEMA, **summary})
        store.write_text(place / "report.html", page)
        if find_spec("pyarrow") is not None:
            issues.to_parquet(place / "issues.parquet")

    with run_directory(run, "audit") as directory:
        return change_as_one(directory, all_of_it) / "issues.csv"
