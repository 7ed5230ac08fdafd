"""What a look at a network has found: plain values, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from tailcut.network.layer_statistics import Coverage
from tailcut.numerics.choice import Gain, Verdict
from tailcut.numerics.curve import RankCurve
from tailcut.numerics.latent import Noise
from tailcut.numerics.moments import Moments
from tailcut.numerics.references import (
    gavish_donoho_rank,
    marchenko_pastur_rank,
    parallel_analysis_rank,
)
from tailcut.numerics.segregation import Segregation
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.agreement import Agreement
from tailcut.verbs.readouts import Candidate
from tailcut.verbs.screening import Screened

_PARALLEL = 1024
"""The widest features for which parallel analysis takes seconds only."""


@dataclass(frozen=True)
class Judged:
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
        gain: On true labels, as the judges' given ones tell by the estimated noise.
            Cross-fitted: each half of the judging samples reports on the other half's
            choice of a candidate. Views and filters were settled before, with all of
            them. None without judges.
        judges: How many labels of which samples judged; None if nobody could.
        candidates: All of them, with accuracy on the judges' given labels, and log loss of these
            under the estimated noise; with `clean` batches also the accuracy there.
        curve: Accuracy of the chosen readout at every rank ("given": judges' labels; "clean":
            true ones, if passed); of the network's own head where nothing is cut.
        spectrum: Of the penultimate features of the untouched network.
        moments: Of the same features.
        memorisation: m on the training samples as they are; None without held-out labels.
        agreement: How often the network predicts the labels it was trained on, and the chance
            of that.
        views: What each view keeps and what it forgets.
        layers: Which layers the filters reach, and why not the others; None where no layer was
            to be filtered.
        noise: Estimated label noise; None where it cannot be told: where labels are remembered
            under every view, where some class has hardly a sample, or for readout="project",
            which fits no labels.
        segregation: Where signal and noise sit; None without true training labels.
        holdout: On the held-out given labels; the gain after the cut is cross-fitted.
        clean: On true labels, if passed.
        seconds: Of each step.
    """

    verdict: Verdict
    reason: str
    chosen: Candidate
    gain: Gain | None
    judges: str | None
    candidates: pd.DataFrame
    curve: RankCurve | None
    spectrum: Spectrum
    moments: Moments
    memorisation: float | None
    agreement: Agreement
    views: list[Screened]
    layers: Coverage | None
    noise: Noise | None
    segregation: Segregation | None
    holdout: Judged | None
    clean: Judged | None
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def references(self) -> dict[str, int]:
        """Label-free reference ranks: for comparison, never used to choose."""
        ranks = {
            "Marchenko-Pastur": marchenko_pastur_rank(self.spectrum),
            "Gavish-Donoho": gavish_donoho_rank(self.spectrum),
        }
        if self.spectrum.width <= _PARALLEL:
            ranks["parallel analysis"] = parallel_analysis_rank(self.moments)
        return ranks

    def __repr__(self) -> str:
        rate = "cannot be told" if self.noise is None else f"about {100 * self.noise.rate:.0f} %"
        memory = "" if self.memorisation is None else f", memorisation {self.memorisation:.2f}"
        return (
            f"Diagnosis({self.verdict}: {self.reason}; label noise {rate}{memory}, effective rank "
            f"{self.spectrum.effective_rank:.1f} of {self.spectrum.width})"
        )
