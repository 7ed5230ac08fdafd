"""Summaries as a run writes them, with made-up numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tailcut.report.page import page

RANK = 23
RANKS = sorted({round(2 ** (step / 8)) for step in range(73)})
VIEWS = {"noise/8": 0.92, "noise/4": 0.41, "noise/2": 0.07, "shift": -0.01}


@pytest.fixture
def full():
    """Every part there."""
    return _full()


@pytest.fixture
def bare():
    """What a page needs and no more."""
    return _bare()


@pytest.fixture(scope="session")
def full_page():
    """The page of the full summary."""
    return page(_full())


def _full() -> dict[str, Any]:
    return {
        **_bare(),
        "schema": 1,
        "title": "tailcut demo: digits",
        "strength": 300.0,
        "layers": {"filtered": 7, "of": 8, "skipped": {"stem": "its weight is computed"}},
        "memorisation": {"train": 0.98, "views": VIEWS},
        "noise": {"rate": 0.38, "transition": _transition(10)},
        "holdout": {
            "n": 200,
            "before": 0.48,
            "after": 0.61,
            "gain": 0.13,
            "interval": [0.08, 0.18],
        },
        "clean": {"n": 497, "before": 0.69, "after": 0.94, "best_epoch": 0.92},
        "baselines": {
            "last epoch": 0.69,
            "oracle early stopping": 0.92,
            "noisy-holdout early stopping": 0.91,
            "paper's cut": 0.82,
        },
        "curve": {
            "readout": "lda",
            "n": {"given": 200, "clean": 497},
            "ranks": RANKS,
            "given": [_hump(rank, 0.14, 0.61, 0.52) for rank in RANKS],
            "clean": [_hump(rank, 0.19, 0.94, 0.81) for rank in RANKS],
        },
        "spectrum": _spectrum(512),
        "candidates": _candidates(),
        "seconds": {"survey": 0.21, "layers and views": 1.6, "candidates": 3.25},
        "versions": {"tailcut": "0.1.0", "torch": "2.8.0", "python": "3.11.9"},
    }


def _bare() -> dict[str, Any]:
    return {
        "verdict": "cut",
        "reason": "lda at rank 23, all layers truncated at 300: +13.0 points [+8.0, +18.0] "
        "on 200 held-out labels",
        "readout": "lda",
        "rank": RANK,
        "width": 512,
    }


def _hump(rank: int, first: float, best: float, last: float) -> float:
    """Rises to RANK, then falls slowly."""
    if rank <= RANK:
        return first + (best - first) * math.log(rank) / math.log(RANK)
    return best - (best - last) * math.log(rank / RANK) / math.log(512 / RANK)


def _transition(classes: int) -> list[list[float]]:
    spread = [[0.38 / (classes - 1)] * classes for _ in range(classes)]
    for true, row in enumerate(spread):
        row[true] = 0.62
    spread[3][5], spread[3][3] = 0.3, 0.62 + 0.38 / (classes - 1) - 0.3
    return spread


def _spectrum(width: int) -> dict[str, Any]:
    raw = [math.exp(-place / 9) + 4e-3 / (1 + place) for place in range(width)]
    return {
        "shares": [value / sum(raw) for value in raw],
        "effective_rank": 31.2,
        "participation_ratio": 12.0,
        "references": {"Marchenko-Pastur": 200, "Gavish-Donoho": 143, "parallel analysis": 28},
        "segregation": {"index": 0.31, "p_value": 0.05},
    }


def _candidates() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"strength": None, "readout": "own head", "rank": None, "accuracy": 0.48, "log_loss": 1.9}
    ]
    for place, readout in enumerate(("project", "centroid", "ridge", "lda")):
        for rank in RANKS[::3]:
            loss = 1.7 - 0.1 * place + 0.05 * abs(math.log(rank / RANK))
            rows.append(
                {
                    "strength": 300.0,
                    "readout": readout,
                    "rank": rank,
                    "rounds": 1 if readout == "lda" else 0,
                    "accuracy": 0.9 - loss / 4,
                    "log_loss": loss,
                }
            )
    best = min(rows, key=lambda row: row["log_loss"])
    return [{**row, "chosen": row is best} for row in rows]
