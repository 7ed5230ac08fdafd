"""What one pass with the untouched network shows, before anything is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tailcut._typing import Batches, Inputs
from tailcut.errors import DataError, concerning
from tailcut.network.batches import Batch, read
from tailcut.network.head import Head, find_head
from tailcut.network.inputs import tensors_of
from tailcut.network.modules import inner, network_in
from tailcut.network.sample import RandomSample, fingerprints
from tailcut.network.stream import hits, own_copy, reading_numbers, runnable
from tailcut.numerics.draws import torch_generator
from tailcut.numerics.moments import Moments
from tailcut.numerics.own_head import OwnHead
from tailcut.numerics.segregation import permuted_within
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.agreement import Agreement, readable

SAMPLE = 4096
"""Training samples that layers, views and held-out choices are measured on, at most."""

_SAMPLE_BYTES = 2**29
"""And at most this much memory of them: 850 images of 3 x 224 x 224 floats."""

PERMUTED = tuple(f"permuted {number}" for number in range(19))
"""Label sets for the null of the segregation index: its p-value goes down to 1/20."""

_OVERLAP = 0.01
"""Share of held-out samples that may be exact copies of training samples: data sets have some."""


@dataclass(frozen=True, eq=False)
class Survey:
    """One pass over the training data, and the held-out data beside it.

    Attributes:
        model: Our own copy of the network, untouched, in evaluation mode.
        head: Its proven head.
        moments: Of the penultimate features of all training samples, with the label set
            "given"; where true labels are known with "clean" first, and permutations.
        spectrum: Of those features.
        agreement: How often the network predicts the given labels of the training samples.
        sample: Up to 4 096 random training samples, as batches.
        holdout: As many held-out samples, as batches; empty without a holdout.
        unseen: Accuracy of the untouched network on the held-out given labels; None without.
    """

    model: nn.Module
    head: Head
    moments: Moments
    spectrum: Spectrum
    agreement: Agreement
    sample: list[Batch]
    holdout: list[Batch]
    unseen: float | None

    @property
    def own_head(self) -> OwnHead:
        """The network's head as it is; no filter touches it."""
        return OwnHead(*self.head.parameters(self.model))

    @property
    def memorisation(self) -> float | None:
        """m on the training samples as they are; None without unseen labels to compare with."""
        return None if self.unseen is None else memorisation(self.agreement.share, self.unseen)


def memorisation(agreement: float, unseen: float) -> float:
    """m = (agreement - unseen) / (1 - unseen): 1 repeats every label it saw, 0 no more than any.

    0 where every unseen label is predicted: there is nothing left to remember.
    """
    return (agreement - unseen) / (1 - unseen) if unseen < 1 else 0.0


def survey(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None,
    *,
    clean_N: Tensor | None = None,
    device: torch.device | str | None,
    seed: int,
    step: Callable[[str], None],
) -> Survey:
    """Find the head, take the moments and draw the sample.

    Args:
        model: Stays as it is.
        train: What it was trained on.
        holdout: What it was not.
        clean_N: True labels of the training samples in their order, if known.
        device: To work on; the model's own if not given.
        seed: Of the samples drawn.
        step: Called with every batch.

    Raises:
        HeadError: No head that gives the logits.
        DataError: Data that cannot be used, or a holdout that overlaps the training data.
    """
    twin, first = own_copy(inner(network_in(model)), device), next(read(train)).inputs
    if runnable(twin, first) is not first:
        reading_numbers(twin)
    head, size = find_head(twin, first), _sample_size(first)
    known = ("clean", "given", *PERMUTED) if clean_N is not None else ("given",)
    moments = Moments(head.width, head.classes, known)
    sample, seen = RandomSample(size, seed), Counter[int]()
    predicted: list[Tensor] = []
    given: list[Tensor] = []
    generator = torch_generator(seed, "permutations")
    for batch, true_N in with_clean(train, clean_N, head.classes):
        step("survey")
        features_ND, logits_NK = head.features_and_logits(twin, batch.inputs)
        moments.update(features_ND, **_label_sets(batch.labels, true_N, generator))
        predicted.append(logits_NK.argmax(1).cpu())
        given.append(batch.labels.cpu())
        sample.update(batch)
        if holdout is not None:
            seen.update(fingerprints(batch.inputs).tolist())
    _require_two_classes(moments)
    held, unseen = _held_out(twin, holdout, head.classes, seen, size, seed)
    drawn = sample.batches()
    agreement = Agreement.of(
        torch.cat(predicted), torch.cat(given), head.classes, lambda: readable(twin, head, drawn)
    )
    return Survey(twin, head, moments, Spectrum.of(moments), agreement, drawn, held, unseen)


def with_clean(
    train: Batches, clean_N: Tensor | None, classes: int
) -> Iterator[tuple[Batch, Tensor | None]]:
    """Batches with their true labels, found by index, else by position.

    Args:
        train: In a fixed order, or with an index that is unique, where true labels are known.
        clean_N: One for each training sample.
        classes: K.

    Raises:
        DataError: Another number of samples than of true labels, or an index beyond them.
    """
    position = 0
    for batch in read(train, classes):
        index_N = torch.arange(position, position + len(batch))
        position += len(batch)
        if clean_N is None:
            yield batch, None
            continue
        if batch.index is not None:
            index_N = batch.index
        elif position > len(clean_N):
            raise _other_samples(clean_N)
        if int(index_N.max()) >= len(clean_N):
            raise DataError(
                f"{len(clean_N)} true labels, and a training sample with the index "
                f"{int(index_N.max())}",
                wanted="an index that is the position of the sample's true label in clean",
                advice="Yield that position, or bring the true labels of all that the index counts",
            )
        yield batch, clean_N[index_N]
    if clean_N is not None and position != len(clean_N):
        raise _other_samples(clean_N)


def _other_samples(clean_N: Tensor) -> DataError:
    return DataError(
        f"{len(clean_N)} true labels for another number of training samples",
        wanted="one true label for each training sample, in their order",
        advice="Check that both come from the same data set",
    )


def _label_sets(
    given_N: Tensor, true_N: Tensor | None, generator: torch.Generator
) -> dict[str, Tensor]:
    if true_N is None:
        return {"given": given_N}
    given_N = given_N.cpu()
    permuted = {name: permuted_within(given_N, true_N, generator) for name in PERMUTED}
    return {"clean": true_N, "given": given_N, **permuted}


def _held_out(
    twin: nn.Module,
    holdout: Batches | None,
    classes: int,
    seen: Counter[int],
    size: int,
    seed: int,
) -> tuple[list[Batch], float | None]:
    """Held-out samples and their accuracy; more copies than the data repeats itself are refused."""
    if holdout is None:
        return [], None
    repeated = sum(count for count in seen.values() if count > 1) / seen.total()
    sample, right, copies = RandomSample(size, seed), 0, 0
    with concerning("the held-out samples"):
        for batch in read(holdout, classes):
            right += hits(twin, batch.inputs, batch.labels)
            copies += sum(mark in seen for mark in fingerprints(batch.inputs).tolist())
            sample.update(batch)
    if copies > (_OVERLAP + repeated) * sample.seen:
        raise DataError(
            f"{copies} of {sample.seen} held-out samples are also training samples",
            wanted="a holdout that the network never trained on",
            advice="Hold out other samples, or leave the holdout out",
        )
    return sample.batches(), right / sample.seen


def _sample_size(inputs: Inputs) -> int:
    """As many samples as `_SAMPLE_BYTES` hold, at most `SAMPLE`."""
    each = sum(tensor[0].numel() * tensor.element_size() for tensor in tensors_of(inputs))
    return min(SAMPLE, max(256, _SAMPLE_BYTES // max(each, 1)))


def _require_two_classes(moments: Moments) -> None:
    counts_K = moments.counts["given"]
    if moments.n >= moments.classes and (counts_K > 0).sum() == 1:
        raise DataError(
            f"one class only: all {moments.n} training samples have the label "
            f"{int(counts_K.argmax())}",
            wanted=f"samples of all {moments.classes} classes of the network",
            advice="Check the labels; from a sorted data set take rows all over it",
        )
