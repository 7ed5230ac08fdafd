"""SSD: selective synaptic dampening, which takes gradients of the trained network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor, nn

from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Subject
from tailcut.lab.training.records import State
from tailcut.network.batches import read
from tailcut.network.stream import accuracy, device_of, fitted, own_copy

SELECTIONS = (1e1, 1e2, 1e3, 1e4, 1e5)
"""alpha of SSD: 10 by default, more selects fewer parameters.

A network that fits every label has almost no gradient but on what is hard to fit, so that up to
100 all of it is destroyed where few labels are wrong.
"""

DAMPENINGS = (0.1, 1.0)
"""lambda of SSD: 1 by default, less forgets more."""


@baseline("SSD on the audit's suspects", images_only=True, place=15)
def ssd(subject: Subject) -> float:
    """SSD on the training samples whose labels the audit suspects (Foster et al., AAAI 2024).

    alpha and lambda by the noisy holdout. Unlearning needs a list of what is to be forgotten; it
    comes from the best label score at hand, which is tailcut's own.
    """
    return accuracy(forgotten(subject, subject.suspected), subject.test)


def forgotten(subject: Subject, forget_N: Tensor) -> nn.Module:
    """The network after selective synaptic dampening, the setting that is best on the holdout.

    A parameter w of importance f on what is to be forgotten and d on all training samples becomes
    min(lambda d / f, 1) w where f > alpha d. Importance is the mean over batches of the squared
    gradient of a batch's mean loss on the given labels, as in the authors' code, BatchNorm in
    evaluation mode.

    Args:
        subject: Its training batches in a fixed order.
        forget_N: Which training samples to forget; with none the network stays as it is.
    """
    if not forget_N.any():
        return subject.network
    everything = _importance(subject, torch.ones_like(forget_N))
    unwanted = _importance(subject, forget_N)
    best, found = -1.0, subject.network
    for alpha, factor in product(SELECTIONS, DAMPENINGS):
        twin = dampened(subject.network, everything, unwanted, alpha, factor)
        hits = accuracy(twin, subject.holdout)
        if hits > best:
            best, found = hits, twin
    return found


def dampened(
    network: nn.Module, everything: State, unwanted: State, alpha: float, factor: float
) -> nn.Module:
    """A copy, its parameters of importance `unwanted` > alpha `everything` made smaller.

    Args:
        network: Not changed.
        everything: Importance of each parameter on all samples, by name.
        unwanted: The same on what is to be forgotten.
        alpha: Selection weight, > 0.
        factor: lambda, the dampening constant.
    """
    twin = own_copy(network)
    for name, weight in twin.named_parameters():
        d, f = everything[name], unwanted[name]
        ratio = (factor * d / f.clamp(min=torch.finfo(f.dtype).tiny)).clamp(max=1)
        weight.mul_(torch.where(f > alpha * d, ratio, 1))
    return twin


def _importance(subject: Subject, chosen_N: Tensor) -> State:
    """Mean over batches of the squared gradient of their mean loss, by the parameter's name."""
    twin = own_copy(subject.network).requires_grad_(requires_grad=True)
    sums = {name: torch.zeros_like(weight) for name, weight in twin.named_parameters()}
    batches = 0
    for inputs, labels_n in _batches(subject, chosen_N):
        twin.zero_grad()
        loss = nn.functional.cross_entropy(twin(fitted(inputs, twin)), labels_n)
        loss.backward()
        for name, weight in twin.named_parameters():
            if weight.grad is not None:
                sums[name] += weight.grad.square()
        batches += 1
    return {name: total / batches for name, total in sums.items()}


def _batches(subject: Subject, chosen_N: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Chosen training samples with their given labels, where the network is."""
    place = 0
    device = device_of(subject.network)
    for batch in read(subject.train):
        assert isinstance(batch.inputs, Tensor)
        chosen_n = chosen_N[place : place + len(batch)]
        place += len(batch)
        if chosen_n.any():
            kept_n = chosen_n.to(batch.inputs.device)
            yield batch.inputs[kept_n].to(device), batch.labels[chosen_n].to(device)
