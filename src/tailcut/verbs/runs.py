"""The files of a run, written from its summary and read back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tailcut.errors import SpecError, StoreError, TailcutWarning
from tailcut.files import store
from tailcut.files.whole import change_as_one, digest, finish, first_line, is_inside, names_in
from tailcut.network import pretrained
from tailcut.network.head import Head
from tailcut.network.pretrained import Form
from tailcut.numerics.spectrum import Spectrum
from tailcut.report.page import page
from tailcut.verbs.network_files import CARD, write_network
from tailcut.verbs.result import candidates_table

if TYPE_CHECKING:
    from tailcut.verbs.diagnosis import Diagnosis
    from tailcut.verbs.repair import Repair

PAGE = "report.html"
RESULT = "result.json"
"""Of a run, with the digests of its other files."""
SPECTRUM, UNDO = "spectrum.safetensors", "undo.safetensors"
_READ_BY_PEOPLE = (".csv", ".html", "config.yaml", CARD)
"""Ends of the names of files that are not read back."""


def write(
    directory: str | Path,
    summary: Mapping[str, Any],
    parts: Callable[[Path], object] = lambda _: None,
    config: str | None = None,
) -> Path:
    """All files of a run, in the place of those of the run before: `result.json` names them all.

    Others' files in the directory stay.

    Args:
        directory: May be new.
        summary: Becomes `result.json`, `candidates.csv`, `curve.csv` and `report.html`.
        parts: Writes what else there is into the folder it is given.
        config: Of the command, kept as `config.yaml`.
    """
    directory = Path(directory)

    def everything(place: Path) -> None:
        parts(place)
        if config is not None:
            store.write_text(place / "config.yaml", config)
        _derived(place, summary)
        files = {name: digest(place / name) for name in names_in(place)}
        store.write_json(place / RESULT, {**summary, "files": files})
        gone[:] = [name for name in _written_in(directory) if name not in files]

    gone: list[str] = []
    return change_as_one(directory, everything, lambda: gone)


def write_diagnosis(
    directory: str | Path,
    diagnosis: Diagnosis,
    summary: Mapping[str, Any],
    config: str | None = None,
) -> Path:
    """The files of a diagnosis; see `write`.

    Raises:
        SpecError: A repair lies there.
    """
    refuse_repair(Path(directory))

    def parts(place: Path) -> None:
        save_spectrum(place / SPECTRUM, diagnosis.spectrum, diagnosis.head)

    return write(directory, summary, parts, config)


def write_repair(
    directory: str | Path,
    fix: Repair,
    summary: Mapping[str, Any],
    config: str | None = None,
    *,
    form: Form = "safetensors",
    code: str = "",
) -> Path:
    """The files of a repair; see `write`.

    Args:
        directory: May be new.
        fix: The repair.
        summary: Of it.
        config: Of the command, kept as `config.yaml`.
        form: Of the file of weights.
        code: Python that builds the network, for the line that says how to load it.

    Raises:
        StoreError: See `tailcut.network.pretrained.require_form`.
    """
    pretrained.require_form(fix.model, form)
    summary = {**summary, "load": pretrained.how_to_load(fix.model, form=form, code=code)}

    def parts(place: Path) -> None:
        write_network(place, fix.model, summary, form)
        store.save_tensors(place / UNDO, fix.undo_tensors)
        save_spectrum(place / SPECTRUM, fix.spectrum, fix.head)

    return write(directory, summary, parts, config)


def _derived(place: Path, summary: Mapping[str, Any]) -> None:
    """What is a function of the summary."""
    store.write_text(place / "candidates.csv", candidates_table(summary).to_csv(index=False))
    curve = summary["curve"]
    if curve is not None:
        table = pd.DataFrame({"rank": curve["ranks"]})
        for name in ("given", "clean"):
            if curve[name] is not None:
                table[name] = curve[name]
        store.write_text(place / "curve.csv", table.to_csv(index=False))
    store.write_text(place / PAGE, page(summary))


def _written_in(directory: Path) -> list[str]:
    """Files of the run that a directory holds, those left out that somebody has changed."""
    try:
        files = _files(directory, store.read_json(directory / RESULT))
    except StoreError:
        return []
    return [name for name, known in files.items() if _is(directory / name, known)]


def _is(path: Path, known: str) -> bool:
    return path.is_file() and digest(path) == known


def read(directory: str | Path) -> tuple[dict[str, Any], list[str]]:
    """The summary of a repair, and the names of its files, all of them as they were written.

    Tables and the page, which nothing reads back, may be missing; where they are changed, a
    `TailcutWarning` says so.

    Raises:
        StoreError: Files that are missing, damaged, or of another run; or no repair.
    """
    directory = Path(directory)
    finish(directory)
    summary, checked = result(directory)
    files = _files(directory, summary)
    if not checked or UNDO not in files:
        raise StoreError(
            f"{directory} holds no repair",
            wanted="a directory that Repair.save or tailcut repair wrote",
            advice="Name another directory, or run the repair again",
        )
    changed = [name for name, known in files.items() if not _is(directory / name, known)]
    for name in changed:
        if not name.endswith(_READ_BY_PEOPLE):
            raise _other(directory / name)
    for path in (directory / name for name in changed if name != "config.yaml"):
        if path.exists():
            note = f"{path} is not as it was written; tailcut report {directory} writes it again"
            warnings.warn(note, TailcutWarning, stacklevel=3)
    del summary["files"]
    return summary, list(files)


def refuse_repair(directory: Path) -> None:
    """Keep a diagnosis from taking the place of a repair.

    Raises:
        SpecError: A repair lies there.
    """
    if UNDO in _written_in(directory):
        raise SpecError(
            f"{directory} holds a repair",
            wanted="a new directory, or one of a diagnosis",
            advice="Choose another place",
        )


def result(directory: str | Path) -> tuple[dict[str, Any], bool]:
    """What `result.json` holds, and whether a checksum says that it is as it was written.

    Raises:
        StoreError: No result there, or a damaged one.
    """
    path = Path(directory) / RESULT
    summary, checked = store.read_json_and_checksum(path)
    if "schema" not in summary:
        raise StoreError(
            f"{path} has no schema",
            wanted="a result of repair or diagnose, as it was written",
            advice="Run the command again that wrote it",
        )
    return summary, checked


def _files(directory: Path, summary: Mapping[str, Any]) -> dict[str, str]:
    """Digests by the names of a run's files, none of them outside its directory."""
    files = summary.get("files", {})
    if not isinstance(files, dict) or not all(is_inside(name) for name in files):
        raise StoreError(
            f"{directory / RESULT} names files outside {directory}",
            wanted="the files of a run",
            advice="Do not use it, unless you know who wrote it",
        )
    return files


def _other(path: Path) -> StoreError:
    seen = f"{path} is not the file of this run" if path.is_file() else f"no file at {path}"
    return StoreError(
        seen,
        wanted=f"all files that {RESULT} names, as they were written together",
        advice="It is damaged, or of another run: copy the directory again, or repeat the repair",
    )


def write_again(directory: str | Path, out: str | Path | None = None) -> Path:
    """The page of a run from its `result.json`, and its tables; returns the page.

    Args:
        directory: Of the run.
        out: Another directory, for the page alone.

    Raises:
        StoreError: No result there, a damaged one, or one that is not of a repair or diagnosis.
    """
    directory = Path(directory)
    finish(directory)
    summary, checked = result(directory)
    files = _files(directory, summary)

    def derived(place: Path) -> None:
        _derived(place, summary)
        again = {name: digest(place / name) for name in names_in(place)}
        store.write_json(place / RESULT, {**summary, "files": {**files, **again}})

    if out is None and checked and files:
        change_as_one(directory, derived)
        return directory / PAGE
    shown = page(summary) if checked else _page_of_anything(directory / RESULT, summary)
    return store.write_text(Path(out or directory) / PAGE, shown)


def _page_of_anything(path: Path, summary: Mapping[str, Any]) -> str:
    """Of a result without a checksum, which may hold anything."""
    try:
        return page(summary)
    except StoreError:
        raise
    except Exception as cause:
        raise StoreError(
            f"{path} holds values that make no page ({first_line(cause)})",
            wanted="a result of repair or diagnose, as it was written",
            advice="It was edited or damaged: run the command again that wrote it",
        ) from cause


def save_spectrum(path: str | Path, spectrum: Spectrum, head: Head) -> None:
    """A spectrum and the head whose input it describes, as safetensors."""
    tensors = {
        "eigenvalues": spectrum.eigenvalues_D,
        "basis": spectrum.basis_DD,
        "mean": spectrum.mean_D,
    }
    labels = {"n": spectrum.n, "head": head.name, "classes": head.classes, "bias": int(head.bias)}
    store.save_tensors(path, tensors, {key: str(value) for key, value in labels.items()})


def load_spectrum(path: str | Path) -> tuple[Spectrum, Head]:
    """What `save_spectrum` wrote.

    Raises:
        StoreError: No such file, or not written by tailcut.
    """
    tensors, labels = store.load_tensors(path), store.metadata_of(path)
    try:
        spectrum = Spectrum(
            tensors["eigenvalues"], tensors["basis"], tensors["mean"], int(labels["n"])
        )
        head = Head(labels["head"], spectrum.width, int(labels["classes"]), labels["bias"] == "1")
    except (KeyError, ValueError) as cause:
        raise StoreError(
            f"{path} lacks {cause}",
            wanted="a spectrum written by tailcut",
            advice="Run the repair again that wrote it",
        ) from None
    return spectrum, head
