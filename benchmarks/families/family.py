"""What a row of the support table is measured on: a network with random weights, and inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 3
SAMPLES = 24


@dataclass(frozen=True)
class Family:
    """A kind of network in a library.

    Attributes:
        library: Where it comes from, as users call it.
        name: Of the family in that library.
        make: Builds what is passed as the model, small, with weights from torch's own generator.
        inputs: N samples for it, from a seed.
    """

    library: str
    name: str
    make: Callable[[], Any]
    inputs: Callable[[int, torch.Generator], Tensor | dict[str, Tensor]]

    def __str__(self) -> str:
        return f"{self.library} {self.name}"


def images(side: int, channels: int = 3) -> Callable[[int, torch.Generator], Tensor]:
    """Images of noise."""
    return lambda n, generator: torch.randn(n, channels, side, side, generator=generator)


def noise(*shape: int) -> Callable[[int, torch.Generator], Tensor]:
    """Inputs of any shape."""
    return lambda n, generator: torch.randn(n, *shape, generator=generator)


def named(
    name: str, inputs: Callable[[int, torch.Generator], Tensor]
) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """The same in a dict, as Hugging Face's networks want them."""
    return lambda n, generator: {name: inputs(n, generator)}


def tokens(
    length: int = 8, least: int = 3, most: int = 50
) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """Token numbers, every second text with padding behind."""

    def draw(n: int, generator: torch.Generator) -> dict[str, Tensor]:
        ids_NT = torch.randint(least, most, (n, length), generator=generator)
        mask_NT = torch.ones_like(ids_NT)
        ids_NT[::2, -2:], mask_NT[::2, -2:] = 1, 0
        return {"input_ids": ids_NT, "attention_mask": mask_NT}

    return draw


def spread(network: nn.Module) -> nn.Module:
    """The network with weights that are not all alike where it starts with zeros.

    Some start with a head of zeros, with which all logits are alike.
    """
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network
