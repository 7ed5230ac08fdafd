"""What a view is: a perturbation of the inputs, or one inside the network while it sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tailcut._typing import Inputs

Perturbation = Callable[[Any, torch.Generator], Any]
"""(inputs of a batch, CPU generator) -> inputs of the same form."""

See = Callable[[Inputs], Inputs]
"""Inputs of a batch -> what a network is called with to see them under a view."""


@dataclass(frozen=True)
class View:
    """A named random perturbation of inputs.

    Attributes:
        name: For tables.
        perturb: (inputs, CPU generator) -> inputs of the same form and shape.
    """

    name: str
    perturb: Perturbation

    def __call__(self, inputs: Inputs, generator: torch.Generator) -> Inputs:
        """Perturbed inputs of one batch."""
        return self.perturb(inputs, generator)

    @contextmanager
    def on(self, model: nn.Module, generator: torch.Generator) -> Iterator[See]:
        """Let a network see inputs under the view: those that went through what is yielded.

        Other inputs it sees as they are, and afterwards it is as before.

        Args:
            model: In evaluation mode.
            generator: On the CPU; the same state and the same batches give the same view.
        """
        del model
        yield lambda inputs: self(inputs, generator)
