"""Moments: one pass over features and labels, after which everything is algebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.checks import checked_features, checked_labels, float64
from tailcut.numerics.statistics import Statistics, Sums


class Moments(Statistics):
    """Mean, scatter and class sums of a stream of features, exact under any partition.

    Everything that `Statistics` holds, of the samples that came so far. Sums are updated by the
    pairwise formula of Chan, Golub & LeVeque (1983), so `merge` is associative: batches,
    shards, processes and machines combine to the same numbers up to rounding. Class sums are
    kept about the running mean, which keeps them accurate where the mean is a million times the
    spread. Memory: D^2 + S K D + S K^2, independent of N.
    An update adds in place, unless a tensor was read or statistics were derived since the last
    one: then it goes on with a copy, and what others hold stays as it is.

    Args:
        width: D.
        classes: K; labels are integers 0..K-1.
        label_sets: Names of the label sets that every update brings.
    """

    def __init__(self, width: int, classes: int, label_sets: Sequence[str] = ("given",)) -> None:
        super().__init__(Sums.none(width, classes, label_sets))
        self._shared = False

    def update(self, features_ND: Tensor, **labels: Any) -> Moments:
        """Add a batch and return self.

        Args:
            features_ND: N x D, any floating dtype; an empty batch adds nothing.
            **labels: One integer vector (N,) for each label set.

        Raises:
            DataError: Features that are not finite or not N x D; labels that are not
                integers in 0..K-1, one for each sample; a label set that is missing or
                unknown. The moments are then as they were before the call.
        """
        where = f"batch {self.batches}"
        features_ND = checked_features(features_ND, self.width, where)
        if set(labels) != set(self.label_sets):
            raise DataError(
                f"{where} brings the label sets {sorted(labels)}",
                wanted=f"exactly {sorted(self.label_sets)}",
                advice="Pass one vector of labels for each name given to Moments",
            )
        n, features_ND = len(features_ND), float64(features_ND)
        checked = {
            name: checked_labels(labels[name], self.classes, f"{where}, label set {name!r}", n)
            for name in self.label_sets
        }
        return self._absorb(_of_batch(features_ND, checked, self.classes))

    def merge(self, other: Statistics) -> Moments:
        """Absorb the moments of other samples, which stay as they are, and return self.

        Raises:
            DataError: Other width, classes or label sets, or labels that are soft.
        """
        sums = other._sums  # noqa: SLF001 read here and not kept
        mine, theirs = self._sums.kind, sums.kind
        if mine != theirs:
            raise DataError(
                f"moments of (width, classes, label sets) {theirs}",
                wanted=f"the same as the receiving moments, {mine}",
                advice="Merge only moments of the same features and label sets",
            )
        soft = [name for name, held in sums.counts.items() if held.is_floating_point()]
        if soft:
            raise DataError(
                f"moments with the soft label sets {soft}",
                wanted="one class for each sample, as `update` takes them",
                advice="Merge first, then add the soft labels by `labelled`",
            )
        return self._absorb(sums)

    @classmethod
    def merged(cls, parts: Sequence[Statistics]) -> Moments:
        """The moments of all parts together; the parts stay as they are."""
        whole = cls(parts[0].width, parts[0].classes, parts[0].label_sets)
        for part in parts:
            whole.merge(part)
        return whole

    def frozen(self) -> Statistics:
        """What is known so far; later updates do not change it."""
        return Statistics(self._read())

    def __copy__(self) -> Moments:
        twin = Moments(self.width, self.classes, self.label_sets)
        twin._sums, twin._shared = self._read(), True
        return twin

    def _read(self) -> Sums:
        self._shared = True
        return self._sums

    def _absorb(self, other: Sums) -> Moments:
        mine = self._sums
        if self._shared and other.n:
            mine, self._shared = mine.each(torch.clone), False
        self._sums = replace(_added(mine, other), batches=mine.batches + other.batches)
        return self


def _of_batch(features_ND: Tensor, labels: dict[str, Tensor], classes: int) -> Sums:
    """The sums of one batch, on the device of its features.

    Args:
        features_ND: N x D, float64.
        labels: Classes (N,) by label set.
        classes: K.
    """
    n, width = features_ND.shape
    if n == 0:
        return replace(Sums.none(width, classes, tuple(labels)), batches=1)
    mean_D = features_ND.mean(0)
    centred_ND = features_ND - mean_D
    labels = {name: labels_N.to(features_ND.device) for name, labels_N in labels.items()}
    zeros_KD = centred_ND.new_zeros(classes, width)
    sets, square = list(labels.items()), classes**2
    return Sums(
        classes,
        n,
        1,
        mean_D,
        centred_ND.sum(0),
        centred_ND.T @ centred_ND,
        {name: torch.bincount(each, minlength=classes) for name, each in sets},
        {name: zeros_KD.index_add(0, each, centred_ND) for name, each in sets},
        {
            name: torch.bincount(sets[0][1] * classes + each, minlength=square).view(classes, -1)
            for name, each in sets[1:]
        },
    )


def _added(mine: Sums, other: Sums) -> Sums:
    """Chan, Golub & LeVeque's pairwise update, for the class deviations too, in mine's storage.

    Deviations are from the mean as it is stored, and the gap between two means is that of
    the true ones: with what their rounding has left.
    """
    if other.n == 0:
        return mine
    if mine.n == 0:
        mine = mine.each(lambda held: held.to(other.mean_D.device))
    device = mine.mean_D.device
    other = other.each(lambda held: held.to(device))
    n = mine.n + other.n
    stored_gap_D = other.mean_D - mine.mean_D
    gap_D = stored_gap_D + other.rest_D / other.n - mine.rest_D / max(mine.n, 1)
    mean_D = mine.mean_D + stored_gap_D * (other.n / n)
    own_shift_D, other_shift_D = mean_D - mine.mean_D, mean_D - other.mean_D
    mine.scatter_DD.add_(other.scatter_DD)
    mine.scatter_DD.addr_(gap_D, gap_D, alpha=mine.n * other.n / n)
    for name, deviations_KD in mine.deviations.items():
        deviations_KD.add_(other.deviations[name])
        deviations_KD.sub_(mine.counts[name][:, None] * own_shift_D)
        deviations_KD.sub_(other.counts[name][:, None] * other_shift_D)
        mine.counts[name].add_(other.counts[name])
    for name, counts_KK in mine.joint.items():
        counts_KK.add_(other.joint[name])
    rest_D = mine.rest_D + other.rest_D - mine.n * own_shift_D - other.n * other_shift_D
    return replace(mine, n=n, mean_D=mean_D, rest_D=rest_D)
