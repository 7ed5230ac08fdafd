"""The Spectral Linear Probe of one network: accuracy in every band, on every kind of label."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from tailcut.lab.claims.bands import Band, BandProbe
from tailcut.lab.claims.features import Features, Probe, share_right
from tailcut.lab.claims.scalars import scalars
from tailcut.lab.data.problems import Problem
from tailcut.network.batches import read
from tailcut.network.head import Head, find_head
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.segregation import permuted_within
from tailcut.numerics.spectrum import Spectrum, random_basis

PER_OCTAVE = 2
"""Ranks looked at for each doubling."""

PERMUTATIONS = 39
"""For the null of the segregation index: its p-value goes down to 1/40."""


@torch.no_grad()
def probe(network: nn.Module, problem: Problem, *, seed: int = 0) -> Probe:
    """Everything that one state of a network shows, as plain numbers.

    Least-squares probes are fitted on given and on true training labels, on the leading
    directions, on the tail behind them, and on octaves (r, 2r] up to the last direction. A
    training sample is always left out of what is said of it: else a probe of many directions
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
        subspace"; and the scalars of `scalars.scalars`.
    """
    head = find_head(network, next(read(problem.train.loader(8))).inputs)
    train, holdout, test = (
        Features.of(network, head, part) for part in (problem.train, problem.holdout, problem.test)
    )
    moments = _moments(train, head, seed)
    spectrum = Spectrum.of(moments)
    ranks = geometric_ranks(spectrum.rank, PER_OCTAVE)
    return {
        "ranks": ranks,
        "bands": [list(band) for band in octaves(spectrum.rank)],
        **_fits(spectrum, moments, ranks, train, test),
        "random subspace": _random_subspace(spectrum, moments, ranks, test, seed),
        "own": _own_head(spectrum, head.parameters(network), ranks, train, holdout, test),
        **scalars(spectrum, moments, train, holdout, test),
    }


def _fits(
    spectrum: Spectrum, moments: Moments, ranks: list[int], train: Features, test: Features
) -> Probe:
    """Probes on given, true and permuted labels, in every group of bands."""
    leading, tail = [(0, rank) for rank in ranks], [(rank, spectrum.rank) for rank in ranks[:-1]]
    groups = {"leading": leading, "tail": tail, "octave": octaves(spectrum.rank)}
    given, true, shuffled = (
        BandProbe.of(moments, name, spectrum=spectrum) for name in ("given", "clean", "shuffled")
    )
    permuted_NB = shuffled.predictions(test.features_ND, leading)
    return {
        "given": _accuracies(given, groups, train, train.given_N, test),
        "true": _accuracies(true, groups, train, train.clean_N, test),
        "permuted": share_right(permuted_NB, test.clean_N),
    }


def octaves(rank: int) -> list[Band]:
    """The first direction, then the bands (r, 2r] with r = 1, 2, 4, ... up to the last one."""
    edges = [0, *(1 << k for k in range((rank - 1).bit_length())), rank]
    return list(pairwise(edges))


def _moments(train: Features, head: Head, seed: int) -> Moments:
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
    train: Features,
    labels_N: Tensor,
    test: Features,
) -> Probe:
    """Of each group of bands on each kind of label, the training samples left out."""
    bands = [band for group in groups.values() for band in group]
    predicted_NB = fitted.predictions(train.features_ND, bands, labels_N)
    found = {
        "given": share_right(predicted_NB, train.given_N),
        "true": share_right(predicted_NB, train.clean_N),
        "test": share_right(fitted.predictions(test.features_ND, bands), test.clean_N),
        **_on_flipped(predicted_NB, train),
    }
    accuracies: Probe = {}
    for name, group in groups.items():
        accuracies[name] = {kind: values[: len(group)] for kind, values in found.items()}
        found = {kind: values[len(group) :] for kind, values in found.items()}
    return accuracies


def _on_flipped(predicted_NR: Tensor, train: Features) -> dict[str, list[float]]:
    """How often wrong labels are repeated, and seen through; nothing where none is wrong."""
    flipped_N = train.flipped_N
    if not flipped_N.any():
        return {}
    return {
        "flipped given": share_right(predicted_NR[flipped_N], train.given_N[flipped_N]),
        "flipped true": share_right(predicted_NR[flipped_N], train.clean_N[flipped_N]),
    }


def _random_subspace(
    spectrum: Spectrum, moments: Moments, ranks: list[int], test: Features, seed: int
) -> list[float]:
    """Control: a probe on given labels in random directions instead of the leading ones."""
    turned = spectrum.rebased(random_basis(spectrum.width, seed))
    readout = Readout.ridge(moments, "given", spectrum=turned, penalty=1e-4)
    return share_right(readout.predictions(test.features_ND, ranks), test.clean_N)


def _own_head(
    spectrum: Spectrum,
    parameters: tuple[Tensor, Tensor | None],
    ranks: list[int],
    train: Features,
    holdout: Features,
    test: Features,
) -> dict[str, list[float]]:
    """The paper's cut at every rank, and on the holdout, by which a rank may be chosen."""
    readout = Readout.project(spectrum, *parameters)
    return {
        "holdout": share_right(readout.predictions(holdout.features_ND, ranks), holdout.given_N),
        "test": share_right(readout.predictions(test.features_ND, ranks), test.clean_N),
        **_on_flipped(readout.predictions(train.features_ND, ranks), train),
    }
