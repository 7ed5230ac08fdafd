"""Rivals that train again: what users of cleanlab do (`retrain`), and a probe first (`lpft`).

Neither folds into the network at hand, so neither is a rival of a repair: they tell what one gets
for the price of six trainings, or of another one from pretrained weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from foreign import backbone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn
from trainings import Training, described

from tailcut._typing import Batches
from tailcut.files import store
from tailcut.lab.baselines.refits import logistic_heads
from tailcut.lab.baselines.subject import Subject
from tailcut.lab.data.problems import Problem
from tailcut.lab.training.experiment import Experiment, conduct
from tailcut.lab.training.sgd import train
from tailcut.network.batches import read
from tailcut.network.stream import accuracy, device_of, logits_of

FOLDS = 5
"""cleanlab's default for out-of-fold predictions."""

_BATCH = 500


def retrain(training: Training, folder: Path, *, device: str = "cpu") -> dict[str, Any]:
    """Five trainings on four fifths each, cleanlab's filter, one training on what it keeps.

    Out-of-fold probabilities (N x K) of the given labels, after the last epoch of each fold's
    network; `cleanlab.filter.find_label_issues` as it stands (prune by noise rate, confident
    learning: Northcutt, Jiang & Chuang, JAIR 2021); network, recipe and seed as in the study.

    Args:
        training: Whose setting and seed are taken; it need not be finished.
        folder: Finished folds and a begun training are kept there, to go on from.
        device: To train on.

    Returns:
        Accuracies on true test labels after the last epoch and by the noisy holdout (under
        interclass confusion after the last epoch on its two classes, too), AUROC of the
        out-of-fold self-confidence, and how precise and complete the filter is.
    """
    start, problem = perf_counter(), training.problem()
    probabilities_NK = out_of_fold(training, problem, folder, device)
    given_N, clean_N = problem.train.given, problem.train.clean
    assert clean_N is not None
    issue_N = label_issues(given_N, probabilities_NK)
    kept = Problem(problem.train.rows(~issue_N), problem.holdout, problem.test)
    done = _conduct(training, kept, folder / "kept.pt", device)
    wrong_N, two = given_N != clean_N, training.confused(problem)
    return {
        **_about(training, done),
        "accuracy": _accuracies(done),
        "confused classes": None if two is None else accuracy(done.network, two.loader(_BATCH)),
        "auroc": _auroc(wrong_N, given_N, probabilities_NK),
        "issues": {
            "share": _mean(issue_N),
            "precision": _mean(wrong_N[issue_N]),
            "recall": _mean(issue_N[wrong_N]),
            "wrong among the kept": _mean(wrong_N[~issue_N]),
        },
        "trainings": FOLDS + 1,
        "seconds": round(perf_counter() - start, 1),
    }


def out_of_fold(training: Training, problem: Problem, folder: Path, device: str) -> Tensor:
    """Probabilities (N x K) of every training sample by a network that was not trained on it."""
    given_N = problem.train.given
    found_NK = torch.zeros(len(given_N), problem.classes, dtype=torch.float64)
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=training.seed)
    for k, (known, asked) in enumerate(split.split(np.zeros(len(given_N)), given_N.numpy())):
        path, asked_n = folder / f"fold-{k}.safetensors", torch.from_numpy(asked)
        if not path.is_file():
            part = problem.train.rows(torch.from_numpy(known))
            rest = Problem(part, problem.holdout, problem.test)
            done = _conduct(training, rest, folder / f"fold-{k}.pt", device)
            told_nK = _probabilities(done.network, problem.train.rows(asked_n).loader(_BATCH))
            store.save_tensors(path, {"probabilities_nK": told_nK})
            (folder / f"fold-{k}.pt").unlink(missing_ok=True)
        found_NK[asked_n] = store.load_tensors(path)["probabilities_nK"]
    return found_NK


def label_issues(given_N: Tensor, probabilities_NK: Tensor) -> Tensor:
    """Which labels cleanlab's filter would drop (N,), by its defaults.

    Args:
        given_N: Labels 0..K-1.
        probabilities_NK: Out of fold.
    """
    from cleanlab.filter import find_label_issues

    found = find_label_issues(given_N.numpy(), probabilities_NK.numpy(), n_jobs=1)
    return torch.from_numpy(np.asarray(found, dtype=bool))


def lpft(training: Training, folder: Path, *, device: str = "cpu") -> dict[str, Any] | None:
    """Linear probe, then fine-tune (LP-FT: Kumar et al., ICLR 2022), a pretrained network.

    The fresh head is replaced by a logistic regression of the untouched features on the given
    labels (its strength by the noisy holdout), then everything is trained by the study's recipe,
    so that the head starts near where it will end and moves the features less.

    Returns:
        Accuracies on true test labels of the probe, after the last epoch, and by the noisy
        holdout; None for a network that was not pretrained.
    """
    start, problem = perf_counter(), training.problem()
    network = training.untrained(problem).to(device)
    if backbone(training.setting.network, network) is None:
        return None
    probe(network, problem, training.setting.batch)
    probed = accuracy(network, problem.test.loader(_BATCH))
    trained = train(
        network,
        problem,
        training.setting.recipe,
        seed=training.seed,
        checkpoint=folder / "lpft.pt",
        on_epoch=_told(f"{training.name} after a probe"),
    )
    done = Experiment(
        problem, network.eval(), trained, accuracy(network, problem.train.loader(_BATCH))
    )
    return {
        **_about(training, done),
        "accuracy": {"linear probe": probed, **_accuracies(done)},
        "seconds": round(perf_counter() - start, 1),
    }


def probe(network: nn.Module, problem: Problem, batch: int) -> None:
    """Put the logistic regression that is best on the noisy holdout into the network's head."""
    parts = (problem.train, problem.holdout, problem.test)
    subject = Subject(network.eval(), *(part.loader(batch) for part in parts))
    held_ND, given_N = subject.holdout_features
    heads = list(logistic_heads(*subject.train_features))
    hits = [
        _mean((held_ND.double() @ weight_KD.T + bias_K).argmax(1) == given_N)
        for weight_KD, bias_K in heads
    ]
    weight_KD, bias_K = heads[int(np.argmax(hits))]
    (head,) = subject.head.modules(network)
    with torch.no_grad():
        head.weight.copy_(weight_KD.reshape(head.weight.shape))
        if head.bias is not None:
            head.bias.copy_(bias_K)


def _conduct(training: Training, problem: Problem, checkpoint: Path, device: str) -> Experiment:
    return conduct(
        training.setting.network,
        problem,
        training.setting.recipe,
        seed=training.seed,
        device=device,
        checkpoint=checkpoint,
        on_epoch=_told(f"{training.name} {checkpoint.stem}"),
    )


def _told(name: str) -> Callable[[Any], None]:
    return lambda epoch: print(name, epoch.epoch, round(epoch.test, 4), flush=True)


def _probabilities(network: nn.Module, loader: Batches) -> Tensor:
    logits = [logits_of(network, batch.inputs).cpu().double() for batch in read(loader)]
    return torch.cat(logits).softmax(1)


def _about(training: Training, done: Experiment) -> dict[str, Any]:
    return {
        "schema": store.SCHEMA,
        "name": training.name,
        "seed": training.seed,
        "samples": len(done.problem.train),
        "fit": done.fit,
        "device": described(device_of(done.network)),
    }


def _accuracies(done: Experiment) -> dict[str, float]:
    found = done.baselines()
    return {name: found[name] for name in ("last epoch", "noisy-holdout early stopping")}


def _auroc(wrong_N: Tensor, given_N: Tensor, probabilities_NK: Tensor) -> float | None:
    if not wrong_N.any():
        return None
    confidence_N = probabilities_NK.gather(1, given_N[:, None])[:, 0]
    return float(roc_auc_score(wrong_N.numpy(), -confidence_N.numpy()))


def _mean(of_N: Tensor) -> float:
    return float(of_N.double().mean()) if len(of_N) else float("nan")
