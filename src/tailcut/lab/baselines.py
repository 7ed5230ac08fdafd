"""What tailcut is compared with, on the same trained network."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.network.head import Head, find_head
from tailcut.network.stream import read
from tailcut.numerics.curve import rank_curve
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum


def papers_cut(
    network: nn.Module, train: Batches, holdout: Batches, test: Batches
) -> tuple[int, float]:
    """The own head behind the leading directions of the penultimate features, nothing else.

    Explicit Spectral Truncation as the abstract of arXiv 2603.02293v1 (later withdrawn) has
    it. How the rank is to be chosen, it does not say: we take the best accuracy on the noisy
    holdout.

    Args:
        network: In evaluation mode.
        train: Gives the spectrum.
        holdout: Chooses the rank.
        test: Measures.

    Returns:
        The rank, and the accuracy on the labels of `test`.
    """
    head = find_head(network, next(read(train)).inputs)
    moments = Moments(head.width, head.classes)
    for features_ND, labels in _features(network, head, train):
        moments.update(features_ND, **labels)
    spectrum = Spectrum.of(moments, centred=head.bias)
    readout = Readout.project(spectrum, *head.parameters(network))
    rank = rank_curve(readout, _features(network, head, holdout)).best()
    return rank, rank_curve(readout, _features(network, head, test), [rank]).at(rank)


def _features(
    network: nn.Module, head: Head, loader: Batches
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    for batch in read(loader):
        yield head.features_and_logits(network, batch.inputs)[0], {"given": batch.labels}
