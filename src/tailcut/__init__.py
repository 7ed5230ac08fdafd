"""tailcut: cut memorised label noise out of a network that is already trained.

The three verbs are `repair`, `diagnose` and `find_label_issues`; none of them changes the
model it is given. The parts they are made of work alone on arrays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tailcut.errors import DataError, HeadError, SpecError, StoreError, TailcutError
    from tailcut.numerics.curve import RankCurve, rank_curve
    from tailcut.numerics.moments import Moments
    from tailcut.numerics.readout import Readout
    from tailcut.numerics.segregation import Segregation
    from tailcut.numerics.spectrum import Spectrum
    from tailcut.verbs.audit import find_label_issues
    from tailcut.verbs.diagnose import diagnose
    from tailcut.verbs.diagnosis import Diagnosis
    from tailcut.verbs.repair import Repair, load, repair
    from tailcut.verbs.truncate import truncate

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "Diagnosis",
    "HeadError",
    "Moments",
    "RankCurve",
    "Readout",
    "Repair",
    "Segregation",
    "SpecError",
    "Spectrum",
    "StoreError",
    "TailcutError",
    "diagnose",
    "find_label_issues",
    "load",
    "rank_curve",
    "repair",
    "truncate",
]

_HOMES = {
    "DataError": "errors",
    "Diagnosis": "verbs.diagnosis",
    "HeadError": "errors",
    "Moments": "numerics.moments",
    "RankCurve": "numerics.curve",
    "Readout": "numerics.readout",
    "Repair": "verbs.repair",
    "Segregation": "numerics.segregation",
    "SpecError": "errors",
    "Spectrum": "numerics.spectrum",
    "StoreError": "errors",
    "TailcutError": "errors",
    "diagnose": "verbs.diagnose",
    "find_label_issues": "verbs.audit",
    "load": "verbs.repair",
    "rank_curve": "numerics.curve",
    "repair": "verbs.repair",
    "truncate": "verbs.truncate",
}
"""Where each public name lives: looked up on first use, so that `--help` imports no torch."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tailcut.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
