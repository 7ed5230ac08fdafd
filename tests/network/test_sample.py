from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from network_reference import images, seeded
from tailcut.network.batches import Batch
from tailcut.network.sample import RandomSample, fingerprints


def stream(n: int, batch_size: int = 16):
    """Samples whose input and label tell their position."""
    inputs_N1 = torch.arange(n, dtype=torch.float32)[:, None]
    for part in inputs_N1.split(batch_size):
        yield Batch(part, part[:, 0].long(), None)


def drawn(batches, size: int, seed: int = 0) -> RandomSample:
    sample = RandomSample(size, seed)
    for batch in batches:
        sample.update(batch)
    return sample


def positions(sample: RandomSample) -> list[int]:
    return torch.cat([batch.index for batch in sample.batches()]).tolist()


def test_every_position_is_about_equally_likely():
    """Of 60 sorted samples 15 are kept, 400 times: 100 +- 8.7 draws of each are expected."""
    counts = torch.zeros(60)
    for seed in range(400):
        counts[positions(drawn(stream(60), 15, seed))] += 1
    assert counts.sum() == 400 * 15
    assert (counts - 100).abs().max() < 4.5 * 8.7
    assert abs(float(counts[:30].sum()) / (400 * 15) - 0.5) < 0.03


def test_a_sorted_stream_comes_out_in_random_order():
    order = torch.tensor(positions(drawn(stream(200), 100))).float()
    assert abs(float(torch.corrcoef(torch.stack([order, torch.arange(100.0)]))[0, 1])) < 0.35


@given(
    n=st.integers(1, 40),
    size=st.integers(1, 50),
    batch_size=st.integers(1, 20),
    out=st.integers(1, 20),
)
def test_as_many_as_wanted_are_kept_without_repetition(n, size, batch_size, out):
    sample = drawn(stream(n, batch_size), size)
    batches = sample.batches(out)
    assert len(sample) == sum(map(len, batches)) == min(n, size)
    assert sample.seen == n
    assert len(set(positions(sample))) == min(n, size)
    assert all(len(batch) <= out for batch in batches)


def test_inputs_labels_and_positions_stay_together():
    for batch in drawn(stream(100), 30).batches(7):
        assert torch.equal(batch.inputs[:, 0].long(), batch.labels)
        assert torch.equal(batch.index, batch.labels)
        assert batch.inputs.dtype == torch.float32


def test_the_seed_decides():
    assert positions(drawn(stream(50), 10, 1)) == positions(drawn(stream(50), 10, 1))
    assert positions(drawn(stream(50), 10, 1)) != positions(drawn(stream(50), 10, 2))


def test_rows_of_dicts_are_kept_whole():
    tokens = torch.arange(20).reshape(10, 2)
    batch = Batch({"input_ids": tokens, "mask": tokens % 2}, torch.arange(10), None)
    (kept,) = drawn([batch], 4).batches()
    assert list(kept.inputs) == ["input_ids", "mask"]
    assert torch.equal(kept.inputs["input_ids"], tokens[kept.labels])
    assert torch.equal(kept.inputs["mask"], tokens[kept.labels] % 2)


def test_samples_of_different_shapes_go_into_different_batches():
    lengths = [3, 5, 4] * 10
    ragged = [
        Batch({"input_ids": torch.full((8, length), number)}, torch.full((8,), number), None)
        for number, length in enumerate(lengths)
    ]
    batches = drawn(ragged, 120).batches(16)
    assert sum(map(len, batches)) == 120
    for batch in batches:
        width = batch.inputs["input_ids"].shape[1]
        assert {lengths[label] for label in batch.labels.tolist()} == {width}


def test_the_first_batches_are_not_those_of_the_smallest_shape():
    ragged = [Batch(torch.zeros(64, length), torch.zeros(64).long(), None) for length in (2, 3, 4)]
    batches = drawn(ragged, 192).batches(16)
    assert len({batch.inputs.shape[1] for batch in batches[:4]}) > 1


def test_the_sample_does_not_change_with_the_batch_it_came_from():
    inputs = torch.ones(4, 2)
    sample = drawn([Batch(inputs, torch.zeros(4).long(), None)], 4)
    inputs.zero_()
    assert sample.batches()[0].inputs.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_fingerprints_are_equal_for_equal_inputs_and_else_not(dtype):
    inputs = (images(20) * 40).to(dtype)
    marks = list(fingerprints(inputs))
    assert len(set(marks)) == 20
    assert list(fingerprints(inputs.clone())) == marks
    assert list(fingerprints(inputs.flip(0))) == marks[::-1]
    assert not set(fingerprints(inputs.flip(3))) & set(marks)


def test_fingerprints_of_dicts_see_every_tensor_and_not_the_order_of_the_keys():
    tokens = torch.randint(0, 99, (6, 9), generator=seeded())
    mask = torch.ones(6, 9, dtype=torch.long)
    marks = list(fingerprints({"input_ids": tokens, "mask": mask}))
    assert list(fingerprints({"mask": mask, "input_ids": tokens})) == marks
    mask[0, 8] = 0
    other = list(fingerprints({"input_ids": tokens, "mask": mask}))
    assert other[0] != marks[0]
    assert other[1:] == marks[1:]


def test_fingerprints_do_not_depend_on_the_batch():
    inputs = images(10)
    parts = [mark for part in inputs.split(3) for mark in fingerprints(part)]
    assert parts == list(fingerprints(inputs))


def test_padding_does_not_change_a_fingerprint():
    short = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.ones(1, 2).long()}
    long = {
        "input_ids": torch.tensor([[5, 6, 1, 1]]),
        "attention_mask": torch.tensor([[1, 1, 0, 0]]),
    }
    assert list(fingerprints(short)) == list(fingerprints(long))


def test_fingerprints_see_every_entry_of_a_large_input():
    inputs = images(2, 64).repeat(3, 1, 1, 1)
    inputs[2, 0, 0, 0] += 1
    inputs[3, 2, 63, 62] += 1
    inputs[4] = inputs[4].roll(8, 1)
    inputs[5] = inputs[5].to(torch.float32)
    marks = fingerprints(inputs).tolist()
    assert len(set(marks)) == 5
    assert marks[1] == marks[5]


@pytest.mark.parametrize("length", [2, 600, 5_000])
def test_padding_of_any_length_does_not_change_a_fingerprint(length):
    tokens = torch.randint(1, 99, (3, length), generator=seeded())
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    padded = {key: torch.nn.functional.pad(each, (0, 700)) for key, each in inputs.items()}
    assert list(fingerprints(padded)) == list(fingerprints(inputs))


def test_fingerprints_do_not_depend_on_the_layout():
    inputs = images(3)
    last = inputs.to(memory_format=torch.channels_last)
    assert list(fingerprints(last)) == list(fingerprints(inputs))
    numbers = torch.complex(inputs, inputs)
    assert len(set(fingerprints(torch.cat([numbers, numbers.conj()])))) == 6
    assert list(fingerprints(inputs.flatten(1).to_sparse())) == list(fingerprints(inputs))
