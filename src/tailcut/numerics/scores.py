"""Scores: what candidates say about labelled samples, as hits and as log losses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut.numerics.checks import float64

_TEMPERATURES = torch.logspace(-8, 8, 33, base=2, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Scores:
    """Predictions and log losses of C candidates on N labelled samples.

    Attributes:
        predictions_NC: Predicted classes.
        losses_TNC: -log softmax(logits / t)[label] at each of T temperatures, in nats.
    """

    predictions_NC: Tensor
    losses_TNC: Tensor

    @classmethod
    def of(cls, logits: Iterable[Tensor], labels_N: Tensor) -> Scores:
        """From chunks of logits (n x C x K) whose rows are the labelled samples in order.

        The temperatures are a grid of half octaves from 2^-8 to 2^8.
        """
        predictions, losses, start = [], [], 0
        for logits_nCK in logits:
            stop = start + len(logits_nCK)
            predictions.append(logits_nCK.argmax(2).cpu())
            losses.append(_losses(float64(logits_nCK), labels_N[start:stop]).float())
            start = stop
        return cls(torch.cat(predictions), torch.cat(losses, 1))

    @classmethod
    def joined(cls, parts: list[Scores]) -> Scores:
        """The candidates of all parts, side by side."""
        return cls(
            torch.cat([part.predictions_NC for part in parts], 1),
            torch.cat([part.losses_TNC for part in parts], 2),
        )

    def first(self, count: int) -> Scores:
        """The leading candidates alone."""
        return Scores(self.predictions_NC[:, :count], self.losses_TNC[:, :, :count])

    def losses(self, rows_n: Tensor | slice = slice(None)) -> Tensor:
        """Log losses (n x C, float64) of some samples, each candidate at its temperature.

        The temperature is that of least mean loss on these very samples, so that other
        samples have no part in it.
        """
        losses_TnC = self.losses_TNC[:, rows_n].double()
        best_C = losses_TnC.mean(1).argmin(0)
        return losses_TnC[best_C, :, torch.arange(len(best_C))].T.contiguous()

    @property
    def temperatures_C(self) -> Tensor:
        """The temperature of least mean loss on all samples."""
        return _TEMPERATURES[self.losses_TNC.double().mean(1).argmin(0)]


def _losses(logits_nCK: Tensor, labels_n: Tensor) -> Tensor:
    """Log losses at every temperature, T x n x C, on the CPU; infinite where logits are broken."""
    own_n11 = labels_n.to(logits_nCK.device)[:, None, None]
    own_nC = logits_nCK.gather(2, own_n11.expand(-1, logits_nCK.shape[1], 1))[..., 0]
    losses_TnC = torch.stack(
        [torch.logsumexp(logits_nCK / t, 2).sub_(own_nC / t).cpu() for t in _TEMPERATURES.tolist()]
    )
    return losses_TnC.nan_to_num_(nan=torch.inf, posinf=torch.inf)
