"""What a study found, frozen, and as the JSON of its file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tailcut.lab.claims.features import Probe
from tailcut.lab.training.records import Epoch, Trained

_DIGITS = 4
"""Decimals kept of every figure in a record: the rest is noise, and would fill the files."""


@dataclass(frozen=True)
class Record:
    """A training with its probes; accuracies are shares, 0..1.

    Attributes:
        epochs: One each, 1 the first.
        probes: See `probe.probe`, each with its `epoch`, 0 of the untrained network.
        last: Accuracy on true test labels after the last epoch.
        best_epoch: After the epoch that is best by those, which no user knows.
        noisy_epoch: After the epoch that is best by the noisy holdout.
        repair: `verdict`, `readout`, `rank` and `strength` of a repair of the last state, and
            accuracy `before` and `after` it; None if it was not repaired.
    """

    epochs: tuple[Epoch, ...]
    probes: tuple[Probe, ...]
    last: float
    best_epoch: float
    noisy_epoch: float
    repair: Probe | None = None

    @classmethod
    def of(cls, trained: Trained, probes: Mapping[int, Probe], repair: Probe | None) -> Record:
        """From a training and its probes by epoch, figures rounded as in a file."""
        content = {
            "epochs": [asdict(epoch) for epoch in trained.epochs],
            "probes": [probes[number] for number in sorted(probes)],
            "last": trained.epochs[-1].test,
            "best_epoch": trained.oracle_epoch.test,
            "noisy_epoch": trained.noisy_epoch.test,
            "repair": repair,
        }
        return cls.from_json(rounded(content))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """From what `to_json` gave."""
        epochs = tuple(Epoch(**each) for each in content["epochs"])
        return cls(**{**content, "epochs": epochs, "probes": tuple(content["probes"])})

    def to_json(self) -> dict[str, Any]:
        """Plain values; `repair` is left out where there was none."""
        content = asdict(self)
        content |= {"epochs": list(content["epochs"]), "probes": list(content["probes"])}
        return {name: each for name, each in content.items() if name != "repair" or each}


def rounded(content: Any) -> Any:
    """Plain data with its numbers cut to four decimals; NaN and infinities become None."""
    if isinstance(content, float):
        return round(content, _DIGITS) if math.isfinite(content) else None
    if isinstance(content, dict):
        return {name: rounded(value) for name, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return content
