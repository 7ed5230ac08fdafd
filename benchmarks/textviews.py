"""What views of tokens buy: one network with wrong labels, repaired and audited with and without.

Two cases, both for development (see `settings.py`):

* `movies`: the first two layers of MiniLM on movie reviews: the development setting with fewer
  texts and a smaller network, which a core trains in minutes;
* `sst2`: a small BERT trained from scratch on sentences of the Stanford Sentiment Treebank (Socher
  et al. 2013; `sst2/train.tsv` under $TAILCUT_DATA), words as tokens, with dropout.

    python benchmarks/textviews.py movies FOLDER [--rate 0.3] [--seed 0]

trains once, keeps the weights under FOLDER, and prints every view with what it does, verdict,
accuracy and noise estimate, and how well wrong labels are found (AUROC), beside the network's own
confidence and TF-IDF with logistic regression, out of fold.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from foreign import minilm
from scipy.sparse import csr_matrix
from settings import SETTINGS
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from texts import Texts, movies
from torch import nn

import tailcut
from tailcut.files import store
from tailcut.lab.data.problems import Problem
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.training.experiment import conduct
from tailcut.lab.training.recipe import Recipe
from tailcut.network.stream import logits_of
from tailcut.network.weights import load_weights

_TEXT = replace(SETTINGS["movies-minilm-symmetric-30"].recipe, epochs=9)
_FEWER = {"train": 2_000, "holdout": 500, "test": 1_000}
_TOKENS, _MOST = 40, 8_000
"""Words of a sentence, and words known, at most."""
_UNKNOWN, _START, _END = 1, 2, 3
_SCRATCH = Recipe(
    epochs=25,
    batch_size=32,
    learning_rate=5e-4,
    weight_decay=0.01,
    schedule="one-cycle",
    optimiser="adamw",
)


@dataclass(frozen=True)
class Case:
    """A problem and the network trained on it."""

    problem: Problem
    network: nn.Module
    recipe: Recipe


def sst2(*, rate: float, seed: int) -> Problem:
    """Sentences, negative or positive: 4 000 to train on, 1 000 held out, 1 821 to test on."""
    place = Path(os.environ.get("TAILCUT_DATA", "../shared/data")) / "sst2"
    lines = {part: (place / f"{part}.tsv").read_text().splitlines() for part in ("train", "test")}
    words = Counter(word for line in lines["train"] for word in line.split("\t")[0].split())
    numbers = {word: 4 + place for place, (word, _) in enumerate(words.most_common(_MOST))}
    pool, test = (_texts(lines[part], numbers) for part in ("train", "test"))
    noise = noise_of("symmetric", rate)
    return Problem.of(pool, test, train=4_000, holdout=1_000, noise=noise, seed=seed)


def _texts(lines: list[str], numbers: dict[str, int]) -> Texts:
    """Between a first and a last special token, 0 where there is none."""
    ids = torch.zeros(len(lines), _TOKENS + 2, dtype=torch.long)
    for row, line in enumerate(lines):
        words = line.split("\t")[0].split()[:_TOKENS]
        told = [_START, *(numbers.get(word, _UNKNOWN) for word in words), _END]
        ids[row, : len(told)] = torch.tensor(told)
    return Texts(ids, torch.tensor([int(line.split("\t")[1]) for line in lines]))


def _first_layers(network: Any, layers: int = 2) -> nn.Module:
    network.bert.encoder.layer = network.bert.encoder.layer[:layers]
    network.config.num_hidden_layers = layers
    return network


def _bert(vocabulary: int) -> nn.Module:
    sys.modules.setdefault("torchvision", None)  # pyright: ignore[reportArgumentType] as `minilm`
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=64,
    )
    return BertForSequenceClassification(config)


def case(name: str, rate: float, seed: int) -> Case:
    """One of the two, untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "movies":
            return Case(movies(rate=rate, seed=seed, **_FEWER), _first_layers(minilm((), 2)), _TEXT)
        return Case(sst2(rate=rate, seed=seed), _bert(4 + _MOST), _SCRATCH)


def trained(name: str, rate: float, seed: int, folder: Path) -> Case:
    """The network in the state of its last epoch, trained unless it lies there."""
    found = case(name, rate, seed)
    place = folder / f"{name}-{100 * rate:.0f}-{seed}"
    weights = place / "last.safetensors"
    if not weights.is_file():
        place.mkdir(parents=True, exist_ok=True)
        told = partial(print, flush=True)
        done = conduct(
            found.network,
            found.problem,
            found.recipe,
            seed=seed,
            checkpoint=place / "checkpoint.pt",
            on_epoch=told,
        )
        store.save_tensors(weights, done.trained.last)
    load_weights(found.network, weights)
    return replace(found, network=found.network.eval())


def tfidf(problem: Problem) -> np.ndarray[Any, Any]:
    """Out-of-fold probabilities (N x K) of logistic regression on TF-IDF, without the network."""
    ids = problem.train.inputs.numpy()
    rows, columns = np.nonzero(ids)
    numbers = ids[rows, columns]
    counts = csr_matrix((np.ones(len(rows)), (rows, numbers)))
    fitted = make_pipeline(TfidfTransformer(sublinear_tf=True), LogisticRegression(C=1.0))
    labels = problem.train.given.numpy()
    return cross_val_predict(fitted, counts, labels, cv=5, method="predict_proba")


def found(problem: Problem, probability_N: Any) -> str:
    """AUROC of wrong labels by the probability of the given ones; nothing where none is wrong."""
    wrong_N = (problem.train.given != problem.train.true_N).numpy()
    return f"{roc_auc_score(wrong_N, -np.asarray(probability_N)):.3f}" if wrong_N.any() else "-"


def report(done: Case) -> None:
    """Print what repair and audit make of it, with and without a holdout."""
    problem, model = done.problem, done.network
    train, test = problem.train.loader(64), problem.test.loader(64)
    given_N = problem.train.given
    logits_NK = torch.cat([logits_of(model, inputs) for inputs, *_ in train])
    own_N = logits_NK.softmax(1).gather(1, given_N[:, None])[:, 0]
    fit = float((logits_NK.argmax(1) == given_N).double().mean())
    wrong = float((given_N != problem.train.true_N).double().mean())
    print(f"{len(given_N)} texts, {100 * wrong:.1f} % wrong, fits {100 * fit:.1f} % of the labels")
    print("AUROC: own confidence", found(problem, own_N))
    out_of_fold = tfidf(problem)[np.arange(len(given_N)), given_N.numpy()]
    print("AUROC: TF-IDF and logistic regression, 5 folds", found(problem, out_of_fold))
    for holdout in (problem.holdout.loader(64), None):
        fix = tailcut.repair(model, train, holdout, clean=test, progress=False)
        told, clean = fix.summary, fix.summary["clean"]
        print("\nwith a holdout" if holdout is not None else "\nwithout a holdout")
        for each in told["views"]:
            kept = "kept" if each["kept"] else ""
            print(
                f"  {each['name']:12} content {each['content']:.3f}  "
                f"memorisation {each['memorisation']:.3f}  {kept}"
            )
        print(f"  {fix!r}")
        print(f"  true test labels: {100 * clean['before']:.1f} -> {100 * clean['after']:.1f}")
        issues = tailcut.find_label_issues(model, train, holdout, progress=False)
        print(
            f"  audit: AUROC {found(problem, issues['label_score'])}, "
            f"flags {100 * issues['is_label_issue'].mean():.1f} %"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["movies", "sst2"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    report(trained(args.case, args.rate, args.seed, args.folder))
