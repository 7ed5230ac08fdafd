"""The files of a repaired network, with the card of one that is a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from tailcut.files import store
from tailcut.network import pretrained
from tailcut.network.pretrained import Form
from tailcut.report.card import card, header

CARD = "README.md"
"""Of a folder of weights."""

_LINE = "---\n"


def write_network(place: Path, network: nn.Module, summary: Mapping[str, Any], form: Form) -> None:
    """The weights of a network; a folder gets a card that says what was done to them.

    Args:
        place: To write to.
        network: Repaired.
        summary: What is in the run's `result.json`.
        form: Of the file of weights.
    """
    pretrained.save(network, place, form)
    folder = place / pretrained.FOLDER
    if not folder.is_dir():
        return
    path, kind = folder / CARD, type(network).__name__
    load = f"{summary['load']}  # or OWNER/NAME, once it is on the hub"
    top = _header(path) or header(**pretrained.about(network))
    store.write_text(path, card(summary, network=kind, load=load, header=top))


def _header(path: Path) -> str | None:
    """Of a card that the network has written itself; the hub needs it to load such networks."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    parts = text.split(_LINE, 2)
    return f"{_LINE}{parts[1]}---" if text.startswith(_LINE) and len(parts) == 3 else None
