"""What every command does with its run: where it works, where it writes, what it says."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from tailcut.arguments import Run
from tailcut.errors import SpecError
from tailcut.lab.training import Epoch
from tailcut.network import store
from tailcut.network.stream import usual_device


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


def new_directory(
    run: Run, command: str, config: str, check: Callable[[Path], object] = lambda _: None
) -> Path:
    """The run's directory, with the config that repeats it.

    Args:
        run: May name it.
        command: In the name of a new one.
        config: What is written.
        check: Raises for a directory that holds something else, before anything is written there.
    """
    if run.out is None:
        name, number = f"{time.strftime('%Y%m%d-%H%M%S')}-{command}", 1
        directory = Path("runs") / name
        while directory.exists():
            number += 1
            directory = Path("runs") / f"{name}-{number}"
    else:
        directory = Path(run.out)
    check(directory)
    store.write_text(directory / "config.yaml", config)
    return directory


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
        """One more; an epoch tells how much is fitted."""
        if isinstance(step, Epoch):
            told = f"epoch {step.epoch}: {100 * step.train:.0f} % of given labels fitted"
            self._bar.update(self._task, completed=step.epoch, description=told)
        else:
            self._bar.advance(self._task)
