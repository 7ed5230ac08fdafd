"""What a run is to an engine: a function called with a config, timed, its result made plain."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Result(Protocol):
    """What a run may return instead of a dict."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        ...


Work = Callable[[Any], Mapping[str, Any] | Result]
Measured = tuple[dict[str, Any], float]
"""A result and its seconds."""
Outcomes = Generator[tuple[str, Measured | Exception], None, None]
"""Of every run by name, as it ends: what it gave, or why it gave nothing. Closing it ends all."""


class RunError(RuntimeError):
    """What went wrong in a run, as text: the error itself may not survive the way back."""


def measured(work: Work, config: Any) -> Measured:
    """In a process of the engine: a result of plain values, and its seconds."""
    start = time.perf_counter()
    with as_run_error():
        plain = _plain(work(config))
    return plain, time.perf_counter() - start


@contextmanager
def as_run_error() -> Iterator[None]:
    """Whatever goes wrong becomes an error that can be pickled and does not end the process."""
    try:
        yield
    except (Exception, SystemExit) as cause:
        raise RunError(f"{type(cause).__name__}: {cause}") from cause


def _plain(result: Any) -> dict[str, Any]:
    result = result.to_json() if hasattr(result, "to_json") else result
    if not isinstance(result, Mapping):
        raise TypeError(f"the run returned a {type(result).__name__} instead of a dict")
    return json.loads(json.dumps(dict(result), default=lambda value: value.tolist()))
