"""Encoders of tokens as networks with a head: the mean of their last states, and a linear layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class MeanPooled(nn.Module):
    """An encoder under a head of its own, which nobody has trained.

    Its features are the mean of the last states of the tokens that are not padding, which is what
    sentence encoders are trained for.

    Args:
        encoder: Returns `last_hidden_state` (N x tokens x D), as those of transformers do.
        width: D.
        classes: Outputs of the head.
    """

    def __init__(self, encoder: nn.Module, width: int, classes: int = 2) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, classes)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """Outputs of the head (N x classes) of what the encoder takes."""
        found: Any = self.encoder(*inputs, **named)
        states_NTD = found.last_hidden_state
        mask_NT = named.get("attention_mask")
        if mask_NT is None:
            return self.head(states_NTD.mean(1))
        mask_NT1 = mask_NT[..., None].to(states_NTD)
        return self.head((states_NTD * mask_NT1).sum(1) / mask_NT1.sum(1).clamp(min=1))
