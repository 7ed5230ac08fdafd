"""What every command does with its run: where it works, where it writes, what it says."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from tailcut.cli.options import Run
from tailcut.errors import SpecError
from tailcut.files import store
from tailcut.lab.training.records import Epoch
from tailcut.network.stream import usual_device

CONFIG = "config.yaml"
_MADE_BY = "# written by tailcut: "
"""The first line of a run's config; the command follows."""


def device_of_run(run: Run) -> str:
    """The device asked for, a GPU if there is one by default.

    Raises:
        SpecError: A device that is not there.
    """
    if run.device != "auto":
        try:
            return str(torch.empty(0, device=run.device).device)
        except (RuntimeError, AssertionError):
            raise SpecError(
                f"no device {run.device!r} here",
                wanted="auto, cpu, cuda, cuda:1 or mps",
                advice="Correct --device",
            ) from None
    return usual_device()


@contextmanager
def run_directory(run: Run, command: str, config: str | None = None) -> Iterator[Path]:
    """The run's directory; work that fails before it has written there leaves it as it was.

    Args:
        run: May name it.
        command: In the name of a new one.
        config: What repeats the run, if it is to be there while the work goes on.

    Raises:
        SpecError: See `require_place`.
    """
    require_place(run, command)
    given = Path(run.out or "runs")
    new = [each for each in (given, *given.parents) if not each.exists()]
    directory = given if run.out is not None else _claimed(command)
    path = directory / CONFIG
    files, folders = _listed(directory)
    kept = path.read_bytes() if path in files else None
    if config is not None:
        store.write_text(path, stamped(command, config))
    try:
        yield directory
    except BaseException:
        files_now, folders_now = _listed(directory)
        if files_now - {path} == files - {path}:
            _put_back(path, kept)
            claimed = [directory] if run.out is None else []
            for each in [*sorted(folders_now - folders, reverse=True), *claimed, *new]:
                with suppress(OSError):  # gone already
                    each.rmdir()
        raise


def require_place(run: Run, command: str) -> None:
    """Check where the run will write, before any work, and leave it as it is.

    Raises:
        SpecError: A file, a place that cannot be written to, or a run of another command.
    """
    directory = _named(command) if run.out is None else Path(run.out)
    require_writable(directory)
    held = directory / CONFIG
    if held.is_file():
        first = held.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        if first.startswith(_MADE_BY) and first != _MADE_BY + command:
            raise SpecError(
                f"{directory} holds a run of {first.removeprefix(_MADE_BY)!r}",
                wanted=f"a new directory, or one of {command!r}, which is written anew",
                advice="Choose another --out",
            )


def stamped(command: str, config: str) -> str:
    """The config that repeats a run, and which command it is for."""
    return f"{_MADE_BY}{command}\n{config}"


def require_writable(directory: Path) -> None:
    """Try to write there, and leave no trace.

    Raises:
        SpecError: A file, or a place that cannot be written to.
    """
    cause: Exception | None = None
    if directory.is_file():
        raise SpecError(
            f"--out {directory} is a file",
            wanted="a directory, which may be new",
            advice="Choose another place",
        )
    missing = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except (OSError, ValueError) as error:
        cause = error
    for each in missing:
        with suppress(OSError):
            each.rmdir()
    if cause is not None:
        message = getattr(cause, "strerror", None) or cause
        raise SpecError(
            f"{directory} cannot be written to ({message})",
            wanted="a directory, which may be new",
            advice="Choose another place with --out",
        ) from cause


def _claimed(command: str) -> Path:
    """A new directory under `runs`, of nobody else who starts in this second."""
    named, number = _named(command), 1
    while True:
        directory = named if number == 1 else named.with_name(f"{named.name}-{number}")
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return directory


def _named(command: str) -> Path:
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}"


def _listed(directory: Path) -> tuple[set[Path], set[Path]]:
    """Files and folders in a directory, as deep as a command writes."""
    paths = [*directory.glob("*"), *directory.glob("*/*")]
    files = {path for path in paths if path.is_file()}
    return files, set(paths) - files


def _put_back(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    elif path.read_bytes() != content:
        store.write_text(path, content.decode("utf-8"))


def tell(run: Run, text: str, content: dict[str, Any]) -> None:
    """Print a text, or its content as JSON, or nothing, as the run wants it."""
    if run.json:
        sys.stdout.write(json.dumps(store.plain(content)) + "\n")
    elif not run.quiet:
        sys.stdout.write(text + "\n")


class Bar:
    """A progress bar on stderr; silent when quiet or not on a terminal.

    Args:
        run: Says whether to be quiet.
        total: Epochs or trainings.
        counted: What they are, for the first moments.
    """

    def __init__(self, run: Run, total: int, counted: str = "training") -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            console=console, transient=True, disable=run.quiet or not console.is_terminal
        )
        self._task = self._bar.add_task(counted, total=total)

    def __enter__(self) -> Callable[[Any], None]:
        self._bar.start()
        return self._on_step

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _on_step(self, step: Any) -> None:
        """One more; an epoch says how much is fitted."""
        if isinstance(step, Epoch):
            message = f"epoch {step.epoch}: {100 * step.train:.0f} % of given labels fitted"
            self._bar.update(self._task, completed=step.epoch, description=message)
        else:
            self._bar.advance(self._task)


class Screen(Console):
    """A console on stdout that leaves it to `main` to say nothing to a reader who has gone."""

    def __init__(self) -> None:
        super().__init__(markup=False)

    def on_broken_pipe(self) -> None:
        """As a plain write to stdout does."""
        raise BrokenPipeError
