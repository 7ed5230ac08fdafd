"""Is this the network of these labels? What it says of them, beside chance and its own features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tailcut.errors import DataError
from tailcut.network.batches import Batch
from tailcut.network.head import Head
from tailcut.numerics.discriminant import discriminant
from tailcut.numerics.moments import Moments

ENOUGH = 1 / 3
"""Of what a linear readout of its features agrees with, above chance, a head must agree with.

Of 144 untrained networks one reaches it, the others 0.22 at most. Of 18 networks of usual recipes
15 pass after one epoch; a small ViT on few noisy images takes more than three, as does far too
small a learning rate (benchmarks/agreement.py; docs/LOG.md).
"""

_SURE = 3.0
"""Standard errors by which a share must differ from chance."""

_RENUMBERED = 0.05
"""Of all samples that a renumbering must win to be believed: sampling alone wins less."""

_AS_GOOD = 0.8
"""Of what the features tell: a head that is merely renumbered agrees with nearly all of it."""

_MOST_CLASSES = 2048
"""For which the best renumbering, cubic in them, takes a moment."""


@dataclass(frozen=True)
class Agreement:
    """How often a network predicts the labels it is said to have been trained on.

    Attributes:
        n: Training samples.
        share: Of them whose prediction is their given label, 0..1.
        chance: What predictions that know nothing of the labels would reach with the same
            class frequencies: sum_k P(predicted k) P(given k).
        readable: What LDA on the network's own features agrees with, fitted to one half of a
            sample and asked about the other; None where the share alone is enough, or
            where LDA cannot be fitted.
        renumbered: By predicted class the label that it should be read as, for the classes that
            move, if the predictions fit the labels far better so; else empty.
        after: The share after that renumbering.
    """

    n: int
    share: float
    chance: float
    readable: float | None
    renumbered: Mapping[int, int]
    after: float

    @classmethod
    def of(
        cls, predicted_N: Tensor, given_N: Tensor, classes: int, read: Callable[[], float | None]
    ) -> Agreement:
        """Compare predictions with labels; the features are read only where that is in doubt.

        Args:
            predicted_N: Predicted classes, int64.
            given_N: Given labels, int64.
            classes: K.
            read: What a linear readout of the features agrees with.
        """
        predicted_K, given_K = (
            torch.bincount(each, minlength=classes).double() / len(given_N)
            for each in (predicted_N, given_N)
        )
        share = float((predicted_N == given_N).double().mean())
        chance = float(predicted_K @ given_K)
        order, after = _renumbering(predicted_N, given_N, classes)
        plain = cls(len(given_N), share, chance, None, {}, share)
        if plain.kappa >= ENOUGH and not order:
            return plain
        readable = read()
        if readable is not None and after < _AS_GOOD * readable:
            order, after = {}, share  # an untrained head happens to favour other classes
        return cls(len(given_N), share, chance, readable, order, after)

    @property
    def kappa(self) -> float:
        """Cohen's kappa (1960): the share above chance, 1 for perfect agreement."""
        return self._above_chance(self.share)

    @property
    def fits(self) -> bool:
        """Whether this can be a network that was trained on these labels, to the end or not."""
        if self.renumbered:
            return False
        sure = _SURE * self._above_chance(self.chance + self._error(self.chance))
        readable = 0.0 if self.readable is None else self._above_chance(self.readable)
        return self.kappa > min(sure, ENOUGH) and self.kappa >= ENOUGH * readable

    @property
    def summary(self) -> str:
        """The figures, for sentences."""
        text = f"the network predicts {_percent(self.share)} of its {self.n} training labels"
        text += f" (chance: {_percent(self.chance)})"
        if self.renumbered:
            moves = [f"{a} -> {b}" for a, b in sorted(self.renumbered.items())]
            shown = ", ".join(moves[:4]) + (", ..." if len(moves) > 4 else "")
            text += f", and {_percent(self.after)} once its classes are renumbered ({shown})"
        elif self.readable is not None:
            text += f", where a linear readout of its features predicts {_percent(self.readable)}"
        return text

    @property
    def doubt(self) -> str:
        """Why nothing is done, in one sentence; only where it does not fit."""
        return f"{self.summary}: it was not trained on these labels as they are read here. {CHECK}"

    @property
    def probed(self) -> str:
        """What a cut is, where one is made all the same: a readout of features, no repair."""
        return f"a linear probe rather than a repair, because {self.summary}"

    def require(self) -> None:
        """Refuse to go on.

        Raises:
            DataError: The network was not trained on these labels as they are read.
        """
        if not self.fits:
            raise DataError(
                self.summary, wanted="a network that was trained on these labels", advice=CHECK
            )

    def _above_chance(self, share: float) -> float:
        return (share - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0

    def _error(self, share: float) -> float:
        return math.sqrt(share * (1 - share) / self.n)


CHECK = (
    "Check the labels (are they numbered from 0?), the order of the classes, the preprocessing of "
    "the inputs and the weights; force=True (--force) goes on all the same"
)
"""The four usual causes."""


def readable(model: nn.Module, head: Head, sample: Sequence[Batch]) -> float | None:
    """Agreement of cross-fitted LDA on a network's features with the given labels.

    Either half of the sample is predicted by LDA fitted to the other, among the classes that
    are there.

    Returns:
        The share of labels predicted, 0..1; None where LDA cannot be fitted.
    """
    features_ND = torch.cat(
        [head.features_and_logits(model, batch.inputs)[0].cpu() for batch in sample]
    )
    labels_N = torch.cat([batch.labels.cpu() for batch in sample])
    half_N = torch.arange(len(labels_N)) % 2 == 0
    hits = 0
    for fit_N in (half_N, ~half_N):
        there_k, local_n = labels_N[fit_N].unique(return_inverse=True)
        try:
            moments = Moments(head.width, len(there_k))
            weight_kD, bias_k = discriminant(moments.update(features_ND[fit_N], given=local_n))
        except DataError:
            return None
        logits_nk = features_ND[~fit_N].double() @ weight_kD.T + bias_k
        hits += int((there_k[logits_nk.argmax(1)] == labels_N[~fit_N]).sum())
    return hits / len(labels_N)


def _renumbering(
    predicted_N: Tensor, given_N: Tensor, classes: int
) -> tuple[dict[int, int], float]:
    """The one-to-one reading of predicted classes as labels that agrees best, if far better.

    Returns:
        The classes that move, by predicted class, and the share that then agrees; no class
        where the labels as they are agree about as well.
    """
    from scipy.optimize import linear_sum_assignment

    n, right = len(given_N), float((predicted_N == given_N).double().mean())
    if classes > _MOST_CLASSES:
        return {}, right
    cells_N = predicted_N * classes + given_N
    met_KK = torch.bincount(cells_N, minlength=classes**2).reshape(classes, classes).numpy()
    # Among equally good readings the one that moves least: classes never predicted stay.
    _, read_K = linear_sum_assignment(met_KK + 0.5 / n * np.eye(classes), maximize=True)
    moved_k = np.flatnonzero(read_K != np.arange(classes))
    before, after = int(met_KK[moved_k, moved_k].sum()), int(met_KK[moved_k, read_K[moved_k]].sum())
    if after - before <= max(_RENUMBERED * n, before, _SURE * math.sqrt(after)):
        return {}, right
    read_as = {int(k): int(read_K[k]) for k in moved_k if met_KK[k, read_K[k]]}
    return read_as, right + (after - before) / n


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
