"""The model card of a repaired network: the summary of a run in, a README.md out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tailcut.report.page import filtered, number, percent, points, reach_of

_TAILCUT = """which cuts memorised label noise out of the weights of a trained network: no
retraining, no clean labels, and the same architecture."""


def card(summary: Mapping[str, Any], *, network: str, load: str, header: str) -> str:
    """A README.md for a folder of weights that says what was done to them, in Markdown.

    Args:
        summary: What is in a run's `result.json`.
        network: Name of its class.
        load: The line of Python that loads it.
        header: YAML between two lines of dashes, for the Hugging Face hub.
    """
    made = summary["verdict"] == "cut"
    title = "with memorised label noise cut out" if made else "as it was: nothing was cut"
    does = "This network was changed" if made else "This network was examined and left as it was"
    lines = [
        header.strip(),
        "",
        f"# {network}, {title}",
        "",
        f"{does} by tailcut, {_TAILCUT}",
        "",
        "## What was done",
        "",
        *(f"* **{name}**: {text}" for name, text in _done(summary) if text),
        "",
        "Accuracies on given labels count wrong labels too. The noise is an estimate.",
        "",
        "## How to load it",
        "",
        "```python",
        load,
        "```",
        "",
        "## Versions",
        "",
        ", ".join(f"{name} {version}" for name, version in (summary["versions"] or {}).items()),
        "",
    ]
    return "\n".join(lines)


def header(*, library: str | None, task: str | None, base: str | None) -> str:
    """What the Hugging Face hub reads at the top of a card.

    Args:
        library: Such as transformers.
        task: Such as image-classification.
        base: Name on the hub of the network that it was made of.
    """
    known = {"library_name": library, "pipeline_tag": task, "base_model": base}
    lines = [f"{name}: {value}" for name, value in known.items() if value]
    return "\n".join(["---", *lines, "tags:", "- tailcut", "- label-noise", "---"])


def _done(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each part of a repair, in words; empty where it had no part."""
    made = summary["verdict"] == "cut"
    return [
        ("Verdict", f"{summary['verdict']}: {summary['reason']}"),
        ("Head", _head(summary) if made else ""),
        ("Layers", _layers(summary) if made else ""),
        ("Labels", _labels(summary) if made else ""),
        ("Label noise in the training data, estimated", _noise(summary)),
        ("Before the cut", _agreement(summary)),
        ("Held-out given labels", _holdout(summary)),
        ("True labels", _true(summary)),
        ("Inputs", (summary.get("preprocessing") or {}).get("images", "")),
    ]


def _head(summary: Mapping[str, Any]) -> str:
    rank, width = summary["rank"], summary["width"]
    return f"readout {summary['readout']}, at rank {rank} of {width}"


def _layers(summary: Mapping[str, Any]) -> str:
    return filtered(summary, reach_of(summary)) or "untouched"


def _labels(summary: Mapping[str, Any]) -> str:
    rounds, again = summary.get("rounds"), summary.get("self_training")
    if not rounds:
        return "the head was fitted to the labels as they were given"
    text = f"the head was fitted to the true labels as they were inferred in {rounds} "
    text += "round" if rounds == 1 else "rounds"
    text += ", by readouts that had not seen the label and by a matrix of which class is given "
    text += "for which"
    return f"{text}; then self-training, {again} more" if again else text


def _noise(summary: Mapping[str, Any]) -> str:
    noise = summary.get("noise")
    return "cannot be estimated" if noise is None else percent(noise["rate"])


def _agreement(summary: Mapping[str, Any]) -> str:
    found = summary.get("agreement")
    if not found:
        return ""
    return f"it predicted {percent(found['train'])} of its {number(found['n'])} training labels"


def _holdout(summary: Mapping[str, Any]) -> str:
    found = summary.get("holdout")
    if found is None:
        return "none were there: the gain is not checked"
    low, high = found["interval"]
    text = f"accuracy {percent(found['before'])} before, {percent(found['after'])} after "
    text += f"(n = {number(found['n'])}); gain on true labels, as they imply it, "
    return text + f"{points(found['gain'])} points (95 % interval {points(low)} to {points(high)})"


def _true(summary: Mapping[str, Any]) -> str:
    found = summary.get("clean")
    if found is None:
        return ""
    change = f"accuracy {percent(found['before'])} before, {percent(found['after'])} after"
    return f"{change} (n = {number(found['n'])}); they had no part in any choice"
