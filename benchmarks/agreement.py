"""What untrained and barely trained networks predict of their labels.

`python benchmarks/agreement.py` prints Cohen's kappa of the own head with the given labels, and of
cross-fitted LDA on the same features: the two figures that tell a network of these labels from
another one. CIFAR-10 is left out where $TAILCUT_DATA does not hold it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from tailcut.lab.data.cifar10 import cifar10_problem
from tailcut.lab.data.digits import digits_problem
from tailcut.lab.data.problems import Problem
from tailcut.lab.samples import Samples
from tailcut.lab.training.networks import build
from tailcut.lab.training.recipe import Recipe
from tailcut.lab.training.sgd import train
from tailcut.network.batches import read
from tailcut.network.head import find_head
from tailcut.verbs.agreement import ENOUGH, Agreement, readable

DRAWS = 12
NETWORKS = ("mlp", "cnn-8", "resnet-8", "vit")
USUAL = {"mlp": 0.02, "cnn-8": 0.02, "vit": 0.05}
CIFAR = {"cnn-16": 0.02, "resnet-8": 0.02, "vit": 0.02}
RATES = (0.0, 0.4, 0.6)
EPOCHS = 3


def main() -> None:
    """Print untrained networks, then the first epochs of trainings."""
    print("untrained, largest kappa of the head over that of LDA, and how many reach a third")
    for name, problem in (("digits, 40 %", digits(0.4)), ("two classes", halves(digits(0.0)))):
        untrained(name, problem)
    folder = Path(os.environ.get("TAILCUT_DATA", "data")) / "cifar10"
    if folder.is_dir():
        untrained("CIFAR-10", cifar(0.0))
    print("\nepochs 1 to 3, kappa of the head / of LDA")
    for rate in RATES:
        for network, learning_rate in USUAL.items():
            early("digits", digits(rate), network, learning_rate)
        for network, learning_rate in CIFAR.items() if folder.is_dir() else ():
            early("CIFAR-10", cifar(rate), network, learning_rate)
    early("digits", digits(0.0), "mlp", 0.001)


def digits(rate: float) -> Problem:
    """As the lab has them, at another rate."""
    return digits_problem(rate=rate, seed=0)


def cifar(rate: float) -> Problem:
    """4 000 images: what an untrained network predicts does not hang on how many there are."""
    return cifar10_problem(rate=rate, seed=0, train=4_000, holdout=10, test=10)


def halves(problem: Problem) -> Problem:
    """Even and odd classes."""

    def halved(samples: Samples) -> Samples:
        clean = None if samples.clean is None else samples.clean % 2
        return replace(samples, given=samples.given % 2, clean=clean)

    return Problem(*(halved(part) for part in (problem.train, problem.holdout, problem.test)))


def untrained(name: str, problem: Problem) -> None:
    """Several draws of every network."""
    for network in NETWORKS:
        pairs = []
        for seed in range(DRAWS):
            torch.manual_seed(seed)
            model = build(network, tuple(problem.train.inputs.shape[1:]), problem.classes)
            pairs.append(kappas(model, problem))
        ratios = [head / told for head, told in pairs]
        passing = sum(ratio >= ENOUGH for ratio in ratios)
        print(f"  {name:<14} {network:<9} {max(ratios):5.2f}   {passing} of {DRAWS}")


def early(name: str, problem: Problem, network: str, learning_rate: float) -> None:
    """The first epochs of a training."""
    torch.manual_seed(0)
    model = build(network, tuple(problem.train.inputs.shape[1:]), problem.classes)
    found: list[tuple[float, float]] = []
    recipe = Recipe(epochs=EPOCHS, learning_rate=learning_rate)
    train(model, problem, recipe, on_epoch=lambda _: found.append(kappas(model, problem)))
    wrong = 0.0
    if problem.train.clean is not None:
        wrong = float((problem.train.given != problem.train.clean).double().mean())
    told = "  ".join(f"{head:.2f}/{told:.2f}" for head, told in found)
    print(f"  {name:<9} {100 * wrong:3.0f} % wrong  {network:<9} {learning_rate:<6} {told}")


def kappas(model: nn.Module, problem: Problem) -> tuple[float, float]:
    """Cohen's kappa of the own head, and of LDA on its features."""
    model.eval()
    batches = list(read(problem.train.loader()))
    head = find_head(model, batches[0].inputs)
    given_N = torch.cat([batch.labels for batch in batches])
    predicted_N = torch.cat(list(predictions(model, batches)))
    share = readable(model, head, batches)
    found = Agreement.of(predicted_N, given_N, head.classes, lambda: share)
    return found.kappa, replace(found, share=share or found.chance).kappa


def predictions(model: nn.Module, batches: list) -> Iterator[torch.Tensor]:
    """Of the own head."""
    with torch.no_grad():
        for batch in batches:
            yield model(batch.inputs).argmax(1)


if __name__ == "__main__":
    main()
