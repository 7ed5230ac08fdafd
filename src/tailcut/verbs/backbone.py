"""A pretrained network that never saw the labels: its features stand in for the trained one's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from tailcut.errors import DataError, HeadError, concerning
from tailcut.network.batches import Batch, read
from tailcut.network.head import Head, find_head
from tailcut.network.modules import inner, network_in
from tailcut.network.passes import Passes
from tailcut.network.stream import own_copy, reading_numbers, runnable
from tailcut.numerics.crossfit import FoldMoments
from tailcut.verbs.screening import labels_of
from tailcut.verbs.suspects import Unseen
from tailcut.verbs.viewing import fold_moments

_NAME = "the backbone"


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network whose features owe nothing to the labels that they are read by.

    Attributes:
        model: Our own copy, in evaluation mode.
        head: Its proven head, which says where the features are; its outputs are not used.
    """

    model: nn.Module
    head: Head

    @classmethod
    def of(
        cls, given: nn.Module, trained: nn.Module, train: Passes, device: torch.device | str | None
    ) -> Backbone:
        """Find its features.

        Args:
            given: Stays as it is.
            trained: The network that was trained on the labels.
            train: Of which one batch is read.
            device: To work on.

        Raises:
            HeadError: No linear head that gives its logits.
            DataError: The trained network itself, or one that cannot run on these inputs.
        """
        with concerning(_NAME):
            network = inner(network_in(given))
            if network is inner(network_in(trained)):
                raise DataError(
                    f"{_NAME} is the trained network itself, which has seen the labels",
                    wanted="a network as it was before it was trained on these labels",
                    advice="Load the pretrained weights again, or leave the backbone out",
                )
            twin, inputs = own_copy(network, device), next(read(train)).inputs
            if runnable(twin, inputs) is not inputs:
                reading_numbers(twin)
            try:
                return cls(twin, find_head(twin, inputs))
            except HeadError as error:
                raise HeadError(
                    error.seen,
                    wanted="a network whose outputs come from a linear layer, however many they "
                    "are: what that layer receives are the features",
                    advice="Wrap a feature extractor as torch.nn.Sequential(extractor, "
                    "torch.nn.Linear(width, 2)): the weights of that layer do not matter",
                ) from error

    @property
    def name(self) -> str:
        """Of its class."""
        return type(self.model).__name__

    def folds(self, train: Passes, classes: int, step: Callable[[str], None]) -> FoldMoments:
        """All training samples as they are.

        Args:
            train: Read once.
            classes: Of the labels, K.
            step: Called with every batch.
        """
        head = replace(self.head, classes=classes)  # those of its own outputs do not matter
        return fold_moments(self.model, head, train, [], n=0, seed=0, step=step)  # none is drawn

    def unseen(self, holdout: Sequence[Batch]) -> Unseen | None:
        """The held-out samples; None without any."""
        if not holdout:
            return None
        return Unseen(self.head.features_of(self.model, holdout), labels_of(holdout))
