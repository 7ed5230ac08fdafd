"""Hugging Face's face: a callback that watches the spectrum of a network through its training."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tailcut._typing import Batches
from tailcut.readers.words import extra
from tailcut.verbs.probing import Probing

extra("transformers", "transformers")

from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

__all__ = ["SpectralProbe"]


class SpectralProbe(Probing, TrainerCallback):
    """Accuracy at each rank and memorisation after epochs, in the trainer's own log.

    `trainer.add_callback(SpectralProbe(trainer))`: callbacks do not know their trainer, and only
    a trainer can write to its log. Each look copies the network and takes one pass over the
    training and the evaluation samples, in their order; the training itself goes on bit for bit
    as without. Logged are `tailcut/rank_1` ... (held-out accuracy of least squares in so many
    leading directions), `tailcut/best_rank`, `tailcut/effective_rank`, `tailcut/train_accuracy`,
    `tailcut/holdout_accuracy`, `tailcut/memorisation` and `tailcut/alarm`: 1 once a tenth of the
    training labels are predicted that unseen ones like them are not, which is warned of once.

    The network must return logits, alone, first in a tuple, or as `.logits`. On several devices
    the first one looks at its share of the samples.

    Args:
        trainer: Whose callback it becomes.
        train: Batches to look at; the trainer's training samples if not given.
        holdout: Batches it is not trained on, whose labels may be noisy; the trainer's evaluation
            samples if not given.
        epochs: After which to look: every n-th for an integer, else those listed, counted from 1.
        repair_at_end: Repair a copy of the network after the last epoch, see `tailcut.repair`;
            what the training changed may be cut, too, as the weights before it are kept.

    Attributes:
        readings: What was seen, in order: `tailcut.verbs.probing.Reading`.
        alarm: The first epoch after which the network memorised; None if none.
        repair_: The `tailcut.Repair`; None without `repair_at_end`.

    Raises:
        DataError: Epochs that are none. When the training starts: no held-out samples, or
            batches that cannot be used.
        HeadError: When the training starts: no linear head that gives the network's logits.
    """

    def __init__(
        self,
        trainer: Trainer,
        train: Batches | None = None,
        holdout: Batches | None = None,
        *,
        epochs: int | Collection[int] = 1,
        repair_at_end: bool = False,
    ) -> None:
        super().__init__(train, holdout, epochs=epochs, repair_at_end=repair_at_end)
        self.trainer = trainer
        self._loaders: tuple[Any, Any] = train, holdout

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse at once what cannot be looked at."""
        train, holdout = self.train, self.holdout
        if train is None:
            train = self._loader(self.trainer.train_dataset)
        if holdout is None and self.trainer.eval_dataset is not None:
            holdout = self._loader(self.trainer.eval_dataset)
        self._loaders = train, holdout
        if state.is_world_process_zero:
            self._begin(kwargs["model"], train, holdout)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look, and log what is seen."""
        if state.is_world_process_zero:
            found = self._look(kwargs["model"], *self._loaders, round(state.epoch or 0))
            if found:
                self.trainer.log(found)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Repair, if that was asked for."""
        if state.is_world_process_zero:
            self._end(kwargs["model"], *self._loaders)

    def _loader(self, dataset: Any) -> Any:
        """In the order of the data set, without the columns that the network does not take."""
        return self.trainer.get_test_dataloader(dataset)
