"""The Spectral Linear Probe of one network: accuracy in every band, on every kind of label."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tailcut.errors import DataError
from tailcut.lab.claims.bands import Band, BandProbe
from tailcut.lab.data.problems import Problem
from tailcut.lab.samples import Samples
from tailcut.network.batches import read
from tailcut.network.head import Head, find_head
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.segregation import Segregation, permuted_within
from tailcut.numerics.spectrum import Spectrum, coding_rate_reduction, nc1, random_basis

PER_OCTAVE = 2
"""Ranks looked at for each doubling."""

PERMUTATIONS = 39
"""For the null of the segregation index: its p-value goes down to 1/40."""

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Seen:
    """What the head receives and what the labels are: N x D features, held in memory.

    Attributes:
        features_ND: Float32, on the CPU.
        logits_NK: Of the network's own head.
        given_N: Noisy labels.
        clean_N: True ones.
    """

    features_ND: Tensor
    logits_NK: Tensor
    given_N: Tensor
    clean_N: Tensor

    @classmethod
    def of(cls, network: nn.Module, head: Head, samples: Samples) -> Seen:
        """One pass over some samples; samples of no class (open-set noise) are left out."""
        clean_N = samples.given if samples.clean is None else samples.clean
        inside_n = torch.nonzero(clean_N >= 0).flatten()
        samples = samples.rows(inside_n)
        parts = [
            [part.cpu() for part in head.features_and_logits(network, batch.inputs)]
            for batch in read(samples.loader(500))
        ]
        features_ND, logits_NK = (torch.cat(list(each)) for each in zip(*parts, strict=True))
        return cls(features_ND.float(), logits_NK.float(), samples.given, clean_N[inside_n])

    @property
    def flipped_N(self) -> Tensor:
        """Which labels are wrong."""
        return self.given_N != self.clean_N


@torch.no_grad()
def probe(network: nn.Module, problem: Problem, *, seed: int = 0) -> Record:
    """Everything that one state of a network tells, as plain numbers.

    Least-squares probes are fitted on given and on true training labels, on the leading
    directions, on the tail behind them, and on octaves (r, 2r] up to the last direction. A
    training sample is always left out of what is said of it: in sample a probe of many directions
    repeats any label. Beside them stands the network's own head behind the leading directions, in
    sample as it is.

    Args:
        network: In evaluation mode.
        problem: Its train, holdout and test samples.
        seed: Of the permutations and of the random subspace.

    Returns:
        `ranks` and `bands` (the octaves); for each fit ("given", "true") and group of bands
        (`leading`, `tail`, `octave`) the accuracies on `given`, `true`, `flipped given` (wrong
        labels repeated), `flipped true` (their samples seen through) of the training samples and
        on `test`; of the `own` head those on `flipped ...`, `holdout` and `test` at every rank;
        as controls those on test of a probe fitted on "permuted" labels, and of one in a "random
        subspace"; and the scalars of `_scalars`.
    """
    head = find_head(network, next(read(problem.train.loader(8))).inputs)
    train, holdout, test = (
        Seen.of(network, head, part) for part in (problem.train, problem.holdout, problem.test)
    )
    moments = _moments(train, head, seed)
    spectrum = Spectrum.of(moments)
    ranks = geometric_ranks(spectrum.rank, PER_OCTAVE)
    bands = octaves(spectrum.rank)
    record: Record = {"ranks": ranks, "bands": [list(band) for band in bands]}
    groups = {
        "leading": [(0, rank) for rank in ranks],
        "tail": [(rank, spectrum.rank) for rank in ranks[:-1]],
        "octave": bands,
    }
    for name, label_set, labels_N in (
        ("given", "given", train.given_N),
        ("true", "clean", train.clean_N),
    ):
        record[name] = _accuracies(
            BandProbe.of(moments, label_set, spectrum=spectrum), groups, train, labels_N, test
        )
    shuffled = BandProbe.of(moments, "shuffled", spectrum=spectrum).predictions(
        test.features_ND, groups["leading"]
    )
    record["permuted"] = _share_right(shuffled, test.clean_N)
    record["random subspace"] = _random_subspace(spectrum, moments, ranks, test, seed)
    record["own"] = _own_head(spectrum, head.parameters(network), ranks, train, holdout, test)
    return record | _scalars(spectrum, moments, train, holdout, test)


def octaves(rank: int) -> list[Band]:
    """The first direction, then the bands (r, 2r] with r = 1, 2, 4, ... up to the last one."""
    edges = [0, *(1 << k for k in range((rank - 1).bit_length())), rank]
    return list(pairwise(edges))


def _moments(train: Seen, head: Head, seed: int) -> Moments:
    generator = torch.Generator().manual_seed(seed)
    permuted = {
        f"permuted {number}": permuted_within(train.given_N, train.clean_N, generator)
        for number in range(PERMUTATIONS)
    }
    shuffled_N = train.given_N[torch.randperm(len(train.given_N), generator=generator)]
    moments = Moments(head.width, head.classes, ("clean", "given", "shuffled", *permuted))
    labels = {"clean": train.clean_N, "given": train.given_N, "shuffled": shuffled_N}
    return moments.update(train.features_ND, **labels, **permuted)


def _accuracies(
    fitted: BandProbe,
    groups: dict[str, list[Band]],
    train: Seen,
    labels_N: Tensor,
    test: Seen,
) -> Record:
    """Of each group of bands on each kind of label, the training samples left out."""
    bands = [band for group in groups.values() for band in group]
    predicted_NB = fitted.predictions(train.features_ND, bands, labels_N)
    found = {
        "given": _share_right(predicted_NB, train.given_N),
        "true": _share_right(predicted_NB, train.clean_N),
        "test": _share_right(fitted.predictions(test.features_ND, bands), test.clean_N),
        **_on_flipped(predicted_NB, train),
    }
    accuracies: Record = {}
    for name, group in groups.items():
        accuracies[name] = {kind: values[: len(group)] for kind, values in found.items()}
        found = {kind: values[len(group) :] for kind, values in found.items()}
    return accuracies


def _on_flipped(predicted_NR: Tensor, train: Seen) -> dict[str, list[float]]:
    """How often wrong labels are repeated, and seen through; nothing where none is wrong."""
    flipped_N = train.flipped_N
    if not flipped_N.any():
        return {}
    return {
        "flipped given": _share_right(predicted_NR[flipped_N], train.given_N[flipped_N]),
        "flipped true": _share_right(predicted_NR[flipped_N], train.clean_N[flipped_N]),
    }


def _random_subspace(
    spectrum: Spectrum, moments: Moments, ranks: list[int], test: Seen, seed: int
) -> list[float]:
    """Control: a probe on given labels in random directions instead of the leading ones."""
    turned = spectrum.rebased(random_basis(spectrum.width, seed))
    readout = Readout.ridge(moments, "given", spectrum=turned, penalty=1e-4)
    return _share_right(readout.predictions(test.features_ND, ranks), test.clean_N)


def _own_head(
    spectrum: Spectrum,
    parameters: tuple[Tensor, Tensor | None],
    ranks: list[int],
    train: Seen,
    holdout: Seen,
    test: Seen,
) -> dict[str, list[float]]:
    """The paper's cut at every rank, and on the holdout, by which a rank may be chosen."""
    readout = Readout.project(spectrum, *parameters)
    return {
        "holdout": _share_right(readout.predictions(holdout.features_ND, ranks), holdout.given_N),
        "test": _share_right(readout.predictions(test.features_ND, ranks), test.clean_N),
        **_on_flipped(readout.predictions(train.features_ND, ranks), train),
    }


def _scalars(
    spectrum: Spectrum, moments: Moments, train: Seen, holdout: Seen, test: Seen
) -> Record:
    """Accuracies of the network as it is, its spectrum, and where signal and noise sit.

    `memorised`: share of wrongly labelled training samples whose wrong label is predicted.
    """
    flipped_N, predicted_N = train.flipped_N, train.logits_NK.argmax(1)
    classes = moments.classes
    per_class = [
        Moments(moments.width, classes).update(
            train.features_ND[rows_N], given=train.clean_N[rows_N]
        )
        for rows_N in (train.clean_N == k for k in range(classes))
        if rows_N.any()
    ]
    scalars: Record = {
        "fit": float((predicted_N == train.given_N).double().mean()),
        "holdout": float((holdout.logits_NK.argmax(1) == holdout.given_N).double().mean()),
        "test": float((test.logits_NK.argmax(1) == test.clean_N).double().mean()),
        "width": spectrum.width,
        "rank": spectrum.rank,
        "effective_rank": spectrum.effective_rank,
        "participation_ratio": spectrum.participation_ratio,
        "tail_exponent": spectrum.tail_exponent(),
        "nc1_given": nc1(moments, "given"),
        "nc1_true": nc1(moments, "clean"),
        "coding_rate_reduction": coding_rate_reduction(per_class),
    }
    if flipped_N.any():
        scalars["memorised"] = float(
            (predicted_N[flipped_N] == train.given_N[flipped_N]).double().mean()
        )
    return scalars | {"segregation": _segregation(spectrum, moments)}


def _segregation(spectrum: Spectrum, moments: Moments) -> Record | None:
    """None where there is no noise that the true labels do not decide, or no signal."""
    permuted = [name for name in moments.label_sets if name.startswith("permuted")]
    try:
        found = Segregation.of(moments, spectrum, permuted=permuted)
    except DataError:
        return None
    signal_depth, noise_depth = found.depth
    return {
        "index": found.index,
        "null": float(found.null_index.mean()),
        "p_value": found.p_value,
        "signal_depth": signal_depth,
        "noise_depth": noise_depth,
        "signal_explained": float(found.signal_R.sum()),
        "noise_explained": float(found.noise_R.sum()),
        "noise_by_chance": float(found.chance()[-1]),
        "noise_explained_permuted": float(found.null_QR.sum(1).mean()),
    }


def _share_right(predicted_NR: Tensor, labels_N: Tensor) -> list[float]:
    return (predicted_NR == labels_N[:, None]).double().mean(0).tolist()
