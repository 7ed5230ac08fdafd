"""What the probes of all training hosts have in common: when to look, what at, and the alarm."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import DataError, TailcutError, TailcutWarning
from tailcut.network.batches import read
from tailcut.network.head import Head, find_head
from tailcut.network.modules import copied, inner, network_in
from tailcut.network.stream import own_copy, reading_numbers, runnable
from tailcut.numerics.curve import RankCurve, geometric_ranks, rank_curve
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.policy import NOISY, SURE
from tailcut.verbs.repair import Repair, repair
from tailcut.verbs.survey import memorisation

PER_OCTAVE = 2
"""Ranks looked at for each doubling, as in the lab."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What one state of a network in training shows.

    Attributes:
        epoch: How many epochs were complete.
        curve: Accuracy of the spectral linear probe on the held-out given labels, at each rank.
        width: D.
        agreement: Accuracy of the network on the training labels as they are given, 0..1.
        unseen: Its accuracy on the held-out given labels, 0..1.
        effective_rank: Of the features, 1..D.
    """

    epoch: int
    curve: RankCurve
    width: int
    agreement: float
    unseen: float
    effective_rank: float

    @property
    def memorisation(self) -> float:
        """m = (agreement - unseen) / (1 - unseen), see `verbs.survey.memorisation`."""
        return memorisation(self.agreement, self.unseen)

    @property
    def memorises(self) -> bool:
        """Whether a tenth of the training labels are known only because they were seen.

        agreement - unseen >= NOISY, and surely more than 0 for so many held-out samples. The
        share is that from which on the repair cuts; networks that learn true labels well stay
        below it.
        """
        n = self.curve.n["given"]
        error = math.sqrt(self.unseen * (1 - self.unseen) / n)
        gap = self.agreement - self.unseen
        return gap >= NOISY and gap > SURE * error

    def values(self) -> dict[str, float]:
        """What is logged: the same names at every epoch.

        Ranks beyond the directions that vary have the accuracy of all of these.
        """
        last = self.curve.ranks[-1]
        accuracy = {
            f"tailcut/rank_{rank}": self.curve.at(min(rank, last))
            for rank in geometric_ranks(self.width, PER_OCTAVE)
            if rank in self.curve.ranks or rank > last
        }
        return accuracy | {
            "tailcut/best_rank": float(self.curve.best()),
            "tailcut/effective_rank": self.effective_rank,
            "tailcut/train_accuracy": self.agreement,
            "tailcut/holdout_accuracy": self.unseen,
            "tailcut/memorisation": self.memorisation,
        }


@torch.no_grad()
def reading(model: nn.Module, train: Batches, holdout: Batches, epoch: int) -> Reading:
    """Look at a network without touching it: a copy is evaluated, two passes over the data.

    The spectral linear probe is least squares on one-hot given labels in the leading r principal
    directions of the training features (`Readout.ridge`), asked about the held-out samples.

    Args:
        model: In any mode.
        train: Batches with the labels it is trained on.
        holdout: Batches it is not trained on; noisy labels will do.
        epoch: How many are complete.

    Raises:
        HeadError: No linear head that gives the network's logits.
        DataError: Data that cannot be used, or a class without a training sample.
    """
    twin, head = _opened(model, train)
    moments, hits = Moments(head.width, head.classes), 0
    for features_ND, logits_NK, given_N in _passed(twin, head, train):
        moments.update(features_ND, given=given_N)
        hits += _hits(logits_NK, given_N)
    spectrum = Spectrum.of(moments)
    readout = Readout.ridge(moments, spectrum=spectrum)
    held_hits: list[int] = []

    def held_out() -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        for features_ND, logits_NK, given_N in _passed(twin, head, holdout):
            held_hits.append(_hits(logits_NK, given_N))
            yield features_ND, {"given": given_N}

    wanted = [*geometric_ranks(head.width, PER_OCTAVE), readout.max_rank]
    curve = rank_curve(readout, held_out(), [r for r in wanted if r <= readout.max_rank])
    unseen = sum(held_hits) / curve.n["given"]
    return Reading(epoch, curve, head.width, hits / moments.n, unseen, spectrum.effective_rank)


def _opened(model: nn.Module, train: Batches) -> tuple[nn.Module, Head]:
    """Our own copy of the network, and its proven head."""
    twin, first = own_copy(inner(network_in(model))), next(read(train)).inputs
    if runnable(twin, first) is not first:
        reading_numbers(twin)
    return twin, find_head(twin, first)


def _passed(
    model: nn.Module, head: Head, batches: Batches
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Features (N x D), logits (N x K) and given labels (N,) of each batch."""
    for batch in read(batches, head.classes):
        yield *head.features_and_logits(model, batch.inputs), batch.labels


def _hits(logits_NK: Tensor, given_N: Tensor) -> int:
    return int((logits_NK.argmax(1).cpu() == given_N.cpu()).sum())


class Probing:
    """The state of a probe through a training; a host's callback inherits it.

    Args:
        train: Batches to look at instead of those that the host trains on.
        holdout: Batches to look at instead of those that the host validates on.
        epochs: After which to look: every n-th for an integer, else those listed, counted from 1.
        repair_at_end: Whether to repair the network after the last epoch. A copy of its weights
            before the first, kept on the CPU meanwhile, is the repair's `backbone`.

    Attributes:
        readings: What was seen, in order.
        alarm: The first epoch after which the network memorised; None so far.
        repair_: The repair of the trained network, which is not changed; None without.

    Raises:
        DataError: Epochs that are none.
    """

    def __init__(
        self,
        train: Batches | None = None,
        holdout: Batches | None = None,
        *,
        epochs: int | Collection[int] = 1,
        repair_at_end: bool = False,
    ) -> None:
        super().__init__()
        if min([epochs] if isinstance(epochs, int) else epochs, default=0) < 1:
            raise DataError(
                f"epochs={epochs!r}",
                wanted="a number, to look after every so many epochs, or epochs counted from 1",
                advice="Correct epochs, or leave it out to look after each",
            )
        self.train, self.holdout = train, holdout
        self.epochs, self.repair_at_end = epochs, repair_at_end
        self.readings: list[Reading] = []
        self.alarm: int | None = None
        self.repair_: Repair | None = None
        self._start: nn.Module | None = None

    def _begin(self, model: nn.Module, train: Batches, holdout: Batches | None) -> None:
        """Refuse at once what no probe can look at; forget an earlier training.

        Raises:
            HeadError: No linear head that gives the network's logits.
            DataError: Batches that cannot be used, or none held out.
        """
        self.readings, self.alarm, self.repair_ = [], None, None
        if holdout is None:
            raise DataError(
                "no held-out samples",
                wanted="samples that the network is not trained on, to tell memory from learning",
                advice="Validate during the training, or pass SpectralProbe(holdout=batches)",
            )
        with unnoticed(train, holdout):
            _, head = _opened(model, train)
            next(read(holdout, head.classes))
        self._start = copied(inner(network_in(model))).cpu() if self.repair_at_end else None

    def _look(
        self, model: nn.Module, train: Batches, holdout: Batches, epoch: int
    ) -> dict[str, float]:
        """What to log after an epoch; nothing where none is due, or where nothing can be measured.

        What cannot be measured in the middle of a training is a warning: the training goes on.
        """
        asked = self.epochs
        if epoch % asked if isinstance(asked, int) else epoch not in asked:
            return {}
        try:
            with unnoticed(train, holdout):
                seen = reading(model, train, holdout, epoch)
        except TailcutError as error:
            _warn(f"nothing can be measured of the network after epoch {epoch}: {error}")
            return {}
        self.readings.append(seen)
        if self.alarm is None and seen.memorises:
            self.alarm = epoch
            _warn(
                f"the network memorises labels after epoch {epoch}: it predicts "
                f"{100 * seen.agreement:.1f} % of those it is trained on and "
                f"{100 * seen.unseen:.1f} % of {seen.curve.n['given']} others"
            )
        return seen.values() | {"tailcut/alarm": float(self.alarm is not None)}

    def _end(self, model: nn.Module, train: Batches, holdout: Batches | None) -> None:
        """Repair a copy of the network, if that was asked for."""
        if not self.repair_at_end:
            return
        try:
            with unnoticed(train, holdout):
                self.repair_ = repair(model, train, holdout, backbone=self._start, progress=False)
        except TailcutError as error:
            _warn(f"the trained network is not repaired: {error}")
        self._start = None


def _warn(message: str) -> None:
    warnings.warn(message, TailcutWarning, stacklevel=4)


@contextmanager
def unnoticed(*loaders: Any) -> Iterator[None]:
    """The random numbers of the training go on afterwards as if nobody had looked.

    Those of Python, of NumPy, of torch on the CPU and on CUDA, and of the loaders' own generators.
    """
    generators = [each for loader in loaders for each in _generators(loader)]
    states = [each.get_state() for each in generators]
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 the host's own
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002 the same
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


def _generators(loader: Any) -> Iterator[torch.Generator]:
    """Of a DataLoader, of its samplers, and of those inside them."""
    while loader is not None:
        if isinstance(held := getattr(loader, "generator", None), torch.Generator):
            yield held
        loader = getattr(loader, "batch_sampler", None) or getattr(loader, "sampler", None)
