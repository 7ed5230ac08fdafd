"""The study told in Markdown: docs/study/study.md, and the table that the README quotes from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from telling import BACKBONES, FIRST, RAW, STEPS, averages, easy, spread

from tailcut.files import store

START, END = "<!-- written by benchmarks/study.py page -->", "<!-- end -->"

_SETTING = "setting (seeds)"
_COLUMNS = {
    "last epoch": ["last epoch"],
    "early stopping, noisy holdout": ["noisy-holdout early stopping"],
    "early stopping, oracle": ["oracle early stopping"],
    "paper's cut": ["paper's cut"],
    "best baseline that folds": ["best foldable rival by test"],
    "**tailcut**": ["tailcut"],
    "tailcut, no holdout": ["tailcut, no holdout"],
    "first rules": [FIRST],
    "first rules, no holdout": [f"{FIRST}, no holdout"],
    "untrained, repaired": ["untrained, repaired"],
    "raw inputs": list(RAW),
    "untouched backbone": list(BACKBONES),
}
"""Headings, and what stands below them: the best by test of these, where they are several."""

_RIVALS = {
    "the last epoch": ["last epoch"],
    "early stopping by the noisy holdout": ["noisy-holdout early stopping"],
    "early stopping by the oracle": ["oracle early stopping"],
    "the paper's cut": ["paper's cut"],
    "the best baseline that folds, chosen by test": ["best foldable rival by test"],
    "an untrained network, repaired": ["untrained, repaired"],
    "the better of two classifiers of the raw inputs": list(RAW),
    "the best of three classifiers of the untouched backbone": list(BACKBONES),
    "its first rules": [FIRST],
}
BEHIND = 0.5
"""Points from which on tailcut is called behind."""

_INTRODUCTION = """\
# Real networks, measured

`python benchmarks/study.py page` writes this page, its figures and the table of the README from
the files in `benchmarks/results/study`. Accuracy on true test labels, %, mean ± standard deviation
over seeds. Every network has learned its noisy labels by heart. tailcut and the baselines choose
with noisy held-out labels; the oracle chooses its epoch, and "best baseline that folds" its method,
by the true test labels, which nobody has.

Rules and numbers of tailcut may be made with the development settings in view; validation settings
only report (`benchmarks/settings.py`). An *easy* setting, of which a linear classifier of the raw
inputs knows nearly as much (within 5 points), is left out of every average, and so is one whose
raw inputs were not asked yet.

*First rules* are those before each candidate was judged under label noise of its own; not every
network is at hand to be repaired again. In brackets: fewer seeds than the row has. The steps that a
gain comes from are by the rules that each network was last repaired with."""

_FIGURES = """\
## When which cut helps

Gain over the last epoch of the cut of the features (the own head behind the rank that the holdout
finds) and of the cut of the layers (the filter of least held-out loss, own head, all ranks), one
point for each network with wrong labels, against what tells the networks apart. Last: which of the
two gains more, by effective rank and neural collapse.

![against the effective rank of the features](phase-effective-rank.svg)
![against the neural collapse to given labels](phase-NC1-of-given-labels.svg)
![against what is remembered under the view that is remembered least](phase-still-remembered.svg)
![which cut gains more, by effective rank and NC1](phase-diagram.svg)"""


def page(results: pd.DataFrame) -> str:
    """The whole of it."""
    parts = [_INTRODUCTION]
    known = easy(results)
    for role in ("validation", "development"):
        part = results[results["role"] == role]
        if part.empty:
            continue
        counted = part[~part["setting"].isin(known)]
        parts += [f"## {role.capitalize()} settings", table(part, known)]
        parts += ["### Where the gain comes from", waterfall(part)]
        if len(counted):
            parts.append(f"![gain, step by step](waterfall-{role}.svg)")
        parts += ["### Wrong labels found (AUROC, %), and how many there are", labels(part)]
        if any(" held out" in name for name in part.dropna(axis=1, how="all")):
            parts += ["### Smaller holdouts", holdouts(part)]
        parts += ["### Averages", "```text\n" + "\n".join(averages(counted)) + "\n```"]
    return "\n\n".join([*parts, _FIGURES]) + "\n"


def readme(text: str, results: pd.DataFrame) -> str:
    """The README with its table of validation settings written anew."""
    part, known = results[results["role"] == "validation"], easy(results)
    counted = part[~part["setting"].isin(known)]
    told = "\n\n".join(
        [table(part, known), *(in_short(counted, name) for name in ("tailcut", FIRST))]
    )
    return filled(text, START, told)


def filled(text: str, start: str, told: str) -> str:
    """A text with what stands between one of its markers and the next end written anew."""
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(END)
    return f"{before}{start}\n\n{told}\n\n{END}{after}"


def in_short(counted: pd.DataFrame, ours: str) -> str:
    """By how much tailcut is ahead or behind, setting by setting and on average.

    Args:
        counted: Results of the settings that count.
        ours: "tailcut", or by its first rules; on networks that were not repaired so nothing is
            compared.
    """
    means = counted.dropna(subset=[ours]).groupby("setting").mean(numeric_only=True)
    lines = [f"**{ours}** is ahead of each by so many points, over {len(means)} settings:", ""]
    for name, others in _RIVALS.items():
        there = means.reindex(columns=list(others)).max(axis=1)
        gaps = (means[ours] - there).dropna()
        if gaps.empty or others == [ours]:
            continue
        behind = [f"{setting} {gap:.1f}" for setting, gap in gaps.items() if gap < -BEHIND]
        told = f"; behind on {', '.join(behind)}" if behind else ""
        lines.append(f"* {name}: {spread(gaps)} over {len(gaps)}{told}.")
    return "\n".join(lines).replace(" +- ", " ± ")


def table(part: pd.DataFrame, known: set[str]) -> str:
    """Accuracy of everything that a sceptic compares with."""
    rows = []
    for setting, own in part.groupby("setting"):
        cells = {_SETTING: named(str(setting), own, known)}
        for heading, names in _COLUMNS.items():
            cells[heading] = best(own, names)
        rows.append(cells)
    return markdown(pd.DataFrame(rows))


def named(setting: str, own: pd.DataFrame, known: set[str]) -> str:
    """With the number of seeds, and why it does not count."""
    asked = set(RAW) <= set(own.dropna(axis=1, how="all"))
    why = ", easy" if setting in known and asked else ", raw inputs not asked yet"
    return f"{setting} ({len(own)}{why if setting in known else ''})"


def best(own: pd.DataFrame, names: Sequence[str]) -> str:
    """Of several columns that of the best mean."""
    there = own.reindex(columns=list(names)).dropna(axis=1, how="all")
    if not there.shape[1]:
        return ""
    found = own[there.mean().idxmax()].dropna()
    fewer = f" ({len(found)})" if len(found) < len(own) else ""
    return f"{spread(found)}{fewer}"


def waterfall(part: pd.DataFrame) -> str:
    """Accuracy with one step more each: the candidate of least held-out loss (the best by test)."""
    rows = []
    for setting, own in part.groupby("setting"):
        cells = {"setting": setting}
        for step in STEPS:
            chosen, most = (own.get(f"{kind}step: {step}") for kind in ("", "best of "))
            there = chosen is not None and most is not None and not chosen.isna().all()
            same = step.startswith(("untouched", "true labels"))
            told = f"{chosen.mean():.1f}" if there else ""
            cells[step] = told if same or not there else f"{told} ({most.mean():.1f})"
        rows.append(cells)
    return markdown(pd.DataFrame(rows))


def labels(part: pd.DataFrame) -> str:
    """Label scores, and the share of wrong labels with its estimate."""
    scores = [name for name in part.dropna(axis=1, how="all") if name.startswith("AUROC: ")]
    rows = []
    for setting, own in part[part["wrong labels"] > 0].groupby("setting"):
        cells = {"setting": setting, "wrong": spread(own["wrong labels"])}
        cells["estimated"] = spread(own["wrong labels, estimated"].dropna().astype(float))
        cells |= {name.removeprefix("AUROC: "): best(own, [name]) for name in scores}
        rows.append(cells)
    return markdown(pd.DataFrame(rows))


def holdouts(part: pd.DataFrame) -> str:
    """Accuracy of the choice with fewer held-out labels, where that was measured."""
    sizes = [name for name in part.dropna(axis=1, how="all") if name.endswith(" held out")]
    sizes.sort(key=lambda name: int(name.split()[0]))
    rows = []
    for setting, own in part.dropna(subset=sizes, how="all").groupby("setting"):
        cells = {_SETTING: f"{setting} ({len(own)})", "last epoch": best(own, ["last epoch"])}
        cells["none"] = best(own, ["tailcut, no holdout"])
        cells |= {name.split()[0]: best(own, [name]) for name in sizes}
        rows.append(cells | {"all": best(own, ["tailcut"])})
    return markdown(pd.DataFrame(rows))


def markdown(frame: pd.DataFrame) -> str:
    """A table; empty cells where nothing was measured."""
    lines = [list(frame.columns), ["---"] * frame.shape[1]]
    lines += frame.fillna("").astype(str).to_numpy().tolist()
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace(" +- ", " ± ")


def write(results: pd.DataFrame, folder: Path, front: Path) -> list[Path]:
    """The page, and the README's table."""
    store.write_text(folder / "study.md", page(results))
    store.write_text(front, readme(front.read_text(encoding="utf-8"), results))
    return [folder / "study.md", front]
