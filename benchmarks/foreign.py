"""Networks and data from packages of the extra `study`, under names that the lab's registries take.

Nothing of it is committed: weights and texts are loaded from the installed packages by name.
"""

from __future__ import annotations


def register() -> None:
    """Add them to `networks.NETWORKS` and `experiment.PROBLEMS`."""
