"""Where the runs of a grid happen: processes of this machine, or tasks of Ray."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import torch

from tailcut.errors import TailcutError

Work = Callable[[Any], Mapping[str, Any]]
Measured = tuple[dict[str, Any], float]
"""A result and its seconds."""
Outcomes = Generator[tuple[str, Measured | Exception], None, None]
"""Of every run by name, as it ends: what it gave, or why it gave nothing. Closing it ends all."""


class RunError(RuntimeError):
    """What went wrong in a run, as text: the error itself may not survive the way back."""


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
            return self._pool.submit(_measured, work, config)
        except BrokenProcessPool:
            self.close()
            self._open()
            return self._pool.submit(_measured, work, config)

    def close(self) -> None:
        self._ours.close()
        self._pool.shutdown(cancel_futures=True)


def _begin(threads: int, owner: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner is told of it, and closes its lanes
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


def by_ray(
    work: Work,
    todo: Mapping[str, Any],
    *,
    workers: int | None,
    retries: int,
    address: str | None,
    gpus: float,
) -> Outcomes:
    """Run as Ray tasks of one core each; a Ray that is started here also ends here.

    Args:
        work: A function that the processes of Ray can import, or one of the script that is run.
        todo: What to call it with, by name of the run.
        workers: Runs at the same time; default: as many as Ray has cores.
        retries: Further tries of a run that fails or whose process dies.
        address: Of a cluster; default: $RAY_ADDRESS, or a local Ray. A Ray to which this process
            is connected already is used as it is.
        gpus: That a run takes; may be a fraction.

    Raises:
        TailcutError: Ray is not installed, or a local one has not so many GPUs.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    running: dict[Any, str] = {}
    try:
        if ours:
            _connect(ray, address, workers, gpus)
        task = ray.remote(_unpacked).options(
            num_cpus=1, num_gpus=gpus, max_retries=retries, retry_exceptions=True
        )
        waiting = deque(todo)
        while waiting or running:
            while waiting and len(running) < (workers or len(todo)):
                name = waiting.popleft()
                packed = ray.cloudpickle.dumps((work, todo[name]))
                running[task.remote(sys.path, packed)] = name
            for reference in ray.wait(list(running))[0]:
                yield running.pop(reference), _ray_outcome(ray, reference)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        if ours:
            ray.shutdown()


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as cause:
        raise TailcutError(
            f"ray cannot be imported ({cause})",
            wanted="tailcut with the extra 'ray'",
            advice="Run: pip install 'tailcut[ray]', or take the engine 'pool'",
        ) from None


def _connect(ray: Any, address: str | None, workers: int | None, gpus: float) -> None:
    place = address or os.environ.get("RAY_ADDRESS", "local")
    if place != "local":
        ray.init(place)
        return
    # a Ray that its user did not start, and may not know of, reports nothing to its makers
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(place, num_cpus=workers, include_dashboard=False)
    there = ray.cluster_resources().get("GPU", 0)
    if gpus > there:
        raise TailcutError(
            f"a run takes {gpus:g} GPUs and the local Ray has {there:g}",
            wanted="no more than there are, or the run would wait for ever",
            advice="Lower gpus, or give the address of a cluster",
        )


def _unpacked(paths: list[str], packed: bytes) -> Measured:
    """In a process of Ray: what the driver can import is found here too, as in a spawned one."""
    sys.path.extend(path for path in paths if path not in sys.path)
    with _as_run_error():
        work, config = pickle.loads(packed)  # noqa: S301 packed by by_ray
    return _measured(work, config)


def _ray_outcome(ray: Any, reference: Any) -> Measured | Exception:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as cause:
        return cause.cause if isinstance(cause.cause, RunError) else cause
    except ray.exceptions.RayError as cause:
        return RunError(str(cause).strip().partition("\n")[0] or type(cause).__name__)


def _measured(work: Work, config: Any) -> Measured:
    """In a process of the engine: a result of plain values, and its seconds."""
    start = time.perf_counter()
    with _as_run_error():
        plain = _plain(work(config))
    return plain, time.perf_counter() - start


@contextmanager
def _as_run_error() -> Iterator[None]:
    """Whatever goes wrong becomes an error that can be pickled and does not end the process."""
    try:
        yield
    except (Exception, SystemExit) as cause:
        raise RunError(f"{type(cause).__name__}: {cause}") from cause


def _plain(result: Any) -> dict[str, Any]:
    if not isinstance(result, Mapping):
        raise TypeError(f"the run returned a {type(result).__name__} instead of a dict")
    return json.loads(json.dumps(dict(result), default=lambda value: value.tolist()))
