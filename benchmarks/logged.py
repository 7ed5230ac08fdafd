"""What `SpectralProbe` logs through two trainings: `python benchmarks/logged.py`.

    python benchmarks/logged.py [lightning] [trainer] [draw]

* `lightning` trains the CNN for digits in clutter, 40 % of the labels wrong, under Lightning, and
  reads back the table that its CSVLogger wrote;
* `trainer` trains a small BERT from scratch on sentences of the Stanford Sentiment Treebank, 30 %
  of the labels wrong (`textviews.py`), under Hugging Face's Trainer, and reads back its log
  history; it wants `sst2/` under $TAILCUT_DATA;
* `draw` draws both into `docs/hosts/` and writes their figures into `docs/hosts.md`.

Each training takes a core a few minutes. Both repair in the end. What they logged lies in
`benchmarks/results/logged`; `draw` reads nothing else.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from operators import stand_in
from torch import nn

from tailcut.files import store
from tailcut.lab.claims.figures import as_svg, epochs_by_ranks
from tailcut.lab.data.clutter import clutter_problem
from tailcut.lab.data.problems import Problem
from tailcut.lab.training.experiment import untrained
from tailcut.lab.training.recipe import CLUTTER, OPTIMISERS, SCHEDULES, Recipe

ROOT = Path(__file__).parents[1]
RESULTS, FIGURES, PAGE = (
    ROOT / place for place in ("benchmarks/results/logged", "docs/hosts", "docs/hosts.md")
)
START, END = "<!-- written by benchmarks/logged.py -->", "<!-- end -->"
DRAWN = f"Drawn with matplotlib {version('matplotlib')}."
SEED = 0
TRUE = "true_accuracy"
"""Accuracy on test samples with true labels; logged to be drawn, and read by nobody else."""
HOSTS = {"lightning": "Lightning", "trainer": "Hugging Face's Trainer"}
_TASKS = {
    "lightning": "a CNN on digits in clutter",
    "trainer": "a small BERT, from scratch, on film reviews",
}


def lightning(problem: Problem, network: nn.Module, recipe: Recipe) -> dict[str, Any]:
    """Train under Lightning; what its CSVLogger wrote."""
    from lightning.pytorch import LightningModule, Trainer, seed_everything
    from lightning.pytorch.loggers import CSVLogger

    from tailcut.lightning import SpectralProbe

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.train()  # whose mode Lightning leaves as it is

        def forward(self, inputs: Any) -> Any:
            return self.network(inputs)

        def training_step(self, batch: Any, _: int) -> Any:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("holdout_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

        def on_validation_epoch_end(self) -> None:
            self.log(TRUE, true_accuracy(self, problem))

        def configure_optimizers(self) -> Any:
            optimiser = OPTIMISERS[recipe.optimiser](self.parameters(), recipe)
            steps = int(self.trainer.estimated_stepping_batches)
            schedule = SCHEDULES[recipe.schedule](optimiser, recipe, steps)
            return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    seed_everything(SEED, verbose=False)
    probe, module = SpectralProbe(repair_at_end=True), Module()
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            max_epochs=recipe.epochs,
            callbacks=[probe],
            logger=CSVLogger(folder, name="", version=""),
            log_every_n_steps=1,
            accelerator="cpu",
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, _loader(problem.train, recipe), _loader(problem.holdout))
        with (Path(folder) / "metrics.csv").open(encoding="utf-8") as file:
            rows = [
                {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)
            ]
    return record(probe, module, problem, rows)


def trainer(problem: Problem, network: nn.Module, recipe: Recipe) -> dict[str, Any]:
    """Train under Hugging Face's Trainer; its log history."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from tailcut.transformers import SpectralProbe

    class TrueAccuracy(TrainerCallback):
        def on_epoch_end(self, *_: Any, model: Any, **__: Any) -> None:
            host.log({TRUE: true_accuracy(model, problem)})

    words: dict[str, Any] = {"report_to": [], "disable_tqdm": True, "use_cpu": True}
    words |= {"save_strategy": "no", "logging_strategy": "no", "seed": SEED}
    with tempfile.TemporaryDirectory() as folder:
        host = Trainer(
            model=network,
            args=TrainingArguments(
                folder,
                num_train_epochs=recipe.epochs,
                per_device_train_batch_size=recipe.batch_size,
                learning_rate=recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                **words,
            ),
            train_dataset=_items(problem.train),
            eval_dataset=_items(problem.holdout),
            data_collator=_collated,
        )
        probe = SpectralProbe(host, repair_at_end=True)
        host.add_callback(TrueAccuracy())
        host.add_callback(probe)
        host.train()
    return record(probe, network, problem, host.state.log_history)


@torch.no_grad()
def true_accuracy(model: nn.Module, problem: Problem) -> float:
    """On the test samples, whose labels are true, 0..1; the network stays in its mode."""
    training, hits = model.training, 0
    model.eval()
    for inputs, labels, *_ in problem.test.loader():
        found = model(**inputs) if isinstance(inputs, dict) else model(inputs)
        hits += int((getattr(found, "logits", found).argmax(1) == labels).sum())
    model.train(training)
    return hits / len(problem.test)


def record(
    probe: Any, model: nn.Module, problem: Problem, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """What was logged at every epoch that was looked at, and what the repair made of the last."""
    epochs: list[dict[str, float]] = []
    true = [row[TRUE] for row in rows if TRUE in row]
    for row in rows:
        if "tailcut/alarm" in row:
            kept = {name: round(value, 5) for name, value in row.items() if "tailcut/" in name}
            place = len(epochs)
            epochs.append({"epoch": place + 1, **kept, TRUE: round(true[place], 5)})
    wrong = float((problem.train.given != problem.train.true_N).double().mean())
    return {
        "seed": SEED,
        "samples": {part: len(getattr(problem, part)) for part in ("train", "holdout", "test")},
        "wrong": round(wrong, 4),
        "alarm": probe.alarm,
        "repair": {
            "verdict": probe.repair_.verdict,
            "reason": probe.repair_.reason,
            "before": round(true_accuracy(model, problem), 4),
            "after": round(true_accuracy(probe.repair_.model, problem), 4),
        },
        "epochs": epochs,
    }


def ranks(found: dict[str, Any]) -> str:
    """Accuracy at every rank on held-out given labels, over epochs, as SVG."""
    names = [name for name in found["epochs"][0] if name.startswith("tailcut/rank_")]
    shown = sorted(int(name.removeprefix("tailcut/rank_")) for name in names)
    probes: list[Any] = [
        {
            "epoch": row["epoch"],
            "ranks": shown,
            "given": {"leading": {"holdout": [row[f"tailcut/rank_{rank}"] for rank in shown]}},
        }
        for row in found["epochs"]
    ]
    return epochs_by_ranks(probes, kind="holdout")


def memory(found: dict[str, Any]) -> str:
    """The network's accuracies, its memorisation, the alarm and the repair, as SVG."""
    lines = {
        "tailcut/train_accuracy": ("training labels as given", "#c0392b"),
        "tailcut/holdout_accuracy": ("held-out labels as given", "#1b6ca8"),
        "tailcut/memorisation": ("memorisation", "#8e6bbf"),
        TRUE: ("true test labels", "#2e8b57"),
    }

    def draw(axes: Any) -> None:
        epochs = [row["epoch"] for row in found["epochs"]]
        for name, (label, colour) in lines.items():
            values = [100 * row[name] for row in found["epochs"]]
            axes.plot(epochs, values, color=colour, label=label, lw=1.5)
        after = 100 * found["repair"]["after"]
        axes.plot(
            epochs[-1], after, "*", color=lines[TRUE][1], markersize=10, label="the same, repaired"
        )
        if found["alarm"] is not None:
            axes.axvline(found["alarm"], color="#555555", ls="--", lw=0.8, label="alarm")
        axes.set(xlabel="epoch", ylabel="%")
        axes.set_xticks([epoch for epoch in epochs if epoch % 5 == 0 or epoch == 1])
        axes.figure.legend(loc="outside right center", frameon=False, fontsize=7)

    return as_svg(draw)


def files() -> dict[Path, str]:
    """Every file of the documentation that is written from the results, with its text."""
    drawn, told = {}, []
    for name in HOSTS:
        found = store.read_json(RESULTS / f"{name}.json")
        drawn[FIGURES / f"{name}-ranks.svg"] = ranks(found)
        drawn[FIGURES / f"{name}-memory.svg"] = memory(found)
        told.append(_told(name, found))
    told.append(DRAWN)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    text = f"{before}{START}\n\n" + "\n".join(told) + f"\n\n{END}{rest.partition(END)[2]}"
    return drawn | {PAGE: text}


def _told(name: str, found: dict[str, Any]) -> str:
    samples, fix = found["samples"], found["repair"]
    best = max(found["epochs"], key=lambda row: row[TRUE])
    first, last = (found["epochs"][place]["tailcut/effective_rank"] for place in (0, -1))
    alarm = f"after epoch {found['alarm']}" if found["alarm"] else "never"
    return f"""### {HOSTS[name]}: {_TASKS[name]}

{samples["train"]:,} samples, {100 * found["wrong"]:.0f} % of the labels wrong, \
{samples["holdout"]:,} held out with labels as noisy, seed {found["seed"]}.

![Accuracy by rank over epochs](hosts/{name}-ranks.svg)
![Accuracy, memorisation and alarm over epochs](hosts/{name}-memory.svg)

The alarm: {alarm}. `probe.repair_` of the last epoch: {fix["verdict"]}. On \
{samples["test"]:,} true test labels {100 * fix["before"]:.1f} % before and \
{100 * fix["after"]:.1f} % after; the best epoch, which only these labels know, is epoch \
{best["epoch"]} with {100 * best[TRUE]:.1f} %. The effective rank of the features was \
{first:.1f} after the first epoch and is {last:.1f} after the last.
"""


def _loader(samples: Any, recipe: Recipe | None = None) -> Any:
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(samples.inputs, samples.given)
    return DataLoader(data, recipe.batch_size if recipe else 256, shuffle=recipe is not None)


def _items(samples: Any) -> list[dict[str, Any]]:
    rows = zip(samples.inputs, samples.given.tolist(), strict=True)
    return [{"input_ids": ids, "labels": given} for ids, given in rows]


def _collated(items: list[dict[str, Any]]) -> dict[str, Any]:
    """As long as the longest text of the batch; 0 is no token."""
    ids = torch.stack([each["input_ids"] for each in items])
    mask = (ids != 0).long()
    longest = int(mask.sum(-1).max())
    labels = torch.tensor([each["labels"] for each in items])
    return {
        "input_ids": ids[:, :longest],
        "attention_mask": mask[:, :longest],
        "labels": labels,
    }


def main(steps: list[str]) -> None:
    """Train what is asked for, then draw."""
    if "lightning" in steps:
        problem = clutter_problem(rate=0.4, seed=SEED)
        network = untrained("maxcnn", problem, seed=SEED)
        store.write_json(RESULTS / "lightning.json", lightning(problem, network, CLUTTER))
    if "trainer" in steps:
        from textviews import case

        asked = case("sst2", 0.3, SEED)
        recipe = Recipe(epochs=12, batch_size=32, learning_rate=5e-4, weight_decay=0.01)
        found = trainer(asked.problem, asked.network, recipe)
        store.write_json(RESULTS / "trainer.json", found)
    if "draw" in steps:
        for path, text in files().items():
            path.parent.mkdir(exist_ok=True)
            store.write_text(path, text)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    stand_in()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", module="lightning|transformers")
    choices = [*HOSTS, "draw"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="*", metavar="step", help=f"of {', '.join(choices)}; all")
    main(parser.parse_args().steps or choices)
