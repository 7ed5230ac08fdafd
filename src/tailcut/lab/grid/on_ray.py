"""Runs as tasks of Ray, on this machine or on a cluster."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any

from tailcut.errors import TailcutError
from tailcut.lab.grid.work import Measured, Outcomes, RunError, Work, as_run_error, measured


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
        yield from _each(ray, task, work, todo, running, workers or len(todo))
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        if ours:
            ray.shutdown()


def _each(
    ray: Any, task: Any, work: Work, todo: Mapping[str, Any], running: dict[Any, str], limit: int
) -> Outcomes:
    """Outcomes as they come, no more than `limit` runs at the same time."""
    waiting = deque(todo)
    while waiting or running:
        while waiting and len(running) < limit:
            name = waiting.popleft()
            packed = ray.cloudpickle.dumps((work, todo[name]))
            running[task.remote(sys.path, packed)] = name
        for reference in ray.wait(list(running))[0]:
            yield running.pop(reference), _ray_outcome(ray, reference)


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
    with as_run_error():
        work, config = pickle.loads(packed)  # noqa: S301 packed by by_ray
    return measured(work, config)


def _ray_outcome(ray: Any, reference: Any) -> Measured | Exception:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as cause:
        return cause.cause if isinstance(cause.cause, RunError) else cause
    except ray.exceptions.RayError as cause:
        return RunError(str(cause).strip().partition("\n")[0] or type(cause).__name__)
