"""`--backbone MODEL`: a pretrained network, or an encoder of transformers under a head."""

from __future__ import annotations

from typing import Any

from torch import nn

from tailcut.cli import models
from tailcut.cli.preprocessing import Preprocessing, split
from tailcut.errors import concerning
from tailcut.network.batches import read
from tailcut.readers.words import extra, readable


def backbone(word: str | None, train: Any) -> nn.Module | None:
    """The network with the weights that it is published with; None without a word.

    Args:
        word: MODEL.
        train: Batches that it is to read: the inputs are those of the network to audit.

    Raises:
        SpecError: See `models.network`.
    """
    if word is None:
        return None
    with concerning("--backbone"):
        found = _encoder(word)
        if found is None:
            found = models.network(word).make(next(read(train)).inputs, None)
        return found.eval()


def _encoder(word: str) -> nn.Module | None:
    """Of transformers, with the mean of its states as features; None where it has a classifier."""
    kind, _, _ = word.partition(":")
    if kind != "hf":
        return None
    plain, asked = split(word, Preprocessing(), None)
    name, transformers = plain.partition(":")[2], extra("transformers", "hf")
    with readable(plain):
        config = transformers.AutoConfig.from_pretrained(name, **asked.arguments)
        if any(each.endswith("Classification") for each in config.architectures or ()):
            return None
        from tailcut.network.pooled import MeanPooled

        encoder = transformers.AutoModel.from_pretrained(name, **asked.arguments)
        return MeanPooled(encoder, config.hidden_size)
