"""RoG: robust generative classifiers on one layer or several (Lee et al., ICML 2019)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Subject, folded
from tailcut.lab.training.networks import Block, Encoder
from tailcut.network.batches import read
from tailcut.network.stream import logits_of, on_input
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout

_KEPT = 0.7
"""Of each class, in the draw and in the concentration step."""

_TRUSTED = 0.5
"""Of the holdout: the half that the layers are weighted by."""

_FLOOR = 1e-10
"""Added to every probability, as in the authors' code."""


@baseline("RoG, last layer", place=9)
def rog(subject: Subject) -> float:
    """RoG on the penultimate layer alone, which fits into the network's own head."""
    readout = robust_gaussians(*subject.train_features, subject.head.classes)
    return subject.accuracy(folded(readout))


@baseline("RoG, ensemble of layers", folds=False, images_only=True, place=10)
def rog_ensemble(subject: Subject) -> float:
    """RoG as its paper has it: the classifiers of all layers, mixed by the noisy holdout.

    p(k | x) = sum_l w_l softmax_k(logits of layer l), with the weights of greatest likelihood on
    that half of the holdout whose given labels are nearest by the last layer's Mahalanobis
    distance. It does not fit into the network. Layers are the outputs of every ReLU or block
    averaged over positions, and the penultimate features in place of the last.

    Deviations: the paper takes the last block of each stage, we take all; the weights are
    carried to their maximum, where its code stops after 20 epochs of Adam; its holdout has 50
    samples of each class, ours is the subject's.
    """
    classes, (_, given_N), (_, held_N) = (
        subject.head.classes,
        subject.train_features,
        subject.holdout_features,
    )
    readouts = [
        robust_gaussians(features_ND, given_N, classes)
        for features_ND in layer_features(subject, subject.train)
    ]
    held = layer_features(subject, subject.holdout)
    distance_N = _distances(readouts[-1], held[-1], held_N)
    trusted_n = distance_N.argsort()[: math.ceil(_TRUSTED * len(held_N))]
    chances_LNK = _chances(readouts, held)
    weights_L = mixture_weights(chances_LNK[:, trusted_n, held_N[trusted_n]])
    asked_LNK = _chances(readouts, layer_features(subject, subject.test))
    mixed_NK = (weights_L[:, None, None] * asked_LNK).sum(0)
    return float((mixed_NK.argmax(1) == subject.test_features[1]).double().mean())


def robust_gaussians(features_ND: Tensor, given_N: Tensor, classes: int) -> Readout:
    """Gaussian classes of one covariance and equal size, by one step of the fast MCD.

    Means and covariance of 70 % of each class drawn at random, then of the 70 % of least
    Mahalanobis distance (Rousseeuw & Van Driessen 1999).

    Args:
        features_ND: Of the training samples.
        given_N: Their noisy labels.
        classes: K.
    """
    generator = torch.Generator().manual_seed(0)
    order_N = torch.rand(len(given_N), generator=generator)
    drawn = _gaussians(features_ND, given_N, _least(order_N, given_N), classes)
    near_N = _least(_distances(drawn, features_ND, given_N), given_N)
    readout = _gaussians(features_ND, given_N, near_N, classes)
    prior_K = (given_N[near_N].bincount(minlength=classes).double() / int(near_N.sum())).log()
    return replace(readout, offsets_RK=readout.offsets_RK - prior_K)


def layer_features(subject: Subject, loader: Batches) -> list[Tensor]:
    """Features (N x D, float32) of every layer of a lab network, its penultimate ones last."""
    rows: dict[nn.Module, list[Tensor]] = {reader: [] for reader in _readers(subject)}

    def keeps(kept: list[Tensor]) -> Callable[[Tensor], None]:
        return lambda received: kept.append(_averaged(received).cpu().float())

    with on_input({reader: keeps(kept) for reader, kept in rows.items()}):
        for batch in read(loader):
            logits_of(subject.network, batch.inputs)
    return [torch.cat(kept) for kept in rows.values()]


def mixture_weights(chances_LN: Tensor, rounds: int = 200) -> Tensor:
    """Weights w (L,) of the largest sum_n log sum_l w_l p_ln, on the simplex, by EM.

    The likelihood is concave, so from equal weights there is one maximum to go to.

    Args:
        chances_LN: Probability that each of L layers gives to the label of each sample.
        rounds: Of EM.
    """
    weights_L = torch.full((len(chances_LN),), 1 / len(chances_LN), dtype=chances_LN.dtype)
    for _ in range(rounds):
        parts_LN = weights_L[:, None] * (chances_LN + _FLOOR)
        weights_L = (parts_LN / parts_LN.sum(0)).mean(1)
    return weights_L


def _readers(subject: Subject) -> Iterator[nn.Module]:
    """What receives a layer: the modules after each ReLU or block but the last, then the head."""
    steps = pairwise(subject.network.children())
    after = [reader for layer, reader in steps if isinstance(layer, (nn.ReLU, Block, Encoder))]
    yield from after[:-1]
    yield from subject.head.modules(subject.network)


def _averaged(received: Tensor) -> Tensor:
    """Over the positions of N x D x H x W, or the tokens of N x T x D."""
    if received.ndim == 4:
        return received.mean((2, 3))
    return received.mean(1) if received.ndim == 3 else received


def _chances(readouts: list[Readout], layers: list[Tensor]) -> Tensor:
    pairs = zip(readouts, layers, strict=True)
    return torch.stack([folded(readout)(features_ND).softmax(1) for readout, features_ND in pairs])


def _distances(readout: Readout, features_ND: Tensor, labels_N: Tensor) -> Tensor:
    """Squared Mahalanobis distance of every sample to the mean of its label's class."""
    whitened_NR = (features_ND.double() - readout.mean_D) @ readout.rotation_RD.T
    return (whitened_NR - readout.gains_RK.T[labels_N]).square().sum(1)


def _least(distance_N: Tensor, given_N: Tensor) -> Tensor:
    """Whether a sample is among the 70 % of its class with the least distance."""
    kept_N = torch.zeros(len(given_N), dtype=torch.bool)
    for k in given_N.unique():
        inside_n = torch.nonzero(given_N == k).flatten()
        nearest_n = distance_N[inside_n].argsort()[: math.ceil(_KEPT * len(inside_n))]
        kept_N[inside_n[nearest_n]] = True
    return kept_N


def _gaussians(features_ND: Tensor, given_N: Tensor, kept_N: Tensor, classes: int) -> Readout:
    moments = Moments(features_ND.shape[1], classes)
    moments.update(features_ND[kept_N], given=given_N[kept_N])
    return Readout.lda(moments, shrinkage=1e-3)
