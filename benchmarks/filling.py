"""What came later, for results that lack it (`--again` of `study.py`).

Rivals and label scores that are missing are added; the repair is made again by the rules of today.
"""

from __future__ import annotations

from typing import Any

from measuring import Case, of_repair, rivals
from scoring import label_scores
from trainings import Training, described

from tailcut.errors import DataError

FILLS = {"rivals": "rivals", "scores": "auroc", "repair": "accuracy"}
"""What can be filled or made again, and where it stands in a result."""


def fill(
    training: Training, found: dict[str, Any], part: str, device: str = "cpu"
) -> dict[str, Any] | None:
    """A result with what it lacks, or with today's repair; None where it lacks nothing.

    Args:
        training: A finished one, the very network that was measured.
        found: Its result.
        part: Of `FILLS`.
        device: To work on; it is told, with the names, under `filled`.

    Raises:
        DataError: The weights at hand are not those that were measured.
    """
    _require_same(training, found)
    problem = training.problem()
    case = Case(training, problem, training.network(problem).to(device))
    if part == "repair":
        fix, alone = case.repaired(case.network), case.repaired(case.network, holdout=0)
        again = of_repair(case, fix, alone)
        return found | {
            **again,
            "accuracy": found["accuracy"] | again["accuracy"],
            "waterfall": again["waterfall"] | _ceilings(found["waterfall"]),
            "repaired_on": described(case.device),
        }
    key = FILLS[part]
    if part == "rivals":
        later = rivals(case, known=found[key])
    else:
        later = label_scores(case.own, case.untouched, case.clean_N, known=found[key])
    if not later:
        return None
    names = {*later, *found.get("filled", {}).get("names", ())}
    return {
        **found,
        key: found[key] | later,
        "filled": {"names": sorted(names), "device": described(case.device)},
    }


def _ceilings(waterfall: dict[str, Any]) -> dict[str, Any]:
    """What true labels would give, in which the rules have no part."""
    return {name: each for name, each in waterfall.items() if name.startswith("true labels")}


def _require_same(training: Training, found: dict[str, Any]) -> None:
    """Its accuracies after training are the network's fingerprint."""
    told = training.finished()["baselines"]
    if any(found["accuracy"].get(name) != value for name, value in told.items()):
        raise DataError(
            f"the result of {training.name} is of another network",
            wanted="the weights that were measured",
            advice="Measure into another folder, or delete the result",
        )
