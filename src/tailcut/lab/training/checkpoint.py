"""A file from which an interrupted training goes on to the same numbers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tailcut.errors import StoreError
from tailcut.files.whole import write_atomically
from tailcut.lab.data.problems import Problem
from tailcut.lab.training.recipe import Recipe
from tailcut.lab.training.records import Epoch, Trained
from tailcut.network.checkpoints import load_checkpoint


def about(problem: Problem, recipe: Recipe, seed: int) -> dict[str, Any]:
    """What a checkpoint belongs to: hyperparameters, seed, and a checksum of the given labels."""
    labels = zlib.crc32(problem.train.given.numpy().tobytes())
    return {**asdict(recipe), "seed": seed, "samples": len(problem.train), "labels": labels}


def keep(
    checkpoint: Path, parts: Mapping[str, Any], trained: Trained, about: dict[str, Any]
) -> None:
    """Write it whole or not at all.

    Args:
        checkpoint: The file.
        parts: What has a `state_dict`, by name: "network", "optimiser", ...
        trained: So far.
        about: See `about`.
    """
    content = {name: part.state_dict() for name, part in parts.items()}
    content["epochs"] = [asdict(epoch) for epoch in trained.epochs]
    content["oracle"], content["noisy"] = trained.oracle, trained.noisy
    content["about"] = about
    write_atomically(checkpoint, lambda place: torch.save(content, place))


def resumed(checkpoint: Path | None, parts: Mapping[str, Any], about: dict[str, Any]) -> Trained:
    """What was trained so far, the parts brought to that state; nothing without the file.

    Raises:
        StoreError: A file that is damaged, or of another training or network.
    """
    if checkpoint is None or not checkpoint.is_file():
        return Trained()
    content = load_checkpoint(checkpoint)
    theirs = content.get("about") if isinstance(content, dict) else None
    if theirs != about:
        raise StoreError(
            f"{checkpoint} is of another training: {theirs}",
            wanted=f"a checkpoint of {about}",
            advice="Delete it, or train into another directory",
        )
    try:
        for name, part in parts.items():
            part.load_state_dict(content[name])
        epochs = [Epoch(**epoch) for epoch in content["epochs"]]
        return Trained(epochs, content["network"], content["oracle"], content["noisy"])
    except (KeyError, TypeError, ValueError, RuntimeError) as cause:
        raise StoreError(
            f"{checkpoint} does not fit this network ({cause})",
            wanted="a checkpoint of the same network",
            advice="Delete it, or train into another directory",
        ) from None
