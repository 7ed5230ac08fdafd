"""diagnose, and what it finds: plain values, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tailcut.files import store
from tailcut.network.head import Head
from tailcut.network.layer_statistics import Coverage
from tailcut.numerics.choice import Gain, Verdict
from tailcut.numerics.curve import RankCurve
from tailcut.numerics.latent import Noise
from tailcut.numerics.segregation import SegregationIndex
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics
from tailcut.report.page import page
from tailcut.verbs import result, runs
from tailcut.verbs.agreement import Agreement
from tailcut.verbs.candidates import Cut
from tailcut.verbs.screening import ViewEffect


@dataclass(frozen=True)
class BeforeAfter:
    """Accuracy before and after the cut on n samples, 0..1.

    Attributes:
        n: Samples.
        before: Accuracy of the untouched network.
        after: Accuracy of the cut one.
        calibration: Expected calibration error before and after, on true labels alone.
    """

    n: int
    before: float
    after: float
    calibration: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What the training data, the held-out labels and the spectrum say of a network.

    Attributes:
        verdict: "cut" (a cut gains), "leave" (none does) or "unknown" (nobody can tell).
        reason: Why, in one sentence.
        chosen: The candidate that the verdict speaks of; the untouched network if not "cut".
        gain: On true labels, as the held-out given ones tell by the estimated noise.
            Cross-fitted: each half of the held-out samples reports on the other half's
            choice of a candidate. Views and filters were settled before, with all of
            them. None without a holdout.
        candidates: All of them, with accuracy on the held-out given labels, and log loss of these
            under the estimated noise; with `clean` batches also the accuracy there.
        curve: Accuracy of the chosen readout at every rank ("given": held-out labels; "clean":
            true ones, if passed); of the network's own head where nothing is cut.
        head: The network's head.
        spectrum: Of the penultimate features of the untouched network.
        references: Label-free reference ranks: for comparison, never used to choose.
        memorisation: m on the training samples as they are; None without held-out labels.
        agreement: How often the network predicts the labels it was trained on, and the chance
            of that.
        views: What each view keeps and what it forgets.
        layers: Which layers the filters reach, and why not the others; None where no layer was
            to be filtered.
        noise: Estimated label noise; None where it cannot be estimated: where labels are remembered
            under every view, where some class has hardly a sample, or for readout="project",
            which fits no labels.
        segregation: Whether the noise sits behind the signal; None without true training labels.
        holdout: On the held-out given labels; the gain after the cut is cross-fitted.
        clean: On true labels, if passed.
        seconds: Of each step.
        versions: Of what the figures depend on.
        moments: Of the penultimate features; None if loaded.
    """

    verdict: Verdict
    reason: str
    chosen: Cut
    gain: Gain | None
    candidates: pd.DataFrame
    curve: RankCurve | None
    head: Head
    spectrum: Spectrum
    references: dict[str, int]
    memorisation: float | None
    agreement: Agreement
    views: Sequence[ViewEffect]
    layers: Coverage | None
    noise: Noise | None
    segregation: SegregationIndex | None
    holdout: BeforeAfter | None
    clean: BeforeAfter | None
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    moments: Statistics | None = None

    def to_dict(self, *, title: str = "tailcut") -> dict[str, Any]:
        """The content of `result.json`: JSON types only."""
        return result.to_dict(self, title=title)

    def report(self, path: str | Path) -> Path:
        """Write the report as one self-contained HTML page."""
        return store.write_text(path, page(self.to_dict()))

    def save(self, directory: str | Path, *, config: str | None = None) -> Path:
        """Write what was found, all of it or nothing.

        `result.json`, `candidates.csv`, `curve.csv`, `report.html` and `spectrum.safetensors`.
        They take the place of a diagnosis that was saved there before; others' files stay.

        Args:
            directory: May be new.
            config: Of the command that made it, kept as `config.yaml`.

        Raises:
            SpecError: A repair lies there.
        """
        return runs.write_diagnosis(directory, self, self.to_dict(), config)

    def __repr__(self) -> str:
        rate = (
            "cannot be estimated" if self.noise is None else f"about {100 * self.noise.rate:.0f} %"
        )
        memory = "" if self.memorisation is None else f", memorisation {self.memorisation:.2f}"
        return (
            f"Diagnosis({self.verdict}: {self.reason}; label noise {rate}{memory}, effective rank "
            f"{self.spectrum.effective_rank:.1f} of {self.spectrum.width})"
        )
