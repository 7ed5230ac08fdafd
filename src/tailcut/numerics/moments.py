"""Moments: one pass over features and labels, after which everything is algebra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.checks import checked_features, checked_labels, float64


class Moments:
    """Mean, scatter and class sums of a stream of features, exact under any partition.

    With features h_i (N x D) and a label set y (N):

    * `mean_D` = 1/n sum_i h_i, and `rest_D` = sum_i (h_i - mean), what its rounding has left
    * `scatter_DD` = sum_i (h_i - mean)(h_i - mean)^T
    * `counts[set]` (K,) = n_k, and `deviations[set]` (K x D) = sum_{i in k} (h_i - mean)
    * `joint[set]` (K x K) = how often class k of the first set meets class l of this one,
      for label sets that came with `update`

    Everything is float64 (counts are int64) and is updated by the pairwise formula of
    Chan, Golub & LeVeque (1983), so `merge` is associative: batches, shards, processes and
    machines combine to the same numbers up to rounding. Class sums are kept about the
    running mean, which keeps them accurate where the mean is a million times the spread.
    Memory: D^2 + S K D + S K^2, independent of N.

    Args:
        width: D.
        classes: K; labels are integers 0..K-1.
        label_sets: Names of the label sets that every update brings.
    """

    def __init__(self, width: int, classes: int, label_sets: Sequence[str] = ("given",)) -> None:
        self.width, self.classes, self.label_sets = width, classes, tuple(label_sets)
        self.n = 0
        self.batches = 0
        self.mean_D = torch.zeros(width, dtype=torch.float64)
        self.rest_D = torch.zeros(width, dtype=torch.float64)
        self.scatter_DD = torch.zeros(width, width, dtype=torch.float64)
        self.counts = {s: torch.zeros(classes, dtype=torch.int64) for s in self.label_sets}
        self.deviations = {
            s: torch.zeros(classes, width, dtype=torch.float64) for s in self.label_sets
        }
        self.joint = {
            s: torch.zeros(classes, classes, dtype=torch.int64) for s in self.label_sets[1:]
        }

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
        part = self._of_batch(features_ND, checked)
        self.batches += 1
        return self._absorb(part)

    def merge(self, other: Moments) -> Moments:
        """Absorb the moments of other samples and return self.

        Raises:
            DataError: Other width, classes or label sets.
        """
        mine, theirs = ((m.width, m.classes, m.label_sets) for m in (self, other))
        if mine != theirs:
            raise DataError(
                f"moments of (width, classes, label sets) {theirs}",
                wanted=f"the same as the receiving moments, {mine}",
                advice="Merge only moments of the same features and label sets",
            )
        self.batches += other.batches
        return self._absorb(other)

    @classmethod
    def merged(cls, parts: Sequence[Moments]) -> Moments:
        """The moments of all parts together; the parts stay as they are."""
        whole = cls(parts[0].width, parts[0].classes, parts[0].label_sets)
        for part in parts:
            whole.merge(part)
        return whole

    def labelled(self, name: str, counts_K: Tensor, sums_KD: Tensor) -> Moments:
        """The same samples with one more label set, which may be soft.

        Args:
            name: Of the new label set.
            counts_K: sum_i p_ik, the samples of each class; fractions where labels are soft.
            sums_KD: sum_i p_ik h_i.
        """
        twin = Moments(self.width, self.classes, (*self.label_sets, name))
        twin.n, twin.batches = self.n, self.batches
        twin.mean_D, twin.scatter_DD, twin.joint = self.mean_D, self.scatter_DD, self.joint
        twin.rest_D = self.rest_D
        counts_K, sums_KD = float64(counts_K).to(self.mean_D), float64(sums_KD).to(self.mean_D)
        twin.counts = {**self.counts, name: counts_K}
        twin.deviations = {**self.deviations, name: sums_KD - counts_K[:, None] * self.mean_D}
        return twin

    def only(self, name: str) -> Moments:
        """The same samples with one of their label sets."""
        twin = Moments(self.width, self.classes, (name,))
        twin.n, twin.batches = self.n, self.batches
        twin.mean_D, twin.scatter_DD, twin.rest_D = self.mean_D, self.scatter_DD, self.rest_D
        twin.counts, twin.deviations = {name: self.counts[name]}, {name: self.deviations[name]}
        return twin

    def along(self, basis_DR: Tensor, origin_D: Tensor) -> Moments:
        """The same samples as (h - origin) B: R features instead of D.

        Args:
            basis_DR: B, the directions as columns.
            origin_D: What is subtracted before.
        """
        twin = Moments(basis_DR.shape[1], self.classes, self.label_sets)
        twin.n, twin.batches = self.n, self.batches
        twin.mean_D = (self.mean_D - origin_D) @ basis_DR
        twin.rest_D = self.rest_D @ basis_DR
        twin.scatter_DD = basis_DR.T @ self.scatter_DD @ basis_DR
        twin.counts, twin.joint = self.counts, self.joint
        twin.deviations = {name: each @ basis_DR for name, each in self.deviations.items()}
        return twin

    def means_KD(self, label_set: str = "given") -> Tensor:
        """Class means (K x D).

        Raises:
            DataError: An unknown label set, or a class without a sample.
        """
        counts_K = self.require_classes(label_set)
        return self.mean_D + self.deviations[label_set] / counts_K[:, None]

    def within_DD(self, label_set: str = "given") -> Tensor:
        """Within-class scatter (D x D): scatter - sum_k n_k (m_k - mean)(m_k - mean)^T."""
        counts_K = self.require_classes(label_set)
        scaled_KD = self.deviations[label_set] / counts_K.sqrt()[:, None]
        return self.scatter_DD - scaled_KD.T @ scaled_KD

    def require_classes(self, label_set: str = "given") -> Tensor:
        """Class counts (K,) as float64, all at least 1.

        Raises:
            DataError: An unknown label set, fewer samples than classes, or a class without
                a sample.
        """
        if label_set not in self.counts:
            raise DataError(
                f"label set {label_set!r} is not among {sorted(self.label_sets)}",
                wanted="a label set that these moments hold",
                advice="Name it in Moments(..., label_sets=...)",
            )
        counts_K = self.counts[label_set]
        if self.n < self.classes:
            raise DataError(
                f"{self.n} samples for {self.classes} classes",
                wanted="at least one sample of each class",
                advice="Bring more samples",
            )
        if (counts_K == 0).any():
            absent = torch.nonzero(counts_K == 0).flatten().tolist()
            raise DataError(
                f"label set {label_set!r} has no sample of class {_listed(absent)} "
                f"among {self.n} samples",
                wanted=f"at least one sample of each of the {self.classes} classes",
                advice='Bring the missing classes, or use readout="project", which needs no labels',
            )
        return counts_K.double()

    def __repr__(self) -> str:
        return (
            f"Moments(n={self.n}, width={self.width}, classes={self.classes}, "
            f"label_sets={self.label_sets})"
        )

    def _of_batch(self, features_ND: Tensor, labels: dict[str, Tensor]) -> Moments:
        """The moments of one batch, on the device of its features."""
        part = Moments(self.width, self.classes, self.label_sets)
        part.n = len(features_ND)
        if part.n == 0:
            return part
        part.mean_D = features_ND.mean(0)
        centred_ND = features_ND - part.mean_D
        part.rest_D = centred_ND.sum(0)
        part.scatter_DD = centred_ND.T @ centred_ND
        labels = {name: labels_N.to(features_ND.device) for name, labels_N in labels.items()}
        for name, labels_N in labels.items():
            part.counts[name] = torch.bincount(labels_N, minlength=self.classes)
            part.deviations[name] = centred_ND.new_zeros(self.classes, self.width).index_add_(
                0, labels_N, centred_ND
            )
        for name in self.joint:
            cells_N = labels[self.label_sets[0]] * self.classes + labels[name]
            part.joint[name] = torch.bincount(cells_N, minlength=self.classes**2).reshape(
                self.classes, self.classes
            )
        return part

    def _absorb(self, other: Moments) -> Moments:
        """Chan, Golub & LeVeque's pairwise update, for the class deviations too.

        Deviations are from the mean as it is stored, and the gap between two means is that of
        the true ones: with what their rounding has left.
        """
        if other.n == 0:
            return self
        if self.n == 0:
            self._move(other.mean_D.device)
        device = self.mean_D.device
        n = self.n + other.n
        other_mean_D = other.mean_D.to(device)
        stored_gap_D = other_mean_D - self.mean_D
        mine_D, theirs_D = self.rest_D / max(self.n, 1), other.rest_D.to(device) / other.n
        gap_D = stored_gap_D + theirs_D - mine_D
        mean_D = self.mean_D + stored_gap_D * (other.n / n)
        own_shift_D, other_shift_D = mean_D - self.mean_D, mean_D - other_mean_D
        self.scatter_DD += other.scatter_DD.to(device)
        self.scatter_DD.addr_(gap_D, gap_D, alpha=self.n * other.n / n)
        for name in self.label_sets:
            self.deviations[name] += other.deviations[name].to(device)
            self.deviations[name] -= self.counts[name][:, None] * own_shift_D
            self.deviations[name] -= other.counts[name].to(device)[:, None] * other_shift_D
            self.counts[name] += other.counts[name].to(device)
        for name in self.joint:
            self.joint[name] += other.joint[name].to(device)
        rest_D = self.rest_D + other.rest_D.to(device)
        self.rest_D = rest_D - self.n * own_shift_D - other.n * other_shift_D
        self.mean_D, self.n = mean_D, n
        return self

    def _move(self, device: torch.device) -> None:
        self.mean_D, self.scatter_DD = self.mean_D.to(device), self.scatter_DD.to(device)
        self.rest_D = self.rest_D.to(device)
        for held in (self.counts, self.deviations, self.joint):
            held.update({key: value.to(device) for key, value in held.items()})


def _listed(items: Sequence[object], most: int = 8) -> str:
    shown = ", ".join(map(str, items[:most]))
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
