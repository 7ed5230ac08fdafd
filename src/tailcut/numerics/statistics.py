"""First and second moments of labelled features, and the algebra that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.numerics.checks import float64


@dataclass(frozen=True, eq=False)
class Sums:
    """What is held of n samples; see `Statistics` for the symbols.

    Attributes:
        classes: K.
        n: Samples.
        batches: Updates that brought them.
        mean_D: Their mean, as it is stored.
        rest_D: What its rounding has left.
        scatter_DD: About that mean.
        counts: By label set, K each.
        deviations: By label set, K x D each.
        joint: By label set, K x K each.
    """

    classes: int
    n: int
    batches: int
    mean_D: Tensor
    rest_D: Tensor
    scatter_DD: Tensor
    counts: dict[str, Tensor]
    deviations: dict[str, Tensor]
    joint: dict[str, Tensor]

    @classmethod
    def none(cls, width: int, classes: int, label_sets: Sequence[str]) -> Sums:
        """Of no sample."""
        double, sets = torch.float64, tuple(label_sets)
        mean_D, rest_D = (torch.zeros(width, dtype=double) for _ in range(2))
        scatter_DD = torch.zeros(width, width, dtype=double)
        counts = {name: torch.zeros(classes, dtype=torch.int64) for name in sets}
        deviations = {name: torch.zeros(classes, width, dtype=double) for name in sets}
        joint = {name: torch.zeros(classes, classes, dtype=torch.int64) for name in sets[1:]}
        return cls(classes, 0, 0, mean_D, rest_D, scatter_DD, counts, deviations, joint)

    @property
    def kind(self) -> tuple[int, int, tuple[str, ...]]:
        """Width, classes and label sets: what sums that are added have in common."""
        return len(self.mean_D), self.classes, tuple(self.counts)

    def each(self, change: Callable[[Tensor], Tensor]) -> Sums:
        """The same with every tensor changed."""
        sets = (self.counts, self.deviations, self.joint)
        counts, deviations, joint = ({k: change(v) for k, v in held.items()} for held in sets)
        return replace(
            self,
            mean_D=change(self.mean_D),
            rest_D=change(self.rest_D),
            scatter_DD=change(self.scatter_DD),
            counts=counts,
            deviations=deviations,
            joint=joint,
        )


class Statistics:
    """Mean, scatter and class sums of features, as far as they are known.

    With features h_i (N x D) and a label set y (N):

    * `mean_D` = 1/n sum_i h_i, and `rest_D` = sum_i (h_i - mean), what its rounding has left
    * `scatter_DD` = sum_i (h_i - mean)(h_i - mean)^T
    * `counts[set]` (K,) = n_k, and `deviations[set]` (K x D) = sum_{i in k} (h_i - mean)
    * `joint[set]` (K x K) = how often class k of the first set meets class l of this one,
      for label sets that came with the features

    Everything is float64, but for counts of labels that are not soft, which are int64.
    There is nothing here that changes any of it. `tailcut.Moments` is the kind that grows, as a
    MutableMapping is a Mapping: what is read or derived from it stays as it was. Where a
    function keeps statistics for later, give it those of `Moments.frozen`.

    Args:
        sums: What is held.
    """

    def __init__(self, sums: Sums) -> None:
        self._sums = sums

    @property
    def width(self) -> int:
        """D."""
        return self._sums.kind[0]

    @property
    def classes(self) -> int:
        """K; labels are integers 0..K-1."""
        return self._sums.classes

    @property
    def label_sets(self) -> tuple[str, ...]:
        """Names of the label sets."""
        return tuple(self._sums.counts)

    @property
    def n(self) -> int:
        """Samples."""
        return self._sums.n

    @property
    def batches(self) -> int:
        """Updates that brought them."""
        return self._sums.batches

    @property
    def mean_D(self) -> Tensor:
        """Mean, D."""
        return self._sums.mean_D

    @property
    def rest_D(self) -> Tensor:
        """Sum of the features about the mean as it is stored, D: what its rounding has left."""
        return self._sums.rest_D

    @property
    def scatter_DD(self) -> Tensor:
        """Sum of the outer products of the centred features, D x D."""
        return self._read().scatter_DD

    @property
    def counts(self) -> Mapping[str, Tensor]:
        """Samples of each class (K,) by label set; float64 where labels are soft, else int64."""
        return dict(self._read().counts)

    @property
    def deviations(self) -> Mapping[str, Tensor]:
        """Sums of the centred features of each class (K x D) by label set."""
        return dict(self._read().deviations)

    @property
    def joint(self) -> Mapping[str, Tensor]:
        """Class of the first label set by class of this one (K x K); not for the first."""
        return dict(self._read().joint)

    def labelled(self, name: str, counts_K: Tensor, sums_KD: Tensor) -> Statistics:
        """The same samples with one more label set, which may be soft.

        Args:
            name: Of the new label set.
            counts_K: sum_i p_ik, the samples of each class; fractions where labels are soft.
            sums_KD: sum_i p_ik h_i.
        """
        held = self._read()
        counts_K = float64(counts_K).to(held.mean_D, copy=True)
        deviations_KD = float64(sums_KD).to(held.mean_D) - counts_K[:, None] * held.mean_D
        return Statistics(
            replace(
                held,
                counts={**held.counts, name: counts_K},
                deviations={**held.deviations, name: deviations_KD},
            )
        )

    def only(self, name: str) -> Statistics:
        """The same samples with one of their label sets."""
        held = self._read()
        counts, deviations = {name: held.counts[name]}, {name: held.deviations[name]}
        return Statistics(replace(held, counts=counts, deviations=deviations, joint={}))

    def along(self, basis_DR: Tensor, origin_D: Tensor) -> Statistics:
        """The same samples as (h - origin) B: R features instead of D.

        Args:
            basis_DR: B, the directions as columns.
            origin_D: What is subtracted before.
        """
        held = self._read()
        return Statistics(
            replace(
                held,
                mean_D=(held.mean_D - origin_D) @ basis_DR,
                rest_D=held.rest_D @ basis_DR,
                scatter_DD=basis_DR.T @ held.scatter_DD @ basis_DR,
                deviations={name: each @ basis_DR for name, each in held.deviations.items()},
            )
        )

    def means_KD(self, label_set: str = "given") -> Tensor:
        """Class means (K x D).

        Raises:
            DataError: An unknown label set, or a class without a sample.
        """
        counts_K = self.require_classes(label_set)
        return self.mean_D + self._sums.deviations[label_set] / counts_K[:, None]

    def within_DD(self, label_set: str = "given") -> Tensor:
        """Within-class scatter (D x D): scatter - sum_k n_k (m_k - mean)(m_k - mean)^T."""
        counts_K = self.require_classes(label_set)
        scaled_KD = self._sums.deviations[label_set] / counts_K.sqrt()[:, None]
        return self._sums.scatter_DD - scaled_KD.T @ scaled_KD

    def require_classes(self, label_set: str = "given") -> Tensor:
        """Class counts (K,) as float64, all above 0.

        Raises:
            DataError: An unknown label set, fewer samples than classes, or a class without
                a sample.
        """
        if label_set not in self._sums.counts:
            raise DataError(
                f"label set {label_set!r} is not among {sorted(self.label_sets)}",
                wanted="a label set that these moments hold",
                advice="Name it in Moments(..., label_sets=...)",
            )
        counts_K = self._sums.counts[label_set]
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
        return counts_K.to(torch.float64, copy=True)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(n={self.n}, width={self.width}, classes={self.classes}, "
            f"label_sets={self.label_sets})"
        )

    def _read(self) -> Sums:
        """What is held, for others to hold as well."""
        return self._sums


def _listed(items: Sequence[object], most: int = 8) -> str:
    shown = ", ".join(map(str, items[:most]))
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
