"""A progress line for people, and the seconds that each step took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Steps:
    """Called with the step that is running; times it, and shows it where somebody is looking."""

    def __init__(self, bar: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._bar = bar
        self._task = bar.add_task("", total=None)
        self._name, self._count, self._start = "", 0, time.perf_counter()

    def __call__(self, name: str) -> None:
        """A batch of this step is about to be worked on."""
        if name != self._name:
            self.close()
            self._name, self._count, self._start = name, 0, time.perf_counter()
        self._count += 1
        self._bar.update(self._task, description=f"{name}: batch {self._count}")

    def close(self) -> None:
        """End the running step."""
        if self._name:
            spent = time.perf_counter() - self._start
            self.seconds[self._name] = self.seconds.get(self._name, 0) + spent
        self._name = ""


@contextmanager
def steps(*, shown: bool) -> Iterator[Steps]:
    """Steps on stderr, gone when done; silent if not `shown` or not a terminal."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    silent = not (shown and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=silent) as bar:
        running = Steps(bar)
        try:
            yield running
        finally:
            running.close()
