"""The page: the summary of a run in, one self-contained HTML text out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from tailcut.errors import StoreError
from tailcut.report.figures import (
    MOST_CLASSES,
    comparison,
    cut_rank,
    rank_curve,
    spectrum,
    transition,
)

_SAFE = "Cutting gains on labels that the network has not seen."
_UNSURE = "The network is cut; the held-out labels alone are not sure that this gains."
_VERDICTS = {
    "cut": "The network is cut; the reason says what is known of the gain.",
    "leave": "No cut gains for sure; the network stays as it is.",
    "unknown": "The data cannot tell whether a cut gains; the network stays as it is.",
}

_REQUIRED = ("verdict", "reason", "readout", "width")
_MOST_CANDIDATES = 15
_MOST_CONFUSIONS = 3
_MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"
_DASH = "\N{EN DASH}"


def page(summary: Mapping[str, Any]) -> str:
    """One HTML page that needs no other file, no script and no network.

    The same summary gives the same page. Every text in it is escaped.

    Args:
        summary: What is in a run's `result.json`. `verdict`, `reason`, `readout` and `width`
            must be there; what else is missing or null is left out of the page.

    Raises:
        StoreError: Something required is missing, or the verdict is none.
    """
    from jinja2 import Environment

    _check(summary)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=percent, points=points, number=number, share=_in_hundred)
    environment.filters["filtered"] = filtered
    environment.tests["known"] = _is_number
    source = files("tailcut.report").joinpath("template.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        summary,
        title=summary.get("title") or "tailcut report",
        meaning=_meaning(summary),
        cut=cut_rank(summary),
        filtered=filtered(summary, reach_of(summary)),
        figures={
            "curve": rank_curve(summary),
            "spectrum": spectrum(summary),
            "bars": comparison(summary),
            "transition": transition(summary),
        },
        held=_share_kept(summary),
        best=best_candidates(summary.get("candidates") or []),
        confusions=_confusions((summary.get("noise") or {}).get("transition") or []),
        most_classes=MOST_CLASSES,
    )


def percent(share: Any) -> str:
    """0.4812 as "48.1 %"; a dash for what is missing."""
    return f"{_in_hundred(share)}{_SPACE}%" if _is_number(share) else _DASH


def points(difference: Any) -> str:
    """A difference of shares in percentage points, with its sign."""
    return _signed(100 * difference, "+.1f") if _is_number(difference) else _DASH


def number(value: Any, digits: int = 1) -> str:
    """A number to some digits, a whole one without; a dash for what is missing."""
    if not _is_number(value):
        return _DASH
    return _signed(value, "d" if isinstance(value, int) else f".{digits}f")


def best_candidates(candidates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The 15 of least log loss, and the chosen one wherever it stands."""
    ranked = sorted(candidates, key=_loss)
    late = [row for row in ranked[_MOST_CANDIDATES:] if row.get("chosen")]
    return ranked[:_MOST_CANDIDATES] + late


def _loss(row: Mapping[str, Any]) -> float:
    loss = row.get("log_loss")
    return float(loss) if isinstance(loss, (int, float)) else math.inf


def _check(summary: Mapping[str, Any]) -> None:
    missing = [key for key in _REQUIRED if summary.get(key) is None]
    if missing:
        raise StoreError(
            f"a result without {', '.join(missing)}",
            wanted=f"{', '.join(_REQUIRED)} of a finished run",
            advice="Run the command again that wrote it",
        )
    if summary["verdict"] not in _VERDICTS:
        raise StoreError(
            f"a result with the verdict {summary['verdict']!r}",
            wanted=f"one of {', '.join(_VERDICTS)}",
            advice="Take result.json as tailcut wrote it",
        )


def _meaning(summary: Mapping[str, Any]) -> str:
    """The verdict in plain words; a cut may have been made for another reason than its gain."""
    interval = (summary.get("holdout") or {}).get("interval")
    if summary["verdict"] != "cut" or not interval or not _is_number(interval[0]):
        return _VERDICTS[summary["verdict"]]
    return _SAFE if interval[0] > 0 else _UNSURE


def filtered(cut: Mapping[str, Any], reach: str) -> str:
    """What was done to the layers, of the chosen cut or a candidate; empty if nothing."""
    parts = []
    if cut.get("strength"):
        parts.append(f"truncated at strength {number(cut['strength'], 0)}")
    if cut.get("denoising"):
        parts.append(f"denoised at {cut['denoising']:g}")
    layers = f"{reach} {' and '.join(parts)}".strip() if parts else ""
    rank = cut.get("fine_tuning")
    kept = f"fine-tuning kept to rank {rank}" if rank else ""
    return " and ".join(each for each in (kept, layers) if each)


def reach_of(summary: Mapping[str, Any]) -> str:
    """How many layers the filter reaches, the head aside."""
    known = summary.get("layers")
    if not known:
        return "layers"
    every = 0 < known["filtered"] == known["of"]
    return "all layers" if every else f"{known['filtered']} of {known['of']} layers"


def _share_kept(summary: Mapping[str, Any]) -> float | None:
    """Share of the variance in the kept directions."""
    shares, rank = (summary.get("spectrum") or {}).get("shares"), cut_rank(summary)
    return sum(share or 0 for share in shares[:rank]) if shares and rank else None


def _confusions(rows: Sequence[Sequence[float | None]]) -> list[tuple[float, int, int]]:
    """The commonest wrong labels: (share, true class, given class)."""
    wrong = [
        (share or 0, true, given)
        for true, row in enumerate(rows)
        for given, share in enumerate(row)
        if true != given and (share or 0) >= 0.01
    ]
    return sorted(wrong, key=lambda entry: (-entry[0], entry[1:]))[:_MOST_CONFUSIONS]


def _in_hundred(share: Any) -> str:
    return _signed(100 * share, ".1f") if _is_number(share) else _DASH


def _is_number(value: Any) -> bool:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _signed(value: float, form: str) -> str:
    return format(value, form).replace("-", _MINUS)
