"""Runs on processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

import torch

from tailcut.errors import TailcutError
from tailcut.lab.grid.work import Measured, Outcomes, RunError, Work, measured


def by_pool(work: Work, todo: Mapping[str, Any], *, workers: int | None, retries: int) -> Outcomes:
    """Run on spawned processes, which share the cores as threads.

    Args:
        work: A function at the top of a module.
        todo: What to call it with, by name of the run.
        workers: Processes; default: as many as there are cores.
        retries: Further tries, after all others, of a run that fails or whose process dies.

    Raises:
        TailcutError: Work that cannot be sent to a process.
    """
    _check_sendable(work)
    cores = os.cpu_count() or 1
    count = min(workers or cores, len(todo))
    lanes = [_Lane(max(1, cores // count)) for _ in range(count)]
    idle, waiting, tries = list(lanes), deque(todo), Counter[str]()
    running: dict[Future[Measured], tuple[str, _Lane]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                name, lane = waiting.popleft(), idle.pop()
                running[lane.submit(work, todo[name])] = name, lane
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, lane = running.pop(future)
                idle.append(lane)
                tries[name] += 1
                outcome = _pool_outcome(future)
                if isinstance(outcome, Exception) and tries[name] <= retries:
                    waiting.append(name)
                else:
                    yield name, outcome
    finally:
        for lane in lanes:
            lane.close()


class _Lane:
    """A pool of one process: whose process died is then known, and no other run dies with it.

    The process ends at once when the lane is closed or its owner killed, so that neither leaves a
    run behind for which nobody waits.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._open()

    def _open(self) -> None:
        context = multiprocessing.get_context("spawn")
        theirs, self._ours = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(1, context, _begin, (self._threads, theirs))

    def submit(self, work: Work, config: Any) -> Future[Measured]:
        try:
            return self._pool.submit(measured, work, config)
        except BrokenProcessPool:
            self.close()
            self._open()
            return self._pool.submit(measured, work, config)

    def close(self) -> None:
        self._ours.close()
        self._pool.shutdown(cancel_futures=True)


def _begin(threads: int, owner: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner gets it, and closes its lanes
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with, args=(owner,), daemon=True).start()


def _end_with(owner: Connection) -> None:
    try:
        owner.recv()
    except (EOFError, OSError):
        sys.stdout.flush()
        os._exit(0)


def _check_sendable(work: Work) -> None:
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError):
        raise TailcutError(
            f"{getattr(work, '__qualname__', work)} cannot be sent to a process",
            wanted="a function at the top of a module",
            advice="Move it there",
        ) from None


def _pool_outcome(future: Future[Measured]) -> Measured | Exception:
    try:
        return future.result()
    except BrokenProcessPool:
        return RunError(
            "its process died: out of memory, a module that cannot be imported there, or a script "
            "without `if __name__ == '__main__':`"
        )
    except Exception as cause:  # noqa: BLE001 whatever a run raises is its outcome
        return cause
