"""Records of the studies of a preset, one for each seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tailcut.lab.claims.presets import Preset
from tailcut.lab.claims.record import Record
from tailcut.lab.claims.study import Study


class Results:
    """Records of the studies of a preset, looked up by what was studied.

    Args:
        preset: Of the studies.
        records: What `study.conduct` returned, by study.
    """

    def __init__(self, preset: Preset, records: Mapping[Study, Record]) -> None:
        self.preset, self.records = preset, records

    def knows(self, study: Study) -> bool:
        """Whether every seed's record is there."""
        return all(replace(study, seed=seed) in self.records for seed in self.preset.seeds)

    def of(self, study: Study) -> list[Record]:
        """One record for each seed."""
        return [self.records[replace(study, seed=seed)] for seed in self.preset.seeds]

    def each(self, study: Study, measured: Callable[[Record], float]) -> tuple[float, ...]:
        """A figure of each seed's record."""
        return tuple(measured(record) for record in self.of(study))

    def minus(
        self, one: Study, other: Study, measured: Callable[[Record], float]
    ) -> tuple[float, ...]:
        """Difference of a figure between two studies, seed by seed."""
        return difference(self.each(one, measured), self.each(other, measured))


def difference(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    """Seed by seed."""
    return tuple(a - b for a, b in zip(one, other, strict=True))
