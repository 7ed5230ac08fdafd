"""Numbers of the command line that are refused where they are given: before any work is done."""

from __future__ import annotations

import math

from tailcut.errors import SpecError


def at_least(
    option: str, value: int | None, least: int, advice: str, why: str | None = None
) -> None:
    """Refuse a number that is too small; one that is not given is not refused."""
    if value is not None and value < least:
        wanted = f"{least} or more" + (f": {why}" if why else "")
        raise SpecError(f"--{option} {value}", wanted=wanted, advice=advice)


def rate(share: float) -> None:
    """Refuse what is no share."""
    if not 0 <= share <= 1:
        raise SpecError(
            f"--rate {share}",
            wanted="a number from 0 to 1",
            advice="Rates are fractions of wrong labels: 0.4, not 40",
        )


def probability(option: str, value: float) -> None:
    """Refuse what is none."""
    if not 0 <= value <= 1:
        raise SpecError(
            f"--{option} {value}", wanted="a probability, 0 to 1", advice=f"Correct --{option}"
        )


def finite(option: str, value: float) -> None:
    """Refuse numbers below 0, infinity and NaN."""
    if not 0 <= value < math.inf:
        raise SpecError(
            f"--{option} {value}", wanted="a number of at least 0", advice="Choose another number"
        )
