"""What a readout is fitted to: which labels, of which samples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Targets:
    """Labels and samples that a readout is fitted to.

    Attributes:
        rounds: Of inferring the true labels by expectation maximisation; 0 for those given.
        self_training: Rounds of self-training after them.
        views: Whether the samples are seen under the views, if there are any, or as they are.
    """

    rounds: int = 0
    self_training: int = 0
    views: bool = True

    @property
    def label_set(self) -> str:
        """Name of the labels in the moments."""
        return "latent" if self.rounds or self.self_training else "given"

    def __str__(self) -> str:
        parts = []
        if self.rounds:
            parts.append(f" on labels inferred in {_counted(self.rounds)}")
        if self.self_training:
            parts.append(f" after {_counted(self.self_training)} of self-training")
        return ",".join(parts)


GIVEN = Targets()
"""The labels as they are given."""

AS_THEY_ARE = Targets(views=False)
"""The same, of the samples without views."""


def _counted(rounds: int) -> str:
    return "one round" if rounds == 1 else f"{rounds} rounds"
