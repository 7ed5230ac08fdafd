"""Lightning's face: a callback that watches the spectrum of a network through its training."""

from __future__ import annotations

from typing import Any

from tailcut.readers.words import extra
from tailcut.verbs.probing import Probing

extra("lightning.pytorch", "lightning")

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["SpectralProbe"]


class SpectralProbe(Probing, Callback):
    """Accuracy at each rank and memorisation after epochs, in the trainer's own log.

    Each look copies the network and takes one pass over its training and its validation batches;
    the training itself goes on bit for bit as without. Logged are `tailcut/rank_1` ... (held-out
    accuracy of least squares in so many leading directions), `tailcut/best_rank`,
    `tailcut/effective_rank`, `tailcut/train_accuracy`, `tailcut/holdout_accuracy`,
    `tailcut/memorisation` and `tailcut/alarm`: 1 once a tenth of the training labels are predicted
    that unseen ones like them are not, which is warned of once. Other callbacks may monitor each.

    The module's `forward` must return logits. On several devices the first one looks at its share
    of the samples.

    Args:
        train: Batches to look at; the trainer's training batches if not given.
        holdout: Batches it is not trained on, whose labels may be noisy; the trainer's validation
            batches if not given.
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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse at once what cannot be looked at."""
        if trainer.is_global_zero:
            self._begin(pl_module, *self._batches(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, and log what is seen."""
        if trainer.is_global_zero:
            found = self._look(pl_module, *self._batches(trainer), trainer.current_epoch + 1)
            pl_module.log_dict(found, on_step=False, on_epoch=True, rank_zero_only=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Repair, if that was asked for."""
        if trainer.is_global_zero:
            self._end(pl_module, *self._batches(trainer))

    def _batches(self, trainer: Trainer) -> tuple[Any, Any]:
        train = trainer.train_dataloader if self.train is None else self.train
        return train, trainer.val_dataloaders if self.holdout is None else self.holdout
