"""Where the runs of a grid happen: processes of this machine, or tasks of Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tailcut.errors import TailcutError
from tailcut.lab.grid.on_ray import by_ray
from tailcut.lab.grid.pool import by_pool
from tailcut.lab.grid.work import Outcomes, Work

ENGINES = ("pool", "ray")


@dataclass(frozen=True)
class Engine:
    """Where runs happen, and how many at the same time.

    Attributes:
        engine: "pool" for processes of this machine, which share its cores as threads; "ray" for
            tasks of one core each.
        workers: Runs at the same time; default: as many as there are cores.
        address: Of a Ray cluster; default: $RAY_ADDRESS, or a local Ray for the time of the grid.
            A Ray to which the process is connected already is used as it is.
        gpus: That a run takes of Ray; may be a fraction.
        retries: Further tries of a run that fails or whose process dies.

    Raises:
        TailcutError: Another engine, or no workers.
    """

    engine: str = "pool"
    workers: int | None = None
    address: str | None = None
    gpus: float = 0.0
    retries: int = 1

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise TailcutError(
                f"engine {self.engine!r}",
                wanted=f"one of {', '.join(ENGINES)}",
                advice="Name one of them",
            )
        if self.workers is not None and self.workers < 1:
            raise TailcutError(
                f"{self.workers} workers", wanted="1 or more", advice="Give none for all"
            )

    def outcomes(self, work: Work, todo: Mapping[str, Any]) -> Outcomes:
        """Of every run by name, as it ends; nothing is started where nothing is to do.

        Raises:
            TailcutError: Work that cannot be sent to a process, or no Ray.
        """
        how: dict[str, Any] = {"workers": self.workers, "retries": self.retries}
        if todo and self.engine == "pool":
            yield from by_pool(work, todo, **how)
        elif todo:
            yield from by_ray(work, todo, address=self.address, gpus=self.gpus, **how)
