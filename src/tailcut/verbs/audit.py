"""Which labels are wrong: predictions that never saw the label they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.network.head import Head
from tailcut.network.stream import require_order
from tailcut.network.views import View, Views
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.transition import Noise, anchor_noise
from tailcut.verbs.groundwork import STRENGTHS, UNTOUCHED, Groundwork, lay
from tailcut.verbs.options import check_options
from tailcut.verbs.progress import steps
from tailcut.verbs.survey import survey
from tailcut.verbs.viewing import draws, through_views

COLUMNS = ("is_label_issue", "label_score", "given_label", "predicted_label")


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What the other half of the training data says of each sample.

    Attributes:
        probabilities_NK: Of each class (float64).
        given_N: Given labels.
        numbers_N: The samples' index, or their place in the loader.
    """

    probabilities_NK: Tensor
    given_N: Tensor
    numbers_N: Tensor

    @property
    def noise(self) -> Noise:
        """Estimated label noise."""
        return anchor_noise(self.probabilities_NK, self.given_N)


def find_label_issues(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    views: Views = "auto",
    depth: str = "auto",
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Score every training label by a prediction that did not see it, and flag the wrong ones.

    LDA is fitted on views of one half of the training data and asked about the other half, on
    the network truncated as `repair` would: no folds to retrain. Flagged are the lowest
    scores among the labels that the prediction contradicts, as many as the estimated noise
    rate says.

    Args:
        model: A trained classifier; it is never changed.
        train: The batches it was trained on, in a fixed order or with the index.
        holdout: Batches it was not trained on; they choose how strongly to truncate.
        views: See `repair`.
        depth: See `repair`.
        seed: Of samples and views.
        device: To work on; the model's own if not given.
        progress: Show the running step on a terminal.

    Returns:
        One row for each training sample in the loader's order, indexed by the samples' index
        where the loader yields one. Columns as cleanlab has them: `is_label_issue` (bool),
        `label_score` (the probability of the given label, 0..1, lower is worse),
        `given_label`, `predicted_label`.

    Raises:
        HeadError: No linear head that gives the network's logits.
        DataError: Data that cannot be used, or a loader that shuffles without an index.
    """
    check_options(depth=depth)
    require_order(train)
    with steps(shown=progress) as step:
        found = survey(model, train, holdout, device=device, seed=seed, step=step)
        found.moments.require_classes()
        ground = lay(found, views, depth, seed=seed, step=step)
        network = ground.network(ground.strengths[0])
        repeats = draws(found.moments.n, ground.views)
        said = out_of_fold(
            network, found.head, train, ground.views, repeats=repeats, seed=seed, step=step
        )
        noise = noise_among(ground, seed=seed) or said.noise
    return issues_table(said, noise.rate)


def issues_table(said: OutOfFold, rate: float) -> pd.DataFrame:
    """Scores from out-of-fold probabilities, and flags for a share of at most `rate`."""
    predicted_N = said.probabilities_NK.argmax(1)
    score_N = said.probabilities_NK.gather(1, said.given_N[:, None])[:, 0].clamp(0, 1)
    contradicted_N = predicted_N != said.given_N
    most = min(round(rate * len(score_N)), int(contradicted_N.sum()))
    suspicion_N = torch.where(contradicted_N, score_N, 2)
    flagged_N = torch.zeros(len(score_N), dtype=torch.bool)
    flagged_N[suspicion_N.argsort(stable=True)[:most]] = True
    columns = (flagged_N, score_N, said.given_N, predicted_N)
    return pd.DataFrame(
        {name: column.numpy() for name, column in zip(COLUMNS, columns, strict=True)},
        index=pd.Index(said.numbers_N.numpy(), name="index"),
    )


def out_of_fold(
    model: nn.Module,
    head: Head,
    train: Batches,
    views: Sequence[View],
    *,
    repeats: int = 1,
    seed: int,
    step: Callable[[str], None],
) -> OutOfFold:
    """Class probabilities of every training sample from LDA fitted on the other half.

    Two passes: the first takes the moments of both halves, the second averages the
    probabilities of each sample over its views. The rank is an eighth of the width, at least
    K: on CIFAR-10 ranks from 16 to 512 differ by little (docs/LOG.md).

    Args:
        model: The network, best truncated.
        head: Its head.
        train: Batches in the same order each time, or with the index.
        views: Under which the labels are not remembered; none takes samples as they are.
        repeats: How often to draw the views for the fit.
        seed: Of the views.
        step: Told of every batch.

    Raises:
        DataError: A class with samples in one half only.
    """
    readouts = _fitted_on_the_other_half(
        model, head, train, views, repeats=repeats, seed=seed, step=step
    )
    probabilities, given, numbers = [], [], []
    for batch, numbers_N, inputs in through_views(
        train, views, classes=head.classes, seed=seed + 1
    ):
        step("labels against the other half")
        second_N = _in_second_half(numbers_N)[:, None]
        parts = []
        for each in inputs:
            features_ND = head.features_and_logits(model, each)[0]
            first_NK, second_NK = (_probabilities(readout, features_ND) for readout in readouts)
            parts.append(torch.where(second_N, second_NK, first_NK))
        probabilities.append(torch.stack(parts).mean(0))
        given.append(batch.labels.cpu())
        numbers.append(numbers_N)
    return OutOfFold(torch.cat(probabilities), torch.cat(given), torch.cat(numbers))


def noise_among(ground: Groundwork, *, seed: int) -> Noise | None:
    """Label noise of the sampled training data; None where a class has hardly a sample.

    Taken behind the strongest filter: what a network still remembers of wrong labels, it
    counts as right ones (docs/LOG.md).
    """
    found = ground.survey
    sample = [(batch.inputs, batch.labels, batch.index) for batch in found.sample]
    try:
        return out_of_fold(
            ground.network(STRENGTHS[-1] if ground.layers.grams else UNTOUCHED),
            found.head,
            sample,
            ground.views,
            repeats=draws(sum(map(len, found.sample)), ground.views),
            seed=seed,
            step=lambda _: None,
        ).noise
    except DataError:
        return None


def _fitted_on_the_other_half(
    model: nn.Module,
    head: Head,
    train: Batches,
    views: Sequence[View],
    *,
    repeats: int,
    seed: int,
    step: Callable[[str], None],
) -> list[Readout]:
    halves = [Moments(head.width, head.classes) for _ in range(2)]
    for batch, numbers_N, inputs in through_views(
        train, views, classes=head.classes, repeats=repeats, seed=seed
    ):
        step("moments of both halves")
        second_N = _in_second_half(numbers_N)
        for each in inputs:
            features_ND = head.features_and_logits(model, each)[0].cpu()
            labels_N = batch.labels.cpu()
            halves[0].update(features_ND[~second_N], given=labels_N[~second_N])
            halves[1].update(features_ND[second_N], given=labels_N[second_N])
    for moments in halves:
        _require_every_class(moments)
    return [Readout.lda(moments) for moments in reversed(halves)]


def _require_every_class(half: Moments) -> None:
    absent = torch.nonzero(half.counts["given"] == 0).flatten().tolist()
    if absent:
        raise DataError(
            f"class {absent[0]} has no sample in one half of the training data",
            wanted="a few samples of each class, so that each half can judge the other",
            advice="Drop the classes that are hardly there, or bring more of their samples",
        )


def _probabilities(readout: Readout, features_ND: Tensor) -> Tensor:
    rank = min(readout.max_rank, max(readout.gains_RK.shape[1], len(readout.mean_D) // 8))
    return torch.softmax(readout.logits(features_ND, rank), 1).cpu()


def _in_second_half(numbers_N: Tensor) -> Tensor:
    """A fixed coin toss for each number (Fibonacci hashing), so that halves survive shuffling."""
    return numbers_N * -7046029254386353131 < 0
