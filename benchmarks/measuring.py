"""What is measured on one trained network (`measure`), and on its data alone (`measure_inputs`)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from corrective import corrective
from foreign import backbone
from geometry import geometry
from rawinputs import raw
from scoring import inputs_score, label_scores
from torch import Tensor, nn
from trainings import Training, described

import tailcut
from tailcut.files import store
from tailcut.lab.baselines.controls import of_inputs
from tailcut.lab.baselines.neighbours import nearest_neighbours
from tailcut.lab.baselines.papers_cut import papers_choice, papers_curve
from tailcut.lab.baselines.refits import lda_refit, logistic_refit
from tailcut.lab.baselines.registry import BASELINES, CONTROLS
from tailcut.lab.baselines.subject import Subject, folded
from tailcut.lab.data.problems import Problem
from tailcut.network.stream import device_of
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.verbs.preparation import prepare
from tailcut.verbs.survey import survey
from tailcut.verbs.viewing import fold_moments

HOLDOUTS = (50, 100, 200, 500, 1000)
"""Smaller holdouts to choose with."""


@dataclass(frozen=True, eq=False)
class Case:
    """A trained network with its data, as everything here sees it."""

    training: Training
    problem: Problem
    network: nn.Module

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return device_of(self.network)

    @cached_property
    def untrained(self) -> nn.Module:
        """The network before its first epoch: a control."""
        return self.training.untrained(self.problem).to(self.device)

    @cached_property
    def untouched(self) -> Subject | None:
        """A pretrained network before it was fine-tuned; None for one from scratch."""
        name = self.training.setting.network
        found = backbone(name, self.training.untrained(self.problem))
        return None if found is None else self.subject(found.to(self.device))

    def batches(self, part: str) -> Any:
        """Of "train", "holdout", "test", or of "true": the training samples, true labels."""
        samples = self.problem.train.true() if part == "true" else getattr(self.problem, part)
        return samples.loader(self.training.setting.batch)

    def subject(self, network: nn.Module) -> Subject:
        """Another network on this data."""
        return Subject(network, *(self.batches(part) for part in ("train", "holdout", "test")))

    @cached_property
    def own(self) -> Subject:
        """The network itself."""
        return self.subject(self.network)

    @cached_property
    def curve(self) -> dict[str, list[Any]]:
        """The paper's cut by rank."""
        return papers_curve(self.own)

    @cached_property
    def clean_N(self) -> Tensor:
        """True training labels."""
        assert self.problem.train.clean is not None
        return self.problem.train.clean

    def repaired(self, network: nn.Module, *, holdout: int | None = None) -> tailcut.Repair:
        """By today's version, with all of the holdout, the first of it, or (0) without any."""
        held = self.batches("holdout")
        if holdout:
            first = self.problem.holdout.rows(slice(holdout))
            held = first.loader(self.training.setting.batch)
        return tailcut.repair(
            network,
            self.batches("train"),
            None if holdout == 0 else held,
            clean=self.batches("test"),
            force=network is not self.network,  # an untrained one does not know its labels
            progress=False,
        )


def measure(training: Training, *, device: str = "cpu") -> dict[str, Any]:
    """Today's version, rivals, controls, the waterfall and the geometry, on one network.

    Args:
        training: A finished one.
        device: To work on.
    """
    start, problem, told = perf_counter(), training.problem(), training.finished()
    case = Case(training, problem, training.network(problem).to(device))
    fix, alone = case.repaired(case.network), case.repaired(case.network, holdout=0)
    others, found = rivals(case), of_repair(case, fix, alone)
    found["accuracy"] = {
        **told["baselines"],
        "paper's cut": papers_choice(case.curve),
        **found["accuracy"],
    }
    found["waterfall"] |= ceilings(case)
    return {
        "schema": store.SCHEMA,
        **{key: told[key] for key in ("name", "seed", "setting", "wrong", "fit", "samples")},
        **found,
        "rivals": others,
        "controls": controls(case),
        "auroc": label_scores(case.own, case.untouched, case.clean_N),
        "paper's cut by rank": {
            name: [round(each, 4) for each in values] for name, values in case.curve.items()
        },
        "corrective": confused(case, fix.model, others),
        "geometry": geometry(case.own, case.clean_N, fix.summary),
        "device": described(case.device),
        "seconds": round(perf_counter() - start, 1),
    }


def of_repair(case: Case, fix: tailcut.Repair, alone: tailcut.Repair) -> dict[str, Any]:
    """What the rules make of a network, with the holdout and without."""
    return {
        "accuracy": {
            "tailcut": fix.summary["clean"]["after"],
            "tailcut, no holdout": alone.summary["clean"]["after"],
            "best candidate": float(fix.candidates["clean"].max()),
        },
        "waterfall": waterfall(case, fix.candidates),
        "with_holdout": brief(fix.summary),
        "without_holdout": brief(alone.summary),
    }


def measure_holdouts(training: Training, *, device: str = "cpu") -> dict[str, Any]:
    """Accuracy after a repair with the first held-out samples alone, by how many they are."""
    problem = training.problem()
    case = Case(training, problem, training.network(problem).to(device))
    sizes = [size for size in HOLDOUTS if size < len(problem.holdout)]
    found = {
        str(size): case.repaired(case.network, holdout=size).summary["clean"]["after"]
        for size in sizes
    }
    return {"schema": store.SCHEMA, "name": training.name, "holdouts": found}


def measure_inputs(training: Training) -> dict[str, Any]:
    """What classifiers of the raw inputs come to, which no network has a part in."""
    problem = training.problem()
    pixels, clean_N = of_inputs(raw(problem)), problem.train.clean
    assert clean_N is not None
    return {
        "schema": store.SCHEMA,
        "name": training.data_name,
        "controls": {
            "LDA on raw inputs": lda_refit(pixels),
            "logistic regression on raw inputs": logistic_refit(pixels),
        },
        "auroc": inputs_score(pixels, clean_N),
    }


def rivals(case: Case, known: Collection[str] = ()) -> dict[str, float]:
    """Every post-hoc rival on the same network, and what must not help, but what is known."""
    named = {**BASELINES, **CONTROLS}
    named.pop("paper's cut")
    reads_text = case.problem.train.inputs.ndim == 2
    return {
        name: method(case.own)
        for name, method in named.items()
        if name not in known and not (reads_text and method.images_only)
    }


def controls(case: Case) -> dict[str, float]:
    """What a sceptic asks for first: is it the trained network that knows?

    The same repair on an untrained network (a pretrained one before it was fine-tuned), and for
    pretrained networks classifiers of the features that never saw a label. Those of the raw
    inputs: `measure_inputs`.
    """
    found = {"untrained, repaired": case.repaired(case.untrained).summary["clean"]["after"]}
    if case.untouched is not None:
        found["LDA on the untouched backbone"] = lda_refit(case.untouched)
        found["logistic regression on the untouched backbone"] = logistic_refit(case.untouched)
        found["5 nearest neighbours on the untouched backbone"] = nearest_neighbours(case.untouched)
    return found


def confused(
    case: Case, repaired: nn.Module, others: dict[str, float]
) -> dict[str, dict[str, float]] | None:
    """What corrective unlearning comes to under interclass confusion; None for other noise."""
    two = case.training.confused(case.problem)
    if two is None:
        return None
    loader = two.loader(case.training.setting.batch)
    return corrective(case.own, repaired, loader, case.clean_N, others)


def waterfall(case: Case, candidates: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Accuracy with one step more each: the candidate of least held-out loss, and the best one.

    `ceilings` has what true labels would give.
    """
    fitted = candidates["readout"].isin(["lda", "ridge", "centroid"])
    trained = candidates["self_training"] > 0
    layers = candidates["strength"].fillna(float("inf")) < float("inf")
    layers |= candidates["denoising"] > 0
    steps = {
        "layers filtered": ~fitted & layers,
        "LDA on views": fitted & candidates["views"] & ~trained & (candidates["rounds"] == 0),
        "inferred labels": fitted & ~trained & (candidates["rounds"] > 0),
        "self-training": fitted & trained,
    }
    untouched, cut = float(candidates["clean"].iloc[0]), papers_choice(case.curve)
    best_cut = max(case.curve["test"])
    found = {
        "untouched": {"chosen": untouched, "best": untouched},
        "paper's cut": {"chosen": cut, "best": best_cut},
    }
    for name, rows in steps.items():
        part = candidates[rows]
        if len(part):
            chosen = float(part.loc[part["log_loss"].idxmin(), "clean"])
            found[name] = {"chosen": chosen, "best": float(part["clean"].max())}
    return found


def ceilings(case: Case) -> dict[str, dict[str, float]]:
    """What true labels would give: on the features as they are, and filtered, on the views."""
    return {name: {"chosen": value, "best": value} for name, value in true_labels(case).items()}


def true_labels(case: Case) -> dict[str, float]:
    """LDA on the true training labels: a ceiling that no user has."""

    def step(_: str) -> None:
        pass

    plainly = Moments(case.own.head.width, case.own.head.classes)
    known = case.clean_N >= 0
    plainly.update(case.own.train_features[0][known], given=case.clean_N[known])
    found = survey(
        case.network, case.batches("train"), case.batches("holdout"), device=None, seed=0, step=step
    )
    prepared = prepare(found, "auto", "auto", seed=0, step=step)
    model = prepared.network(prepared.default)
    folds = fold_moments(
        model,
        found.head,
        case.batches("true"),
        prepared.views,
        n=found.moments.n,
        seed=0,
        step=step,
    )
    behind = case.subject(model)
    return {
        "true labels": case.own.accuracy(folded(Readout.lda(plainly))),
        "true labels, filtered, on views": behind.accuracy(folded(Readout.lda(folds.whole()))),
    }


def brief(summary: dict[str, Any]) -> dict[str, Any]:
    """A result without its long tables."""
    long = {"candidates", "spectrum", "curve"}
    told = {key: value for key, value in summary.items() if key not in long}
    return told | {"noise": {"rate": (summary["noise"] or {}).get("rate")}}
