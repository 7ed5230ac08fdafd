"""The page of an audit: how many labels are wrong, and the most suspicious ones to look at."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pandas as pd

from tailcut.report.page import percent

_SIDE = 96
"""Pixels of a thumbnail's longer side."""

_LETTERS = 400
"""Of a text that is shown."""

_PAIRS = 12
"""Pairs of classes to filter by: those with most suspects."""


@dataclass(frozen=True)
class Suspect:
    """A label that looks wrong, as the page shows it.

    Attributes:
        key: Path, row number or key of the sample.
        given: Name of its given label.
        suggested: Name of the predicted one.
        p_wrong: Probability that the given label is wrong.
        picture: A data URI; None without an image.
        text: None without a text.
    """

    key: str
    given: str
    suggested: str
    p_wrong: float
    picture: str | None = None
    text: str | None = None

    @property
    def pair(self) -> str:
        """What the page filters by."""
        return f"{self.given} \N{RIGHTWARDS ARROW} {self.suggested}"


def suspect(row: Mapping[str, Any], item: Any) -> Suspect:
    """A row of the audit's table with its sample.

    Args:
        row: With `key`, `given_name`, `suggested_name` and `p_wrong`.
        item: A PIL image, a tensor (C x H x W of 1 or 3 channels), a text, or what has no picture.
    """
    names = (str(row["key"]), str(row["given_name"]), str(row["suggested_name"]))
    text = item if isinstance(item, str) else None
    if text is not None and len(text) > _LETTERS:
        text = f"{text[: _LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
    return Suspect(*names, float(row["p_wrong"]), thumbnail(item), text)


def thumbnail(item: Any) -> str | None:
    """A small JPEG as a data URI; None for what is no image, or without Pillow."""
    try:
        from PIL import Image
    except ImportError:
        return None
    if getattr(item, "ndim", 0) == 3 and item.shape[0] in (1, 3):
        channels_CHW = item.float()
        low, high = float(channels_CHW.min()), float(channels_CHW.max())
        scaled_CHW = (255 * (channels_CHW - low) / max(high - low, 1e-12)).byte()
        item = Image.fromarray(scaled_CHW.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy())
    if not isinstance(item, Image.Image):
        return None
    small = item.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def gallery(summary: Mapping[str, Any], issues: pd.DataFrame, suspects: Sequence[Suspect]) -> str:
    """One HTML page that needs no other file and no network.

    Args:
        summary: `title`, `samples`, `noise_rate`, `noise_interval`, `expected_precision` and
            `expected_recall`; what is missing or null is said to be unknown.
        issues: The audit's table, with names.
        suspects: To show, the most suspicious first.
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = percent
    source = files("tailcut.report").joinpath("gallery.html").read_text(encoding="utf-8")
    pairs = [name for name, _ in Counter(each.pair for each in suspects).most_common(_PAIRS)]
    return environment.from_string(source).render(
        summary,
        flagged=int(issues["is_label_issue"].sum()),
        confusions=confusions(issues),
        suspects=suspects,
        pairs=pairs,
        csv=_csv(suspects),
    )


def _csv(suspects: Sequence[Suspect]) -> str:
    rows = [(each.key, each.given, each.suggested, each.p_wrong) for each in suspects]
    names = ["key", "given_name", "suggested_name", "p_wrong"]
    return pd.DataFrame(rows, columns=pd.Index(names)).to_csv(index=False, float_format="%.4f")


def confusions(issues: pd.DataFrame) -> list[tuple[str, str, int]]:
    """(given, suggested, flagged labels) of the commonest pairs, most first."""
    flagged = issues[issues["is_label_issue"]]
    pairs = zip(flagged["given_name"], flagged["suggested_name"], strict=True)
    return [(*pair, count) for pair, count in Counter(pairs).most_common(_PAIRS)]
