"""Scores: what candidates say about labelled samples, as hits and as log losses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tailcut.numerics.checks import float64
from tailcut.numerics.draws import torch_generator
from tailcut.numerics.explanation import own_noise

_TEMPERATURES = torch.logspace(-8, 8, 33, base=2, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Scores:
    """Predictions and log losses of C candidates on N labelled samples.

    Attributes:
        predictions_NC: Predicted classes.
        losses_TNC: -log p(label) at each of T temperatures, in nats.
        transition_CKK: P(given | true) as each candidate explains the labels; None where the
            labels were read by one matrix, or as they are.
        wrong_C: Share of wrong labels by each of these, 0..1.
        cross_fitted_TNC: Losses where each half of the samples is read by the other half's matrix.
    """

    predictions_NC: Tensor
    losses_TNC: Tensor
    transition_CKK: Tensor | None = None
    wrong_C: Tensor | None = None
    cross_fitted_TNC: Tensor | None = None

    @classmethod
    def of(
        cls, logits: Iterable[Tensor], labels_N: Tensor, transition_KK: Tensor | None = None
    ) -> Scores:
        """From chunks of logits (n x C x K) whose rows are the labelled samples in order.

        Args:
            logits: Of each candidate for the true class.
            labels_N: Given labels.
            transition_KK: P(given | true), see `true_label_losses`, for all candidates or
                (C x K x K) for each; the labels are taken to be the true ones without it.
        """
        predictions, losses, start = [], [], 0
        for logits_nCK in logits:
            stop = start + len(logits_nCK)
            predictions.append(logits_nCK.argmax(2).cpu())
            losses_TnC = true_label_losses(logits_nCK, labels_N[start:stop], transition_KK)
            losses.append(losses_TnC.float())
            start = stop
        return cls(torch.cat(predictions), torch.cat(losses, 1))

    @classmethod
    def explained(cls, logits_NCK: Tensor, labels_N: Tensor, seed: int = 0) -> Scores:
        """Each candidate under the label noise that it explains the labels best by.

        See `explanation.own_noise`.

        Args:
            logits_NCK: Of each candidate for the true class.
            labels_N: Given labels.
            seed: Of the halves.
        """
        transition_CKK, wrong_C = own_noise(logits_NCK, labels_N)
        scores = cls.of([logits_NCK], labels_N, transition_CKK)
        cross_fitted_TNC = torch.empty_like(scores.losses_TNC)
        for mine_N, other_N in halves(len(labels_N), seed):
            known_CKK, _ = own_noise(logits_NCK[mine_N], labels_N[mine_N])
            cross_fitted_TNC[:, other_N] = true_label_losses(
                logits_NCK[other_N], labels_N[other_N], known_CKK
            ).float()
        noise_CKK = transition_CKK.cpu().float()
        return replace(
            scores,
            transition_CKK=noise_CKK,
            wrong_C=wrong_C.cpu(),
            cross_fitted_TNC=cross_fitted_TNC,
        )

    @classmethod
    def joined(cls, parts: Sequence[Scores]) -> Scores:
        """The candidates of all parts, side by side."""

        def along(name: str, axis: int) -> Any:
            held = [getattr(part, name) for part in parts]
            return None if any(each is None for each in held) else torch.cat(held, axis)

        names = {"predictions_NC": 1, "losses_TNC": 2, "transition_CKK": 0}
        names |= {"wrong_C": 0, "cross_fitted_TNC": 2}
        return cls(**{name: along(name, axis) for name, axis in names.items()})

    def losses(self, rows_n: Tensor | slice = slice(None)) -> Tensor:
        """Log losses (n x C, float64) of some samples, each candidate at its temperature.

        The temperature is that of least mean loss on these very samples, so that other
        samples have no part in it.
        """
        losses_TnC = self.losses_TNC[:, rows_n].double()
        best_C = losses_TnC.mean(1).argmin(0)
        return losses_TnC[best_C, :, torch.arange(len(best_C))].T.contiguous()

    def cross_fitted_losses(self, rows_n: Tensor) -> Tensor:
        """Log losses (n x C, float64) of samples that had no part in the matrix they are read by.

        The temperature is that of `losses`.
        """
        if self.cross_fitted_TNC is None:
            return self.losses(rows_n)
        return replace(self, losses_TNC=self.cross_fitted_TNC).losses(rows_n)

    def temperature(self, candidate: int) -> float:
        """The temperature nearest to 1 within one standard error of the least mean loss.

        Few noisy labels cannot tell a flat prediction from a noisy label.
        """
        losses_NT = self.losses_TNC[:, :, candidate].double().T
        return float(_TEMPERATURES[standard_error_rule(losses_NT, _TEMPERATURES.log().abs(), 1)])

    @property
    def temperatures_C(self) -> Tensor:
        """The temperature of least mean loss on all samples."""
        return _TEMPERATURES[self.losses_TNC.double().mean(1).argmin(0)]


def true_label_losses(
    logits_NCK: Tensor, given_N: Tensor, transition_KK: Tensor | None = None
) -> Tensor:
    """-log sum_z softmax(logits / t)_z T[z, given] at every temperature: T x N x C, on the CPU.

    The likelihood of noisy labels under probabilities of the true ones (the "forward
    correction" of Patrini et al. 2017); with T the identity it is the plain log loss. Infinite
    where logits are broken, or where T forbids every class that is not hopeless.

    Half the temperature squares every odds, so two exponentials serve all temperatures.

    Args:
        logits_NCK: Of C candidates for the true class.
        given_N: Given labels.
        transition_KK: P(given | true): K x K for all candidates, or C x K x K.
    """
    logits_KNC = float64(logits_NCK).permute(2, 0, 1)
    margins_KNC = (logits_KNC - logits_KNC.amax(0)).contiguous()
    given_N = given_N.to(margins_KNC.device)

    chances_KNC = None
    if transition_KK is not None:
        chances = transition_KK.to(margins_KNC)[..., given_N]
        chances_KNC = chances[..., None] if chances.ndim == 2 else chances.permute(1, 2, 0)

    def said(odds_KNC: Tensor, temperature: float) -> Tensor:
        if chances_KNC is None:
            return margins_KNC.take_along_dim(given_N[None, :, None], 0)[0] / temperature
        return (odds_KNC * chances_KNC).sum(0).log()

    losses_TNC = torch.empty(len(_TEMPERATURES), *margins_KNC.shape[1:], dtype=torch.float64)
    for hottest in (len(_TEMPERATURES) - 1, len(_TEMPERATURES) - 2):
        odds_KNC = torch.exp(margins_KNC / _TEMPERATURES[hottest])
        for place in range(hottest, -1, -2):
            heat = float(_TEMPERATURES[place])
            losses_TNC[place] = odds_KNC.sum(0).log() - said(odds_KNC, heat)
            odds_KNC.square_()
    return losses_TNC.nan_to_num_(nan=torch.inf, posinf=torch.inf)


def standard_error_rule(losses_NC: Tensor, cost_C: Tensor, tolerance: float) -> int:
    """The least cost among the losses within `tolerance` standard errors of the least."""
    best = int(losses_NC.mean(0).argmin())
    excess_NC = losses_NC - losses_NC[:, best, None]
    error_C = excess_NC.std(0, correction=0) / math.sqrt(len(losses_NC))
    eligible_C = excess_NC.mean(0) <= tolerance * error_C
    return int(torch.where(eligible_C, cost_C.double(), math.inf).argmin())


def halves(n: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """A random half and the other one, then the other way round."""
    order_N = torch.randperm(n, generator=torch_generator(seed, "halves"))
    first, second = order_N[: n // 2], order_N[n // 2 :]
    return [(first, second), (second, first)]
