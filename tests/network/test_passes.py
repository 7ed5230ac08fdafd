"""A loader is held to the samples and labels of its first pass."""

from __future__ import annotations

import random

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)

from tailcut.errors import DataError
from tailcut.network.batches import read
from tailcut.network.passes import Passes

N = 120
Y = torch.randint(0, 3, (N,), generator=torch.Generator().manual_seed(0))
X = torch.randn(N, 5, generator=torch.Generator().manual_seed(1))
ROWS = torch.arange(N)
DATA, NUMBERED = TensorDataset(X, Y), TensorDataset(X, Y, ROWS)

SAME = "the same samples in the same order in every pass, or (inputs, labels, index)"
TURN_OFF = (
    "Turn off what shuffles, or draws labels anew, or yield each sample's position in the data set "
    "as a third item."
)
POSITION = "the position of each sample in the data set, the same in every pass, each once"


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    random.seed(0)


class Loader:
    """One of a user's own: a function starts each pass."""

    def __init__(self, start):
        self.start, self.passes = start, 0

    def __iter__(self):
        self.passes += 1
        return self.start(self.passes)


def batched(rows_of_pass, item=lambda rows: (X[rows], Y[rows])):
    """Batches of 32 of the rows that each pass takes."""
    return Loader(lambda number: (item(rows) for rows in rows_of_pass(number).split(32)))


def in_order(_):
    return ROWS


def shuffled(_):
    return torch.randperm(N)


def within_classes(number):
    """Sorted by class; within each class another order in every pass."""
    return torch.cat([torch.nonzero(label == Y).flatten().roll(number) for label in range(3)])


class OwnSampler(Sampler):
    def __iter__(self):
        return iter(random.sample(range(N), N))

    def __len__(self):
        return N


class Stream(IterableDataset):
    def __init__(self, *, split, numbered=False, noise=0.0):
        self.split, self.data, self.noise = split, NUMBERED if numbered else DATA, noise

    def __iter__(self):
        worker = get_worker_info()
        start, step = (worker.id, worker.num_workers) if worker and self.split else (0, 1)
        for row in range(start, N, step):
            inputs, *rest = self.data[row]
            yield (inputs + self.noise * torch.randn(5), *rest)


def twice(loader, **options):
    """Samples of the second of two passes; a first batch is looked at before."""
    passes = Passes(loader, **options)
    next(read(passes))
    for _ in range(2):
        n = sum(map(len, read(passes, 3)))
    return n


def told(loader, **options):
    with pytest.raises(DataError) as caught:
        twice(loader, **options)
    return str(caught.value)


def test_it_yields_what_the_loader_yields():
    loader = DataLoader(NUMBERED, 32)
    for (inputs, labels, index), batch in zip(loader, read(Passes(loader), 3), strict=True):
        assert torch.equal(batch.inputs, inputs)
        assert torch.equal(batch.labels, labels)
        assert torch.equal(batch.index, index)


SHUFFLING = {
    "torch": DataLoader(DATA, 32, shuffle=True),
    "a sampler of one's own": DataLoader(DATA, 32, sampler=OwnSampler()),
    "a loader of one's own": batched(shuffled),
    "a list that is shuffled in place": Loader(lambda _: iter(random.sample(LISTED, len(LISTED)))),
}
LISTED = [(X[rows], Y[rows]) for rows in ROWS.split(7)]


@pytest.mark.parametrize("name", SHUFFLING)
def test_where_the_place_does_not_matter_any_loader_may_shuffle(name):
    assert twice(SHUFFLING[name]) == N


@pytest.mark.parametrize("name", list(SHUFFLING)[1:])
def test_where_the_place_tells_which_sample_is_which_nobody_may_shuffle(name):
    assert told(SHUFFLING[name], ordered=True) == (
        f"batch 0 of the training samples holds other labels when it is read again; wanted {SAME}. "
        f"{TURN_OFF}"
    )


def test_an_order_that_changes_after_the_first_pass_is_named_by_its_batch():
    late = batched(lambda number: ROWS if number < 3 else torch.cat([ROWS[:32], ROWS[32:].flip(0)]))
    assert told(late, ordered=True).startswith("batch 1 of the training samples holds other labels")


@pytest.mark.parametrize("name", SHUFFLING)
def test_with_an_index_everybody_may_shuffle(name):
    loaders = {
        "torch": DataLoader(NUMBERED, 32, shuffle=True),
        "a sampler of one's own": DataLoader(NUMBERED, 32, sampler=OwnSampler()),
    }
    own = batched(shuffled, lambda rows: {"x": X[rows], "label": Y[rows], "idx": rows})
    assert twice(loaders.get(name, own), ordered=True) == N


def test_drop_last_may_leave_out_other_samples_in_each_pass():
    for data in (DATA, NUMBERED):
        assert twice(DataLoader(data, 50, shuffle=True, drop_last=True)) == 100


def test_samples_shuffled_within_their_class_are_found_by_their_inputs():
    assert twice(batched(within_classes)) == N
    assert told(batched(within_classes), ordered=True) == (
        "120 of 120 training samples in another place than in an earlier pass; wanted "
        f"{SAME}. {TURN_OFF}"
    )


def test_two_samples_of_a_class_that_change_places_are_found():
    one, other = torch.nonzero(Y == 2).flatten()[-2:].tolist()
    swapped = ROWS.clone()
    swapped[[one, other]] = swapped[[other, one]]
    late = batched(lambda number: ROWS if number < 3 else swapped)
    assert told(late, ordered=True).startswith("2 of 120 training samples in another place than ")


def test_copies_among_augmented_inputs_do_not_count_as_moved():
    doubled = X[ROWS % 100]

    def seen(rows):
        flips = torch.rand(len(rows), 1) < 0.5
        return torch.where(flips, doubled[rows].flip(1), doubled[rows]), Y[rows % 100]

    assert twice(batched(in_order, seen), ordered=True) == N


def test_a_running_number_is_no_index():
    def counted(rows_of):
        def start(number):
            for place, rows in enumerate(rows_of(number).split(32)):
                yield X[rows], Y[rows], 32 * place + torch.arange(len(rows))

        return Loader(start)

    advice = "Yield the position in the data set, not in the pass, and draw no labels anew."
    random_order = told(counted(ROWS.roll))
    assert random_order == (
        "batch 0 of the training samples has the label 1 for the index 0, which had 0 before; "
        f"wanted {POSITION}. {advice}"
    )
    assert told(counted(within_classes)) == (
        "120 of 120 training samples with another index than in an earlier pass; wanted "
        f"{POSITION}. {advice}"
    )


class Augmented(Dataset):
    """In order, by a DataLoader."""

    def __init__(self, labels=Y):
        self.labels = labels

    def __len__(self):
        return N

    def __getitem__(self, row):
        return X[row] + 0.1 * torch.randn(5), self.labels[row]


def flipped(rows):
    inputs = X[rows]
    return torch.where(torch.rand(len(rows), 1) < 0.5, inputs.flip(1), inputs), Y[rows]


def jittered(rows):
    return X[rows] + 0.1 * torch.randn(len(rows), 5), Y[rows]


@pytest.mark.parametrize("ordered", [True, False])
def test_inputs_may_be_augmented(ordered):
    assert twice(DataLoader(Augmented(), 32), ordered=ordered) == N
    assert twice(batched(in_order, flipped), ordered=ordered) == N
    assert twice(batched(in_order, lambda r: (*jittered(r), r)), ordered=ordered) == N


def test_an_order_that_nothing_can_tell_is_said_to_be_unknown():
    assert twice(batched(shuffled, jittered)) == N
    assert told(batched(in_order, jittered), ordered=True) == (
        "training samples that all look different in every pass, in an order that may have "
        "changed; wanted inputs that stay the same, or (inputs, labels, index). Turn off the "
        "augmentation, or yield each sample's position in the data set as a third item."
    )


def redrawn(rows):
    labels = Y[rows].clone()
    labels[torch.rand(len(rows)) < 0.3] = torch.randint(0, 3, ())
    return X[rows], labels


KEEP = (
    "; wanted the labels that the network was trained on, the same in every pass. Draw label noise "
    "once and keep it in the data set."
)


def test_labels_drawn_anew_are_named_as_such():
    moved = batched(in_order, lambda rows: (X[rows], (Y[rows] + MOVES.pop()) % 3))
    MOVES = [1, 1, 1, 1, 0, 0, 0, 0, 0]
    label = int(Y[0])
    assert told(moved, ordered=True) == (
        f"batch 0 of the training samples has the label {(label + 1) % 3} for an input that had "
        f"{label} before{KEEP}"
    )
    assert told(batched(shuffled, redrawn)).endswith(
        f" of 120 training samples with another label than in an earlier pass{KEEP}"
    )


def test_labels_drawn_anew_are_seen_even_if_each_class_keeps_its_number():
    class Permuted(Dataset):
        def __len__(self):
            return N

        def __getitem__(self, row):
            if row == 0:
                self.labels = Y[torch.randperm(N)]
            return X[row], self.labels[row]

    assert told(DataLoader(Permuted(), 32)).endswith(
        f" of 120 training samples with another label than in an earlier pass{KEEP}"
    )


def test_augmentation_does_not_hide_labels_drawn_anew():
    both = batched(shuffled, lambda rows: (flipped(rows)[0], redrawn(rows)[1]))
    assert "with another label than in an earlier pass" in told(both)


def test_tokens_padded_to_the_longest_of_a_batch_are_the_same_inputs():
    texts = [torch.randint(1, 99, (2 + row % 9,)) for row in range(N)]

    def padded(labels_of):
        def collate(rows):
            tokens = torch.nn.utils.rnn.pad_sequence([texts[row] for row in rows], batch_first=True)
            masks = (tokens > 0).long()
            return {"input_ids": tokens, "attention_mask": masks, "labels": labels_of(rows)}

        return DataLoader(range(N), 16, shuffle=True, collate_fn=collate)

    assert twice(padded(lambda rows: Y[rows])) == N
    assert "with another label than in an earlier pass" in told(
        padded(lambda rows: redrawn(torch.tensor(rows))[1])
    )


@pytest.mark.parametrize(
    "sampler",
    [
        lambda _: WeightedRandomSampler(1.0 + Y, N),
        lambda data: RandomSampler(data, replacement=True),
    ],
)
def test_draws_with_replacement_are_other_samples_in_each_pass(sampler):
    message = told(DataLoader(DATA, 32, sampler=sampler(DATA)))
    assert message.endswith(
        " in an earlier pass; wanted the same samples with the same labels in every pass. Pass a "
        "loader that draws every sample once: none with replacement, by weights, or left out; draw "
        "label noise once and keep it in the data set."
    )
    assert " comes twice, in batch" in told(DataLoader(NUMBERED, 32, sampler=sampler(DATA)))


def test_a_loader_that_grows_or_shrinks_is_refused_with_both_numbers():
    held = [(X[rows], Y[rows]) for rows in ROWS.split(32)]
    for ordered in (True, False):
        grows = Loader(lambda number: iter(held[: number + 1]))
        assert told(grows, ordered=ordered) == (
            "96 training samples in one pass and 120 in another; wanted the same samples in every "
            "pass. Pass a loader of data that neither grow nor shrink meanwhile."
        )
    assert told(Loader(lambda number: iter(held[number - 1 :])), name="held-out samples") == (
        "88 held-out samples in one pass and 56 in another; wanted the same samples in every pass. "
        "Pass a loader of data that neither grow nor shrink meanwhile."
    )


def test_other_samples_by_their_index_are_refused():
    half = batched(lambda number: ROWS[:60] if number < 3 else ROWS[60:], lambda r: (X[r], Y[r], r))
    assert told(half) == (
        "training samples with the index 60, which did not come in an earlier pass; wanted the "
        "same samples in every pass. Pass a loader that draws every sample once: none with "
        "replacement, by weights, or left out."
    )


def test_a_generator_inside_a_loader_can_be_read_only_once():
    once = iter([(X[rows], Y[rows]) for rows in ROWS.split(32)])
    assert told(Loader(lambda _: once)) == (
        "88 training samples at first, and none when they are read again; wanted batches that can "
        "be read several times. Let __iter__ start anew, or pass list(batches)."
    )
    single = iter([(X, Y)])
    assert told(Loader(lambda _: single)).startswith("120 training samples at first, and none when")


def with_third(third):
    """In order, with a third item for each batch of rows."""
    return batched(in_order, lambda rows: (X[rows], Y[rows], third(rows)))


NO_INDEX = {
    "restarts in each batch": (
        lambda rows: torch.arange(len(rows)),
        "0 comes twice, in batches 0 and 1",
    ),
    "lengths": (lambda rows: 5 + rows % 90, "5 comes twice, in batches 0 and 2"),
    "groups": (lambda rows: rows // 40, "0 comes twice, in batch 0"),
    "whole weights": (torch.ones_like, "1 comes twice, in batch 0"),
    "late repeat": (lambda rows: rows.where(rows != 119, 70), "70 comes twice, in batches 2 and 3"),
}


@pytest.mark.parametrize("name", NO_INDEX)
def test_a_third_item_that_repeats_is_no_index_and_never_taken_for_one(name):
    third, figures = NO_INDEX[name]
    assert told(with_third(third)) == (
        f"a third item that does not number the training samples: {figures}; wanted {POSITION}. "
        "Leave it out, or yield that position, and draw no sample twice."
    )


def test_a_repeat_is_found_soon():
    loader = batched(
        lambda _: torch.arange(10_000), lambda rows: (X[rows % N], Y[rows % N], rows % 64)
    )
    seen = []
    with pytest.raises(DataError, match="0 comes twice, in batches 0 and 2"):
        seen.extend(Passes(loader))
    assert len(seen) == 2


@given(st.permutations(range(24)), st.integers(0, 23), st.integers(0, 23), st.integers(1, 24))
def test_an_index_is_refused_if_and_only_if_a_number_repeats(order, one, other, size):
    index = torch.tensor(order)
    index[one] = index[other]
    loader = [(X[r], Y[r], index[r]) for r in torch.arange(24).split(size)]
    if one == other:
        assert twice(loader) == 24
        return
    rows = sorted((one, other))
    first, second = (row // size for row in rows)
    where = f"batch {first}" if first == second else f"batches {first} and {second}"
    assert f": {index[one]} comes twice, in {where};" in told(loader)


def test_row_numbers_of_a_larger_set_are_an_index():
    assert twice(with_third(lambda rows: 7 * rows + 1_000), ordered=True) == N
    assert twice(DataLoader(Subset(NUMBERED, range(30, 90)), 32, shuffle=True), ordered=True) == 60


def test_an_index_in_some_batches_alone_is_refused():
    loader = [(X, Y, ROWS), (X, Y)]
    assert told(loader) == (
        "batch 1 of the training samples has no index, unlike others; wanted an index in all "
        "batches or in none. Check the collate function."
    )


@pytest.mark.parametrize("column", ["index", "idx"])
def test_a_column_of_hugging_face_is_an_index_or_refused_by_name(column):
    datasets.disable_progress_bars()
    table = datasets.Dataset.from_dict(
        {"x": X.tolist(), "label": Y.tolist(), column: list(range(N))}
    )
    assert twice(DataLoader(table.with_format("torch"), 32, shuffle=True), ordered=True) == N
    halved = table.map(lambda row: {column: row[column] // 2})
    assert told(DataLoader(halved.with_format("torch"), 32)) == (
        f"the column {column!r} that does not number the training samples: 0 comes twice, in "
        f"batch 0; wanted {POSITION}. Leave it out, or yield that position, and draw no sample "
        "twice."
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("numbered", [True, False])
def test_a_stream_in_a_fixed_order_is_read_as_any_loader(workers, numbered):
    stream = Stream(split=True, numbered=numbered)
    assert twice(DataLoader(stream, 16, num_workers=workers), ordered=True) == N


SPLIT = (
    "Split the stream among the workers by torch.utils.data.get_worker_info(), or set "
    "num_workers=0."
)


@pytest.mark.parametrize("noise", [0, 0.1])
def test_workers_that_each_read_the_whole_stream_are_found(noise):
    loader = DataLoader(Stream(split=False, noise=noise), 16, num_workers=2)
    assert told(loader) == (
        "240 training samples, each of them once from each of 2 workers; wanted each sample once. "
        f"{SPLIT}"
    )
    numbered = DataLoader(Stream(split=False, numbered=True), 16, num_workers=2)
    assert told(numbered) == (
        "a third item that does not number the training samples: 0 comes twice, in batches 0 and "
        f"1; wanted {POSITION}. {SPLIT}"
    )


def test_copies_of_every_sample_are_found_without_workers_too():
    message = (
        "{} training samples with {} different inputs, each of which comes {} times; wanted each "
        "sample once. Repeat no data, and let no two batches share their memory."
    )
    assert told(batched(lambda _: torch.cat([ROWS, ROWS]))) == message.format(240, 120, 2)
    buffer = torch.empty(40, 5)
    held = [(buffer.copy_(X[rows]), Y[rows]) for rows in ROWS.split(40)]
    assert told(held) == message.format(120, 40, 3)


def test_a_pass_without_an_end_is_not_waited_for():
    class Endless(IterableDataset):
        def __iter__(self):
            while True:
                yield from DATA

    message = (
        "a pass that has gone 4 times round 120 training samples without an end; wanted each "
        "sample once. End the pass after one round of the data."
    )
    assert told(DataLoader(Endless(), 32)) == message
    endless = batched(lambda _: torch.cat([torch.randperm(N) for _ in range(1_000)]))
    assert told(endless) == message


def test_few_different_inputs_may_come_often():
    few = torch.randint(0, 2, (2_000, 5), generator=torch.Generator().manual_seed(0)).float()
    labels = torch.arange(2_000) % 3
    assert (
        twice([(few[r], labels[r]) for r in torch.arange(2_000).split(50)], ordered=True) == 2_000
    )


def test_some_samples_may_come_twice():
    assert twice(batched(lambda _: torch.cat([ROWS, ROWS[:50]])), ordered=True) == N + 50


def test_a_buffer_that_every_batch_overwrites_is_read_right():
    def start(_):
        inputs, labels = torch.empty(40, 5), torch.empty(40, dtype=torch.long)
        for rows in ROWS.split(40):
            yield inputs.copy_(X[rows]), labels.copy_(Y[rows])

    assert twice(Loader(start), ordered=True) == N
    labels = [batch.labels for batch in read(Passes(Loader(start)))]
    assert torch.equal(torch.cat(labels), Y)


def test_empty_batches_count_in_messages_and_nowhere_else():
    held = [(X[:0], Y[:0]), (X[:60], Y[:60], ROWS[:60]), (X[:60], Y[:60], ROWS[:60])]
    assert told(held).startswith(
        "a third item that does not number the training samples: 0 comes twice, in batches 1 and 2;"
    )
    assert twice([(X[:0], Y[:0]), (X, Y, ROWS)]) == N


def test_a_record_is_small():
    record = Passes([(X, Y, ROWS)])
    list(record)
    arrays = [each for each in vars(record._first).values() if isinstance(each, np.ndarray)]
    assert sum(each.nbytes for each in arrays) == 24 * N
