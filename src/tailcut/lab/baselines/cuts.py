"""CUTS: corruption as a direction of the weights, which takes steps from the trained network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Subject
from tailcut.network.batches import read
from tailcut.network.stream import accuracy, device_of, own_copy

SCALES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
"""How much of the corruption CUTS subtracts: the grid of its authors' code."""

_PROXIES = 1_000
"""Samples of CUTS's proxy set: 2 % of 50 000, as its authors hold out."""
_PROXY_EPOCHS, _PROXY_BATCH, _PROXY_RATE = 120, 256, 5e-4
_PROXY_FIT = 0.99
"""Of the proxy's labels: nothing is left to learn then."""
_NEIGHBOURS = 10


@baseline("CUTS", images_only=True, place=16)
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
