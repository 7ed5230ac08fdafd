"""What a training leaves: a record of every epoch, and the states worth comparing with."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

State = dict[str, Tensor]
"""Weights and buffers of a network by name, on the CPU."""


@dataclass(frozen=True)
class Epoch:
    """One epoch: loss and accuracy on the given labels while training, accuracies after it."""

    epoch: int
    loss: float
    train: float
    holdout: float
    test: float
    seconds: float


@dataclass
class Trained:
    """A trained network's records and the states worth comparing with.

    Attributes:
        epochs: One record each.
        last: State after the last epoch.
        oracle: State of the epoch with the best accuracy on *true* test labels: a reference
            that no user can have.
        noisy: State of the epoch with the best accuracy on the noisy holdout: the honest
            early stopping.
        averages: Averages of the weights by name, see `train`.
    """

    epochs: list[Epoch] = field(default_factory=list)
    last: State = field(default_factory=dict)
    oracle: State = field(default_factory=dict)
    noisy: State = field(default_factory=dict)
    averages: dict[str, State] = field(default_factory=dict)

    @property
    def oracle_epoch(self) -> Epoch:
        """The record of the first epoch with the best clean test accuracy."""
        return max(self.epochs, key=lambda epoch: epoch.test)

    @property
    def noisy_epoch(self) -> Epoch:
        """The record of the first epoch with the best noisy holdout accuracy."""
        return max(self.epochs, key=lambda epoch: epoch.holdout)

    def add(self, record: Epoch, network: nn.Module) -> None:
        """Record an epoch and keep its state where it is the last or the best so far."""
        self.epochs.append(record)
        self.last = copied(network)
        if self.oracle_epoch is record:
            self.oracle = self.last
        if self.noisy_epoch is record:
            self.noisy = self.last


def copied(network: nn.Module) -> State:
    """The state of a network as it is now."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
