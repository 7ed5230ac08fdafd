"""Averages of a network's weights, kept while it is trained."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from tailcut._typing import Inputs
from tailcut.lab.training.records import State, copied

_DECAY = 0.999
"""Of the exponential average, which it rises to."""


class Averages:
    """Two averages: of every step and of the last epochs.

    "EMA" (Tarvainen & Valpola 2017) has a decay that rises to 0.999; "SWA" (Izmailov et al. 2018;
    deviation: the learning rate goes on falling) is the mean over the epochs in the last quarter,
    its BatchNorm statistics taken anew.
    """

    def __init__(self, network: nn.Module) -> None:
        self.parts = {
            "EMA": AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(), use_buffers=True),
            "SWA": AveragedModel(network),
        }

    def after_step(self, network: nn.Module, steps: int) -> None:
        """Take in a step, of which there were `steps` before."""
        average = self.parts["EMA"]
        average.multi_avg_fn = get_ema_multi_avg_fn(min(_DECAY, (1 + steps) / (10 + steps)))
        average.update_parameters(network)

    @property
    def steps(self) -> int:
        """Taken in so far."""
        return int(self.parts["EMA"].n_averaged)

    def after_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        """Take in an epoch of so many, 1 the first."""
        if 4 * epoch > 3 * epochs:
            self.parts["SWA"].update_parameters(network)

    def states(self, inputs: Iterable[Inputs]) -> dict[str, State]:
        """Both by name at the end; `inputs` are batches of all training samples."""
        update_bn(inputs, self.parts["SWA"])
        return {name: copied(each.module) for name, each in self.parts.items()}
