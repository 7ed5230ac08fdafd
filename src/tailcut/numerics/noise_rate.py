"""How many labels are wrong, and how surely that is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.numerics.draws import torch_generator
from tailcut.numerics.explanation import own_noise
from tailcut.numerics.latent import above_chance
from tailcut.numerics.scores import Scores

_RESAMPLES = 50
"""Of the held-out labels: enough for a standard error to within a tenth of itself."""

_STARTS = (0.1, 0.45, 0.8)
"""Of expectation maximisation, as shares of labels drawn at random: one alone gets caught where
much noise looks like predictions that are sure of nothing (docs/LOG.md)."""

_REACH = 1.959964
"""Standard errors: a 95 % interval."""


@dataclass(frozen=True)
class NoiseRate:
    """Share of wrong labels.

    Attributes:
        rate: 0..1; where it is not known, what could be seen of it.
        known: Whether held-out labels show it.
        interval: 95 %, from resampled held-out labels; None without them.
    """

    rate: float
    known: bool
    interval: tuple[float, float] | None = None

    @classmethod
    def held_out(cls, logits_NK: Tensor, labels_N: Tensor, *, seed: int) -> NoiseRate | None:
        """As one readout explains held-out labels best, see `own_noise`.

        None where its predictions are no better than chance.

        Args:
            logits_NK: What it says of the samples.
            labels_N: Their given labels, which it never saw.
            seed: Of the resamples.
        """
        if not above_chance(logits_NK.argmax(1).cpu(), labels_N):
            return None
        rate, draw = _rate(logits_NK, labels_N), torch_generator(seed, "resampled labels")
        resampled = []
        for _ in range(_RESAMPLES):
            rows_N = torch.randint(len(labels_N), (len(labels_N),), generator=draw)
            resampled.append(_rate(logits_NK[rows_N.to(logits_NK.device)], labels_N[rows_N]))
        reach = _REACH * float(torch.tensor(resampled).std())
        return cls(rate, known=True, interval=(max(0.0, rate - reach), min(1.0, rate + reach)))


def _rate(logits_NK: Tensor, labels_N: Tensor) -> float:
    """The likeliest of what expectation maximisation comes to from several starts."""
    classes = logits_NK.shape[1]
    start_C = torch.tensor(_STARTS) * (classes - 1) / classes
    logits_NCK = logits_NK[:, None].expand(-1, len(start_C), -1)
    transition_CKK, wrong_C = own_noise(logits_NCK, labels_N, start_C)
    losses_NC = Scores.of([logits_NCK], labels_N, transition_CKK).losses()
    return float(wrong_C[int(losses_NC.mean(0).argmin())])
