"""The words that the command line takes, without torch: for its help, and to look them up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tailcut.cli import models
from tailcut.numerics import fits
from tailcut.readers import registry
from tailcut.readers.registry import Reading, Source, source
from tailcut.readers.words import Word, forms

if TYPE_CHECKING:
    from tailcut.readers.rows import Rows


@source("digits", "")
def _digits(rest: str, reading: Reading) -> Rows:
    del rest, reading
    from tailcut.lab.data.digits import digits
    from tailcut.readers.rows import Rows

    samples = digits()
    return Rows(samples.inputs, samples.given, "tensor")


def data() -> Mapping[str, Word[Source]]:
    """Every DATA word by name: those that read, and those of the lab."""
    return registry.known()


def model_forms() -> str:
    """MODEL, as it may be said."""
    return forms(models.MODELS)


def data_epilog() -> str:
    """DATA, as it may be said, in a sentence."""
    return f"DATA is {forms(data())}; DATA[a:b] takes rows a to b, DATA[-n:] the last n."


def readouts_epilog() -> str:
    """READOUT, as it may be said, in a sentence."""
    return f"READOUT is one of {', '.join(('auto', *fits.names()))}."
