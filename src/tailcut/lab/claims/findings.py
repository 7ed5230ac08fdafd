"""Findings: what was stated before, what was measured, and the verdict that follows from both."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tailcut.errors import DataError

Verdict: TypeAlias = Literal["supported", "not supported", "mixed"]


@dataclass(frozen=True)
class Test:
    """One statistic of a claim, and on which side of a threshold the claim needs it.

    Attributes:
        name: What is measured.
        values: One for each seed.
        threshold: Fixed before anything was run.
        below: The claim needs it below the threshold; else above.
        counts: Whether the verdict depends on it; else it is there for comparison.
    """

    __test__ = False  # pytest looks for classes of this name

    name: str
    values: tuple[float, ...]
    threshold: float = 0.0
    below: bool = False
    counts: bool = True

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise DataError(
                f"{len(self.values)} seeds for the statistic {self.name!r}",
                wanted="at least 2: an interval needs a spread",
                advice="Run more seeds",
            )

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean, see `student`."""
        return student(self.values)

    @property
    def holds(self) -> bool:
        """The whole interval lies on that side of the threshold."""
        low, high = self.interval
        return high < self.threshold if self.below else low > self.threshold

    @property
    def wanted(self) -> str:
        """The side and the threshold, as in "> 0.5"."""
        return f"{'<' if self.below else '>'} {self.threshold:g}"


@dataclass(frozen=True)
class Finding:
    """A claim with its tests.

    Attributes:
        name: C1 to C8, or of a model of known theory.
        claim: In one sentence.
        tests: At least one that counts.
    """

    name: str
    claim: str
    tests: tuple[Test, ...]

    @property
    def verdict(self) -> Verdict:
        """Supported if all tests hold that count, not supported if none does, else mixed."""
        held = [test.holds for test in self.tests if test.counts]
        if all(held):
            return "supported"
        return "mixed" if any(held) else "not supported"


def summary(finding: Finding) -> dict[str, object]:
    """A finding as plain data."""
    return {
        "name": finding.name,
        "claim": finding.claim,
        "verdict": finding.verdict,
        "tests": [
            {
                "statistic": test.name,
                "mean": test.mean,
                "interval": list(test.interval),
                "wanted": test.wanted,
                "values": list(test.values),
                "holds": test.holds,
                "counts": test.counts,
            }
            for test in finding.tests
        ],
    }


def student(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of two values or more: +- t_{0.975, n-1} s / sqrt(n)."""
    from scipy.stats import t

    reach = float(t.ppf(0.975, len(values) - 1))
    reach *= statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values) - reach, statistics.fmean(values) + reach


def slope(places: Sequence[float], values: Sequence[float]) -> float:
    """Of the least-squares line."""
    return statistics.linear_regression(places, values).slope
