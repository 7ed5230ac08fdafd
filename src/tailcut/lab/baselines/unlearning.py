"""Corrective unlearning: weights changed after training, without clean labels.

Each of these takes gradients of the trained network, CUTS even steps; none trains it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor, nn

from tailcut.lab.baselines.subject import Subject
from tailcut.lab.training.sgd import State
from tailcut.network.batches import read
from tailcut.network.stream import accuracy, device_of, fitted, own_copy

SELECTIONS = (1e1, 1e2, 1e3, 1e4, 1e5)
"""alpha of SSD: 10 by default, more selects fewer parameters.

A network that fits every label has almost no gradient but on what is hard to fit, so that up to
100 all of it is destroyed where few labels are wrong.
"""

DAMPENINGS = (0.1, 1.0)
"""lambda of SSD: 1 by default, less forgets more."""

SCALES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
"""How much of the corruption CUTS subtracts: the grid of its authors' code."""

_PROXIES = 1_000
"""Samples of CUTS's proxy set: 2 % of 50 000, as its authors hold out."""
_PROXY_EPOCHS, _PROXY_BATCH, _PROXY_RATE = 120, 256, 5e-4
_PROXY_FIT = 0.99
"""Of the proxy's labels: nothing is left to learn then."""
_NEIGHBOURS = 10


def ssd(subject: Subject) -> float:
    """SSD on the training samples whose labels the audit suspects (Foster et al., AAAI 2024).

    alpha and lambda by the noisy holdout. Unlearning needs to be told what is to be forgotten; it
    is told by the best label score at hand, which is tailcut's own.
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


def cuts(subject: Subject) -> float:
    """CUTS: corruption as a direction in weight space, subtracted (Mozafari et al., 2511.18660).

    The network is tuned on held-out inputs with labels that are all wrong; theta - a (tuned -
    theta) for the a of largest `self_agreement` on the same inputs, which asks no label.

    Deviations: the proxy's labels are drawn among all but the given label, which may be wrong
    already (the authors have a clean one); tuning ends as soon as it fits; and their code's bonus
    for agreement with k-means is left out.
    """
    assert isinstance(next(read(subject.holdout)).inputs, Tensor), "images, not texts"
    inputs, given_n = _proxy(subject)
    tuned = corrupted(subject.network, inputs, wrong_labels(given_n, subject.head.classes))
    candidates = (stepped(subject.network, tuned, -scale) for scale in SCALES)
    scored = [
        (self_agreement(*_features_and_logits(subject, each, inputs)), each) for each in candidates
    ]
    return accuracy(max(scored, key=lambda pair: pair[0])[1], subject.test)


def wrong_labels(given_N: Tensor, classes: int) -> Tensor:
    """A label other than the given one for each, all others alike; the same draw every time."""
    generator = torch.Generator().manual_seed(0)
    shift_N = torch.randint(1, classes, (len(given_N),), generator=generator)
    return (given_N + shift_N) % classes


def corrupted(network: nn.Module, inputs: Tensor, labels_N: Tensor) -> nn.Module:
    """A copy tuned on these labels by AdamW until it fits 99 % of them, 120 epochs at most."""
    twin = own_copy(network).requires_grad_(requires_grad=True)
    optimiser = torch.optim.AdamW(twin.parameters(), lr=_PROXY_RATE)
    generator = torch.Generator().manual_seed(0)
    inputs, labels_N = inputs.to(device_of(twin)), labels_N.to(device_of(twin))
    for _ in range(_PROXY_EPOCHS):
        twin.train()
        right = 0
        for rows_n in torch.randperm(len(labels_N), generator=generator).split(_PROXY_BATCH):
            logits_nK = twin(inputs[rows_n])
            loss = nn.functional.cross_entropy(logits_nK, labels_N[rows_n])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            right += int((logits_nK.argmax(1) == labels_N[rows_n]).sum())
        if right >= _PROXY_FIT * len(labels_N):
            break
    return own_copy(twin)


def stepped(network: nn.Module, tuned: nn.Module, scale: float) -> nn.Module:
    """A copy at theta + scale (tuned - theta), in every number that is not whole, buffers too."""
    twin, ends = own_copy(network), tuned.state_dict()
    state = {
        name: torch.lerp(tensor, ends[name].to(tensor), scale)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in twin.state_dict().items()
    }
    twin.load_state_dict(state)
    return twin


def self_agreement(features_ND: Tensor, logits_NK: Tensor) -> float:
    """How often neighbours are predicted alike, beyond chance, less what classes are missing.

    (A - m) / (1 - m) - max(0, K - 1 / m) / K with A the share of the 10 nearest by cosine that
    get a sample's own prediction and m = sum_k p_k^2 of the mean probabilities: 1 at most, -1 +
    1 / K where all are predicted as one class for certain.

    Args:
        features_ND: Of N > 10 samples.
        logits_NK: What the network makes of them.
    """
    predicted_N, classes = logits_NK.argmax(1), logits_NK.shape[1]
    unit_ND = nn.functional.normalize(features_ND)
    near_NN = (unit_ND @ unit_ND.T).fill_diagonal_(-2)
    near_NM = near_NN.topk(min(_NEIGHBOURS, len(near_NN) - 1)).indices
    agreed = float((predicted_N[near_NM] == predicted_N[:, None]).double().mean())
    match = float(logits_NK.double().softmax(1).mean(0).square().sum())
    chance_corrected = (agreed - match) / max(1 - match, 1e-8)
    return chance_corrected - max(0.0, classes - 1 / match) / classes


def _proxy(subject: Subject) -> tuple[Tensor, Tensor]:
    """The first held-out inputs and their given labels."""
    inputs, given = [], []
    for batch in read(subject.holdout):
        assert isinstance(batch.inputs, Tensor)
        inputs.append(batch.inputs.cpu())
        given.append(batch.labels.cpu())
    return torch.cat(inputs)[:_PROXIES], torch.cat(given)[:_PROXIES]


def _features_and_logits(
    subject: Subject, network: nn.Module, inputs: Tensor
) -> tuple[Tensor, Tensor]:
    pairs = [
        subject.head.features_and_logits(network, part.to(device_of(network)))
        for part in inputs.split(_PROXY_BATCH)
    ]
    features, logits = zip(*pairs, strict=True)
    return torch.cat(features).cpu(), torch.cat(logits).cpu()


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
