"""Ctrl-C: at once while Python still imports, where packages make other errors of it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit code, as shells have it."""

MESSAGE = "tailcut: interrupted; every file written so far is whole\n"


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Nothing is written while this lasts, so an interrupt may end the process then and there."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(*_: object) -> None:
    os.write(2, MESSAGE.encode())
    os._exit(INTERRUPTED)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether an interrupt is what an error was made of."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
