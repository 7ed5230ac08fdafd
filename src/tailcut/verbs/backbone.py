"""A pretrained network that never saw the labels: its features stand in for the trained one's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tailcut.errors import DataError, HeadError, concerning
from tailcut.network.batches import Batch, read
from tailcut.network.fine_tuning import FineTuning
from tailcut.network.head import Head, find_head
from tailcut.network.modules import inner, network_in
from tailcut.network.passes import Passes
from tailcut.network.stream import logits_of, own_copy, reading_numbers, runnable
from tailcut.numerics.crossfit import FoldMoments
from tailcut.numerics.scores import Scores
from tailcut.verbs.policy import FINE_TUNINGS, MEMORY_CEILING
from tailcut.verbs.preparation import filtered, fine_tuning
from tailcut.verbs.screening import labels_of
from tailcut.verbs.survey import Survey, memorisation
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

    def fine_tuned(
        self, found: Survey, train: Passes, step: Callable[[str], None]
    ) -> Tensor | None:
        """Probabilities (N x K) by the trained network with little of its fine-tuning kept.

        As many directions as the held-out labels like best. None without such labels, where the
        backbone is another network than the trained one was, and where most labels that were
        memorised are remembered in those directions, too.

        Args:
            found: Survey of the trained network.
            train: Read once.
            step: Called with every batch.
        """
        change = self._change(found)
        if not found.holdout or not change:
            return None
        step("fine-tuning")
        labels_N = labels_of(found.holdout)
        networks = (filtered(found, None, each, change) for each in FINE_TUNINGS)
        held_out_NCK = torch.stack([_logits(each, found.holdout) for each in networks], 1)
        scores = Scores.explained(held_out_NCK, labels_N)
        best = int(scores.losses().mean(0).argmin())
        model, logits, hits = filtered(found, None, FINE_TUNINGS[best], change), [], []
        for batch in read(train, found.head.classes):
            step("fine-tuning")
            logits.append(_logits(model, [batch]))
            hits.append(logits[-1].argmax(1) == batch.labels.cpu())
        agreement = float(torch.cat(hits).double().mean())
        unseen = float((scores.predictions_NC[:, best] == labels_N).double().mean())
        if memorisation(agreement, unseen) > MEMORY_CEILING:
            return None
        return torch.softmax(torch.cat(logits) / scores.temperature(best), 1)

    def _change(self, found: Survey) -> FineTuning | None:
        """What fine-tuning changed; None for a network of other layers, or of the same weights."""
        try:
            return fine_tuning(found, self.model)
        except DataError:
            return None

    def unseen(self, holdout: Sequence[Batch]) -> Unseen | None:
        """The held-out samples; None without any."""
        if not holdout:
            return None
        return Unseen(self.head.features_of(self.model, holdout), labels_of(holdout))


def _logits(model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    return torch.cat([logits_of(model, batch.inputs).double().cpu() for batch in batches])
