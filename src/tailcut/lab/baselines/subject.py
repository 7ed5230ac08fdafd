"""A trained network and its data, as every baseline sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.network.batches import read
from tailcut.network.head import Head, find_head
from tailcut.network.stream import accuracy
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.verbs.audit import find_label_issues

Classifier = Callable[[Tensor], Tensor]
"""Features (N x D) to logits (N x K)."""

_OF_TRAINING = {"head", "train_features", "holdout_features", "moments", "issues"}
"""What a subject remembers that the test samples have no part in."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network with its data, and the features that every baseline shares.

    Attributes:
        network: In evaluation mode; never changed.
        train: Batches it was trained on, in a fixed order.
        holdout: Batches with labels as noisy, for choices.
        test: Batches with true labels.
    """

    network: nn.Module
    train: Batches
    holdout: Batches
    test: Batches

    @cached_property
    def head(self) -> Head:
        """The linear head."""
        return find_head(self.network, next(read(self.train)).inputs)

    @cached_property
    def train_features(self) -> tuple[Tensor, Tensor]:
        """Features (N x D, float32) and given labels of the training samples as they are."""
        return self._features(self.train)

    @cached_property
    def holdout_features(self) -> tuple[Tensor, Tensor]:
        """Features and given labels of the holdout."""
        return self._features(self.holdout)

    @cached_property
    def test_features(self) -> tuple[Tensor, Tensor]:
        """Features and true labels of the test samples."""
        return self._features(self.test)

    @cached_property
    def moments(self) -> Moments:
        """Of the training features."""
        features_ND, given_N = self.train_features
        return Moments(self.head.width, self.head.classes).update(features_ND, given=given_N)

    @cached_property
    def issues(self) -> pd.DataFrame:
        """What tailcut's audit says of the training labels, see `find_label_issues`."""
        return find_label_issues(self.network, self.train, self.holdout, progress=False)

    @property
    def suspected(self) -> Tensor:
        """Which training labels (N,) the audit calls wrong."""
        return torch.from_numpy(self.issues["is_label_issue"].to_numpy(copy=True))

    def evaluated_on(self, test: Batches) -> Subject:
        """The same network on other test batches; what was measured on the others is kept."""
        twin = replace(self, test=test)
        shared = {name: found for name, found in vars(self).items() if name in _OF_TRAINING}
        vars(twin).update(shared)
        return twin

    def parameters(self) -> tuple[Tensor, Tensor]:
        """Weight (K x D) and bias (K,) of the head, zero where it has none, on the CPU."""
        weight_KD, bias_K = self.head.parameters(self.network)
        bias_K = weight_KD.new_zeros(len(weight_KD)) if bias_K is None else bias_K
        return weight_KD.detach().cpu(), bias_K.detach().cpu()

    def accuracy(self, classify: Classifier) -> float:
        """Of a classifier on the test samples."""
        return _share_right(classify(self.test_features[0]), self.test_features[1])

    def best(self, classifiers: list[Classifier]) -> float:
        """Accuracy on the test samples of the classifier that is best on the holdout."""
        held_ND, given_N = self.holdout_features
        hits = [_share_right(classify(held_ND), given_N) for classify in classifiers]
        return self.accuracy(classifiers[int(np.argmax(hits))])

    def best_network(self, networks: Iterator[nn.Module]) -> float:
        """Accuracy on the test samples of the network that is best on the holdout."""
        best, found = -1.0, self.network
        for network in networks:
            hits = accuracy(network, self.holdout)
            if hits > best:
                best, found = hits, network
        return accuracy(found, self.test)

    def _features(self, loader: Batches) -> tuple[Tensor, Tensor]:
        features, labels = [], []
        for batch in read(loader):
            features.append(self.head.features_and_logits(self.network, batch.inputs)[0].cpu())
            labels.append(batch.labels.cpu())
        return torch.cat(features).float(), torch.cat(labels)


def _share_right(logits_NK: Tensor, labels_N: Tensor) -> float:
    return float((logits_NK.argmax(1).to(labels_N.device) == labels_N).double().mean())


def linear(weight_KD: Tensor, bias_K: Tensor) -> Classifier:
    """A linear layer in float64, where its weight is."""
    weight_KD, bias_K = weight_KD.double(), bias_K.double()
    return lambda features_ND: features_ND.to(weight_KD) @ weight_KD.T + bias_K


def folded(readout: Readout) -> Classifier:
    """A readout at its full rank."""
    return linear(*readout.fold(readout.max_rank))
