"""Rivals that came later, for results that lack them (`study.py measure --again rivals`)."""

from __future__ import annotations

from typing import Any

from measuring import Case, described, rivals
from scoring import label_scores
from trainings import Training

from tailcut.errors import DataError

FILLS = ("rivals",)


def fill(training: Training, found: dict[str, Any], device: str = "cpu") -> dict[str, Any] | None:
    """A result with the rivals and label scores that it lacks; None where it lacks none.

    Args:
        training: A finished one, the very network that was measured.
        found: Its result.
        device: To work on; it is told, with the names, under `filled`.

    Raises:
        DataError: The weights at hand are not those that were measured.
    """
    _require_same(training, found)
    problem = training.problem()
    case = Case(training, problem, training.network(problem).to(device))
    later = rivals(case, known=found["rivals"])
    scores = label_scores(case.own, case.untouched, case.clean_N, known=found["auroc"])
    if not later and not scores:
        return None
    names = {*later, *scores, *found.get("filled", {}).get("names", ())}
    return {
        **found,
        "rivals": found["rivals"] | later,
        "auroc": found["auroc"] | scores,
        "filled": {"names": sorted(names), "device": described(case.device)},
    }


def _require_same(training: Training, found: dict[str, Any]) -> None:
    """Its accuracies after training are the network's fingerprint."""
    told = training.told()["baselines"]
    if any(found["accuracy"].get(name) != value for name, value in told.items()):
        raise DataError(
            f"the result of {training.name} is of another network",
            wanted="the weights that were measured",
            advice="Measure into another folder, or delete the result",
        )
