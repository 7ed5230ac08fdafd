"""Readouts by name: how each is fitted to moments. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from tailcut.errors import DataError

if TYPE_CHECKING:
    from tailcut.numerics.readout import Readout
    from tailcut.numerics.spectrum import Spectrum
    from tailcut.numerics.statistics import Statistics

Fit: TypeAlias = "Callable[[Statistics, str, Spectrum | None], Readout]"
"""(moments, label set, directions to keep, or those of the moments) -> readout at every rank."""

PROJECT = "project"
"""The one that is not fitted: the network's own head."""


def _of_readout(name: str) -> Fit:
    def fit(moments: Statistics, label_set: str, spectrum: Spectrum | None) -> Readout:
        from tailcut.numerics.readout import Readout

        return getattr(Readout, name)(moments, label_set, spectrum=spectrum)

    return fit


FITS: dict[str, Fit] = {name: _of_readout(name) for name in ("centroid", "ridge", "lda")}
"""What a name of a readout stands for; put a function here to have another one."""


def names() -> tuple[str, ...]:
    """Of every readout that may be asked for."""
    return (PROJECT, *FITS)


def fitted(
    name: str, moments: Statistics, label_set: str = "given", spectrum: Spectrum | None = None
) -> Readout:
    """The readout of this name, fitted.

    Args:
        name: Of one in `FITS`.
        moments: Features and labels to fit.
        label_set: Which labels.
        spectrum: Directions to keep, if they come from other samples than the labels.

    Raises:
        DataError: A name that is not registered; what the fit itself refuses.
    """
    if name not in FITS:
        raise DataError(
            f"no readout called {name!r} that is fitted",
            wanted=f"one of {', '.join(FITS)}",
            advice="Correct the name, or put the function that fits it into FITS",
        )
    return replace(FITS[name](moments, label_set, spectrum), name=name)
