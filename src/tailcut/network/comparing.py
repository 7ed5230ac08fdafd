"""Whether two passes over a loader were over the same samples, and what differs if not."""

from __future__ import annotations

import numpy as np

from tailcut.errors import DataError
from tailcut.network.record import TELLING, Array, Record

_ROUNDS = 4
"""Of the data, after which a pass is not waited for any longer."""

_CHANCE = 0.01
"""Share of augmented inputs that may look like those of other samples: blank ones, perhaps."""

_ALIKE = 0.1
"""Share of augmented inputs that may look like an input of another place: copies, perhaps."""

_POSITION = "the position of each sample in the data set, the same in every pass, each once"
_EVERY = (
    "Pass a loader that draws every sample once: none with replacement, by weights, or left out"
)
_KEEP = "draw label noise once and keep it in the data set"
_SPLIT = (
    "Split the stream among the workers by torch.utils.data.get_worker_info(), or set num_workers=0"
)


def require_unique(record: Record, name: str, workers: int) -> None:
    """Refuse an index that names two samples of a pass by one number.

    Args:
        record: Of a pass, or of its beginning.
        name: Of the samples.
        workers: That each hold a copy of a stream.
    """
    if record.index_N is None:
        return
    order_N = np.argsort(record.index_N, kind="stable")
    repeats = np.flatnonzero(np.diff(record.index_N[order_N]) == 0)
    if not len(repeats):
        return
    rows = order_N[repeats[0] : repeats[0] + 2]
    one, other = (record.batch_of(row) for row in rows)
    where = f"in batches {one} and {other}" if one != other else f"in batch {one}"
    raise DataError(
        f"{record.index_name} that does not number the {name}: "
        f"{record.index_N[rows[0]]} comes twice, {where}",
        wanted=_POSITION,
        advice=_SPLIT
        if workers > 1
        else "Leave it out, or yield that position, and draw no sample twice",
    )


def require_no_copies(record: Record, name: str, workers: int) -> None:
    """Refuse a pass in which every sample comes equally often, but more than once.

    Args:
        record: Of a pass.
        name: Of the samples.
        workers: That each hold a copy of a stream.
    """
    counts = record.counts
    times = int(np.gcd.reduce(counts))
    if workers > 1 and (times % workers == 0 or record.in_turns(workers)):
        raise DataError(
            f"{len(record)} {name}, each of them once from each of {workers} workers",
            wanted="each sample once",
            advice=_SPLIT,
        )
    if times > 1 and len(counts) >= TELLING:
        raise DataError(
            f"{len(record)} {name} with {len(counts)} different inputs, each of which comes "
            f"{times} times",
            wanted="each sample once",
            advice="Repeat no data, and let no two batches share their memory",
        )


def require_an_end(record: Record, name: str) -> None:
    """Refuse a pass that has gone round the data several times already, perhaps for ever.

    Args:
        record: Of the beginning of a pass.
        name: Of the samples.
    """
    counts = record.counts
    rounds = int(counts.min())
    if rounds >= _ROUNDS and counts.max() <= rounds + 1 and len(counts) >= TELLING:
        raise DataError(
            f"a pass that has gone {rounds} times round {len(counts)} {name} without an end",
            wanted="each sample once",
            advice="End the pass after one round of the data",
        )


def compare_labels(known: Record, part: Record, rows_n: Array, here_n: Array, where: str) -> None:
    """Refuse a batch whose samples had other labels before.

    Args:
        known: Of a pass before, or of its first batch.
        part: Of one batch.
        rows_n: Where its samples stand in what is known.
        here_n: Which of them stand there at all.
        where: Names the batch.
    """
    rows_n, new_n = rows_n[here_n], part.labels_N[here_n]
    differ_n = np.flatnonzero(known.labels_N[rows_n] != new_n)
    if not len(differ_n):
        return
    old, new = known.labels_N[rows_n[differ_n[0]]], new_n[differ_n[0]]
    same_n = known.marks_N[rows_n] == part.marks_N[here_n]
    if same_n[differ_n].mean() > 0.5:
        raise _labels_anew(f"{where} has the label {new} for an input that had {old} before")
    if part.index_N is None:
        raise _other_order(f"{where} holds other labels when it is read again", part)
    number = part.index_N[here_n][differ_n[0]]
    raise _other_order(
        f"{where} has the label {new} for the index {number}, which had {old} before", part
    )


def compare_samples(first: Record, again: Record, name: str, dropped: int) -> None:
    """Refuse another number of samples than before, other numbers of them, or other labels.

    Args:
        first: Of a pass.
        again: Of another.
        name: Of the samples.
        dropped: How many of them a shuffling loader leaves out, others in each pass.
    """
    if len(first) != len(again):
        raise other_number(len(first), len(again), name)
    if again.index_N is not None:
        new_n = again.index_N[~first.rows_of(again.index_N)[1]]
        if len(new_n) > dropped:
            raise DataError(
                f"{name} with the index {new_n[0]}, which did not come in an earlier pass",
                wanted="the same samples in every pass",
                advice=_EVERY,
            )
    classes = 1 + max(first.labels_N.max(), again.labels_N.max())
    old_K, new_K = (np.bincount(each.labels_N, minlength=classes) for each in (first, again))
    if np.abs(old_K - new_K).sum() > 2 * dropped:
        label = int(np.abs(old_K - new_K).argmax())
        raise DataError(
            f"{new_K[label]} {name} with the label {label}, of which there were {old_K[label]} in "
            "an earlier pass",
            wanted="the same samples with the same labels in every pass",
            advice=f"{_EVERY}; {_KEEP}",
        )


def compare_inputs(first: Record, again: Record, name: str) -> None:
    """Refuse other labels for equal inputs, wherever they come.

    Where inputs change, some may look like others by chance.
    """
    one, other = first.once, again.once
    _, old_n, new_n = np.intersect1d(
        first.marks_N[one], again.marks_N[other], assume_unique=True, return_indices=True
    )
    old_n, new_n = first.labels_N[one[old_n]], again.labels_N[other[new_n]]
    changed = int(np.count_nonzero(old_n != new_n))
    if changed > (0 if len(old_n) == len(one) else _CHANCE * len(old_n)):
        raise _labels_anew(
            f"{changed} of {len(old_n)} {name} with another label than in an earlier pass"
        )


def compare_places(first: Record, again: Record, name: str, *, fixed: bool) -> None:
    """Refuse inputs that come at another place, or with another index, than before.

    Where labels say nothing: sorted samples shuffled within their class, say. If no input comes
    again at all, nobody can tell.

    Args:
        first: Of a pass; all labels agree by place, or by index.
        again: Of another.
        name: Of the samples.
        fixed: Whether the order is known without a look.
    """
    rows_N, here_N = np.arange(len(again)), np.ones(len(again), dtype=bool)
    if again.index_N is not None:
        rows_N, here_N = first.rows_of(again.index_N)
    old_n, new_n = first.marks_N[rows_N[here_N]], again.marks_N[here_N]
    stayed = int(np.count_nonzero(old_n == new_n))
    if stayed == len(new_n):
        return
    moved = int(np.isin(new_n[old_n != new_n], first.marks_N).sum())
    if moved > min(stayed, 0 if stayed + moved == len(new_n) else _ALIKE * len(new_n)):
        raise _other_order(
            f"{moved} of {len(new_n)} {name} in another place than in an earlier pass"
            if again.index_N is None
            else f"{moved} of {len(new_n)} {name} with another index than in an earlier pass",
            again,
        )
    if again.index_N is None and not (stayed or moved or fixed):
        raise DataError(
            f"{name} that all look different in every pass, in an order that may have changed",
            wanted="inputs that stay the same, or (inputs, labels, index)",
            advice="Turn off the augmentation, or yield each sample's position in the data set as "
            "a third item",
        )


def other_number(old: int, new: int, name: str) -> DataError:
    """Of samples in two passes."""
    if not new:
        return DataError(
            f"{old} {name} at first, and none when they are read again",
            wanted="batches that can be read several times",
            advice="Let __iter__ start anew, or pass list(batches)",
        )
    return DataError(
        f"{old} {name} in one pass and {new} in another",
        wanted="the same samples in every pass",
        advice="Pass a loader of data that neither grow nor shrink meanwhile",
    )


def _other_order(seen: str, record: Record) -> DataError:
    if record.index_N is None:
        return DataError(
            seen,
            wanted="the same samples in the same order in every pass, or (inputs, labels, index)",
            advice="Turn off what shuffles, or draws labels anew, or yield each sample's position "
            "in the data set as a third item",
        )
    return DataError(
        seen,
        wanted=_POSITION,
        advice="Yield the position in the data set, not in the pass, and draw no labels anew",
    )


def _labels_anew(seen: str) -> DataError:
    return DataError(
        seen,
        wanted="the labels that the network was trained on, the same in every pass",
        advice=_KEEP[0].upper() + _KEEP[1:],
    )
