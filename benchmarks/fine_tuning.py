"""What is kept of fine-tuning: accuracy by rank, beside weights mixed with the pretrained ones.

    TAILCUT_STUDY=FOLDER python benchmarks/fine_tuning.py movies-minilm-symmetric-30 ... [--seeds 0]

Of each fine-tuned network of `study.py`: its own head with each weight's change since pretraining
kept to each rank, the same with weights between the pretrained and the fine-tuned ones (WiSE-FT,
Wortsman et al., CVPR 2022), and whole repairs without and with the pretrained network. Results go
to benchmarks/results/fine_tuning, the table of all and a figure to docs/study.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from audit import percent
from foreign import register
from measuring import Case
from page import filled, markdown
from settings import SETTINGS
from study import PAGES, README, RESULTS
from torch import nn
from trainings import Training, collected, trainings

import tailcut
from tailcut.files import store
from tailcut.lab.baselines.refits import lda_refit, logistic_refit
from tailcut.lab.claims.figures import as_svg
from tailcut.network.batchnorm import reestimate_batchnorm
from tailcut.network.filters import Filter, truncated_copy
from tailcut.network.fine_tuning import FineTuning
from tailcut.network.stream import logits_of

START = "<!-- written by benchmarks/fine_tuning.py -->"
TUNED = RESULTS.parent / "fine_tuning"
RANKS = (1, 2, 4, 8, 16, 32, 128)
SHARES = (0.2, 0.4, 0.6, 0.8)
"""Of the way from the pretrained weights to the fine-tuned ones."""

COUNTED = 1024
"""Training samples that BatchNorm is counted on, as in a repair."""

HEAD = """# What is kept of fine-tuning

Written by `python benchmarks/fine_tuning.py`; accuracy on true test labels, %, one line for each
network. Given the pretrained network (`backbone=`), a repair may keep the leading singular
directions of what fine-tuning changed of each weight, and cut the rest. "Rank" and "mixed" keep the
trained head and nothing else: each weight's change kept to the rank, or the weights mixed with the
pretrained ones (WiSE-FT), that the noisy held-out labels like best; in brackets what is kept. The
oracle chooses its epoch by true test labels. "Backbone" is the better by test of LDA and logistic
regression on the features of the pretrained network, "raw inputs" that of the inputs themselves,
fitted to the noisy training labels.

"""


def main() -> None:
    """Measure what is asked for and missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", choices=[*SETTINGS, []], default=[])
    parser.add_argument("--seeds", nargs="*", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=TUNED)
    parser.add_argument("--pages", type=Path, default=PAGES)
    parser.add_argument("--readme", type=Path, default=README)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    register()
    found = collected(trainings(asked.settings, asked.seeds), asked.results, measured)
    store.write_text(asked.pages / "fine-tuning.svg", figure(found))
    store.write_text(asked.pages / "fine-tuning.md", page(found))
    store.write_text(asked.readme, readme(asked.readme.read_text(encoding="utf-8"), found))


def measured(training: Training) -> dict[str, Any]:
    """Curves, repairs, and what they are to be compared with."""
    problem = training.problem()
    case = Case(training, problem, training.network(problem))
    assert case.untouched is not None
    record = training.finished()
    return {
        "schema": store.SCHEMA,
        "name": training.name,
        "role": training.setting.role,
        "wrong": record["wrong"],
        "fit": record["fit"],
        "baselines": record["baselines"],
        "backbone": {
            "LDA": lda_refit(case.untouched),
            "logistic regression": logistic_refit(case.untouched),
        },
        "ranks": [{"kept": kept, **read(case, model)} for kept, model in by_rank(case)],
        "mixed": [{"kept": kept, **read(case, model)} for kept, model in mixed(case)],
        "repairs": {
            "without": repaired(case, None),
            "with": repaired(case, case.untrained),
        },
    }


def by_rank(case: Case) -> Iterator[tuple[int, nn.Module]]:
    """Each weight's change kept to each rank."""
    head = case.own.head
    change = FineTuning.of(case.network, case.untrained, skip=head.names, most=max(RANKS))
    for rank in RANKS:
        kept = Filter(fine_tuning=rank)
        yield rank, truncated_copy(case.network, None, kept, first(case), change)


def mixed(case: Case) -> Iterator[tuple[float, nn.Module]]:
    """Weights between the pretrained and the fine-tuned ones; the head stays as it is."""
    start = case.untrained.state_dict()
    for share in SHARES:
        twin = copy.deepcopy(case.network)
        for name, tensor in twin.state_dict().items():
            head = name.rpartition(".")[0] in case.own.head.names
            if tensor.is_floating_point() and not head:
                tensor.copy_(torch.lerp(start[name], tensor, share))
        reestimate_batchnorm(twin, first(case))
        yield share, twin


def first(case: Case) -> Any:
    """Batches of training samples that BatchNorm statistics are taken anew on."""
    return case.problem.train.rows(slice(COUNTED)).loader(case.training.setting.batch)


@torch.no_grad()
def read(case: Case, model: nn.Module) -> dict[str, float]:
    """Accuracy on test and noisy held-out labels; share of the wrong training labels repeated."""
    wrong_N = case.problem.train.given != case.clean_N
    wrong = case.problem.train.rows(wrong_N.nonzero().flatten()[:COUNTED])
    parts = {name: case.batches(name) for name in ("test", "holdout")}
    parts["repeated"] = wrong.loader(case.training.setting.batch)
    return {name: agreement(model, batches) for name, batches in parts.items()}


def agreement(model: nn.Module, batches: Any) -> float:
    """Share of the labels that are predicted."""
    hits = [(logits_of(model, x).argmax(1) == y).double() for x, y, *_ in batches]
    return float(torch.cat(hits).mean())


def repaired(case: Case, backbone: nn.Module | None) -> dict[str, Any]:
    """One repair, as `study.py` makes it."""
    fix = tailcut.repair(
        case.network,
        case.batches("train"),
        case.batches("holdout"),
        backbone=backbone,
        progress=False,
    )
    chosen = fix.summary
    names = ("verdict", "reason", "readout", "rank", "strength", "denoising", "fine_tuning")
    return {
        **{name: chosen[name] for name in names},
        "test": agreement(fix.model, case.batches("test")),
        "seconds": round(sum(chosen["seconds"].values()), 1),
    }


PICTURE = """
![accuracy and memory by the rank that is kept](fine-tuning.svg)

*Own head, by the rank to which each weight's change is kept (full lines: accuracy on true test
labels; dashed: share of the wrong training labels that are repeated). The last point of each line
is the fine-tuned network.*
"""


def page(found: list[dict[str, Any]]) -> str:
    """All that was measured."""
    return HEAD + table(found) + "\n" + PICTURE


def readme(text: str, found: list[dict[str, Any]]) -> str:
    """The README with its table of fine-tuned networks, of validation alone, written anew."""
    return filled(text, START, table([each for each in found if each["role"] == "validation"]))


def table(found: list[dict[str, Any]]) -> str:
    """One row for each network, development settings first."""
    ordered = sorted(found, key=lambda each: (each["role"], each["name"]))
    return markdown(pd.DataFrame([row(each) for each in ordered]))


def row(found: dict[str, Any]) -> dict[str, str]:
    """A network as the page shows it."""
    known, repairs = found["baselines"], found["repairs"]
    return {
        "network": found["name"],
        "role": found["role"],
        "last epoch": percent(known["last epoch"]),
        "early stopping, noisy holdout": percent(known["noisy-holdout early stopping"]),
        "early stopping, oracle": percent(known["oracle early stopping"]),
        "raw inputs": raw_inputs(found["name"]),
        "backbone": percent(max(found["backbone"].values())),
        "mixed": chosen(found["mixed"]),
        "rank": chosen(found["ranks"]),
        "**tailcut**": percent(repairs["without"]["test"]),
        "**tailcut, `backbone=`**": percent(repairs["with"]["test"]),
    }


def raw_inputs(name: str) -> str:
    """The better by test of two classifiers of the raw inputs, as `study.py inputs` found them."""
    setting, _, seed = name.rpartition("-")
    (training,) = trainings([setting], [int(seed)])
    path = RESULTS / "inputs" / f"{training.data_name}.json"
    return percent(max(store.read_json(path)["controls"].values())) if path.is_file() else "-"


def chosen(curve: list[dict[str, float]]) -> str:
    """What the noisy held-out labels like best, and its accuracy."""
    best = max(curve, key=lambda each: each["holdout"])
    return f"{percent(best['test'])} ({best['kept']:g})"


def figure(found: list[dict[str, Any]]) -> str:
    """Accuracy and memory by rank, a colour for each network."""

    def draw(axes: Any) -> None:
        for place, each in enumerate(found):
            ranks = [*(point["kept"] for point in each["ranks"]), 2 * RANKS[-1]]
            ends = {"test": each["baselines"]["last epoch"], "repeated": 1.0}
            for name, style in (("test", "-"), ("repeated", "--")):
                values = [100 * v for v in (*(p[name] for p in each["ranks"]), ends[name])]
                label = each["name"] if name == "test" else None
                axes.plot(ranks, values, style, color=f"C{place}", marker=".", label=label)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="rank kept of each weight's change", ylabel="%")
        axes.legend(fontsize=6, frameon=False)

    return as_svg(draw)


if __name__ == "__main__":
    main()
