"""Accuracy at every kept rank, in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tailcut._typing import LabelledFeatures, Ranks
from tailcut.errors import DataError
from tailcut.numerics.checks import checked_features, checked_labels
from tailcut.numerics.readout import Readout


@dataclass(frozen=True, eq=False)
class RankCurve:
    """Correct predictions at every rank, for every label set.

    Attributes:
        readout: Name of the readout.
        ranks: R ranks, ascending.
        n: Samples behind each label set.
        hits: For each label set the number of samples predicted as labelled, int64 (R,).
    """

    readout: str
    ranks: list[int]
    n: dict[str, int]
    hits: dict[str, Tensor]

    def accuracy(self, label_set: str = "given") -> Tensor:
        """Accuracy (R,), 0..1."""
        return self.hits[label_set].double() / self.n[label_set]

    def with_labels(self, other: RankCurve) -> RankCurve:
        """Also the label sets of another curve of the same readout, perhaps of other samples."""
        return RankCurve(
            self.readout, self.ranks, {**self.n, **other.n}, {**self.hits, **other.hits}
        )

    def at(self, rank: int, label_set: str = "given") -> float:
        """Accuracy at one of the ranks."""
        return float(self.accuracy(label_set)[self.ranks.index(rank)])

    def best(self, label_set: str = "given") -> int:
        """The smallest rank of highest accuracy."""
        return self.ranks[int(self.hits[label_set].argmax())]


def rank_curve(readout: Readout, batches: LabelledFeatures, ranks: Ranks = "all") -> RankCurve:
    """Accuracy of a readout at every rank, streaming over batches once.

    Args:
        readout: Any readout.
        batches: Yields (features N x D, {label set: labels (N,)}).
        ranks: Ascending ranks, or all of them: N D^2 + N D K multiply-adds for all D.

    Raises:
        DataError: No samples, features that are not finite, labels that are not integers in
            0..K-1, one for each sample, or label sets that change.
    """
    kept, classes = readout.ranks(ranks), readout.gains_RK.shape[1]
    n, hits = 0, dict[str, Tensor]()
    for number, (raw_ND, labels) in enumerate(batches):
        where = f"batch {number}"
        features_ND = checked_features(raw_ND, len(readout.mean_D), where)
        predicted_NR = readout.predictions(features_ND, kept)
        if number and set(labels) != set(hits):
            raise DataError(
                f"{where} brings the label sets {sorted(labels)}",
                wanted=f"the same as before, {sorted(hits)}",
                advice="Yield the same label sets with every batch",
            )
        for name, values in labels.items():
            place = f"{where}, label set {name!r}"
            labels_N = checked_labels(values, classes, place, len(features_ND))
            equal_NR = predicted_NR == labels_N.to(predicted_NR.device)[:, None]
            hits[name] = hits.get(name, 0) + equal_NR.sum(0).cpu()
        n += len(features_ND)
    if not n:
        raise DataError(
            "no samples",
            wanted="at least one batch of features",
            advice="Check that the batches are not an iterator already used up",
        )
    return RankCurve(readout.name, kept, dict.fromkeys(hits, n), hits)


def geometric_ranks(max_rank: int, per_octave: int = 4) -> list[int]:
    """1, 2, 3, ... thinning out to `per_octave` ranks for each doubling, up to max_rank."""
    steps = torch.arange(0, max_rank.bit_length() * per_octave + 1) / per_octave
    ranks = {round(2 ** float(step)) for step in steps}
    return sorted({rank for rank in ranks if rank <= max_rank} | {max_rank})
