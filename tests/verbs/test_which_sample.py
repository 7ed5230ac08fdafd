"""Every verb knows which sample is which, or says that it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

import tailcut
from parts import Shuffling, fitted

N = 300
GENERATOR = torch.Generator().manual_seed(0)
TRUE = torch.randint(0, 3, (N,), generator=GENERATOR)
INPUTS = torch.eye(3, 8)[TRUE] + 0.3 * torch.randn(N, 8, generator=GENERATOR)
GIVEN = torch.where(
    torch.rand(N, generator=GENERATOR) < 0.2, torch.randint(0, 3, (N,), generator=GENERATOR), TRUE
)
NUMBERED = TensorDataset(INPUTS, GIVEN, torch.arange(N))
QUICK = {"views": [], "depth": "head", "progress": False}


@pytest.fixture(scope="module")
def model():
    return fitted(INPUTS, GIVEN, width=6, steps=60, rate=0.05)


def refused(verb, *args, **options):
    with pytest.raises(tailcut.DataError) as caught:
        verb(*args, **QUICK | options)
    return str(caught.value)


def test_an_audit_of_a_stream_is_that_of_its_samples(model):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(TensorDataset(INPUTS, GIVEN))

    listed = tailcut.find_label_issues(model, [(INPUTS, GIVEN)], **QUICK)
    streamed = tailcut.find_label_issues(model, DataLoader(Stream(), 32), **QUICK)
    np.testing.assert_allclose(streamed["label_score"], listed["label_score"], atol=1e-5)


def test_an_audit_of_a_subset_keeps_the_numbers_of_the_whole(model):
    part = DataLoader(Subset(NUMBERED, range(100, 250)), 32)
    assert tailcut.find_label_issues(model, part, **QUICK).index.tolist() == list(range(100, 250))


def test_a_repair_may_shuffle(model):
    fixes = [
        tailcut.repair(model, DataLoader(data, 32, sampler=Shuffling(N)), **QUICK)
        for data in (NUMBERED, TensorDataset(INPUTS, GIVEN))
    ]
    assert all(fix.verdict in {"cut", "unknown"} for fix in fixes)


@pytest.mark.parametrize("verb", [tailcut.repair, tailcut.diagnose, tailcut.find_label_issues])
def test_every_verb_refuses_lengths_in_the_place_of_an_index(verb, model):
    lengths = 5 + torch.arange(N) % 200
    train = DataLoader(TensorDataset(INPUTS, GIVEN, lengths), 50)
    assert refused(verb, model, train) == (
        "a third item that does not number the training samples: 5 comes twice, in batches 0 and "
        "4; wanted the position of each sample in the data set, the same in every pass, each once. "
        "Leave it out, or yield that position, and draw no sample twice."
    )
    held = DataLoader(TensorDataset(INPUTS + 1, GIVEN, lengths // 10), 50)
    assert refused(verb, model, DataLoader(NUMBERED, 50), held).startswith(
        "a third item that does not number the held-out samples: 0 comes twice, in batch 0; "
    )


def test_true_labels_are_found_by_the_index(model):
    told = [
        tailcut.diagnose(model, loader, clean=TRUE, **QUICK)
        for loader in (
            DataLoader(TensorDataset(INPUTS, GIVEN), 32),
            DataLoader(NUMBERED, 32, shuffle=True),
        )
    ]
    assert told[0].clean.n == told[1].clean.n == N
    assert told[0].clean.before == pytest.approx(told[1].clean.before, abs=1e-9)
    assert told[0].clean.before > 0.85


def test_true_labels_are_not_read_by_a_wrong_index(model):
    def message(index, clean=TRUE):
        loader = DataLoader(TensorDataset(INPUTS, GIVEN, index), 100)
        return refused(tailcut.diagnose, model, loader, clean=clean)

    rows = torch.arange(N)
    assert message(rows + 1) == (
        "300 true labels, and a training sample with the index 300; wanted an index that is the "
        "position of the sample's true label in clean. Yield that position, or bring the true "
        "labels of all that the index counts."
    )
    assert "0 comes twice, in batches 0 and 1" in message(rows % 100)
    assert message(rows, torch.cat([TRUE, TRUE])) == (
        "600 true labels for another number of training samples; wanted one true label for each "
        "training sample, in their order. Check that both come from the same data set."
    )
    own = DataLoader(TensorDataset(INPUTS, GIVEN), 32, sampler=Shuffling(N))
    assert "holds other labels when it is read again" in refused(
        tailcut.diagnose, model, own, clean=TRUE
    )


def test_batches_with_true_labels_may_shuffle_but_not_change(model):
    shuffling = DataLoader(TensorDataset(INPUTS, TRUE), 32, sampler=Shuffling(N))
    found = tailcut.diagnose(model, [(INPUTS, GIVEN)], clean=shuffling, **QUICK)
    listed = tailcut.diagnose(model, [(INPUTS, GIVEN)], clean=[(INPUTS, TRUE)], **QUICK)
    np.testing.assert_allclose(found.candidates["clean"], listed.candidates["clean"], atol=1e-6)

    class Growing:
        n = 100

        def __iter__(self):
            self.n += 10
            return iter([(INPUTS[: self.n], TRUE[: self.n])])

    assert refused(tailcut.diagnose, model, [(INPUTS, GIVEN)], clean=Growing()).startswith(
        "120 samples with true labels in one pass and 130 in another; "
    )


def test_true_labels_in_a_buffer_that_is_overwritten_are_read_right(model):
    class Overwriting:
        def __iter__(self):
            inputs, labels = torch.empty(50, 8), torch.empty(50, dtype=torch.long)
            for rows in torch.arange(N).split(50):
                yield inputs.copy_(INPUTS[rows]), labels.copy_(TRUE[rows])

    found = tailcut.diagnose(model, [(INPUTS, GIVEN)], clean=Overwriting(), **QUICK)
    listed = tailcut.diagnose(model, [(INPUTS, GIVEN)], clean=[(INPUTS, TRUE)], **QUICK)
    np.testing.assert_allclose(found.candidates["clean"], listed.candidates["clean"], atol=1e-6)


@pytest.mark.parametrize("form", ["numpy integers", "0-d tensors"])
def test_true_labels_may_be_a_list_of_any_integers(model, form):
    clean = list(TRUE.numpy()) if form == "numpy integers" else list(TRUE)
    assert tailcut.diagnose(model, [(INPUTS, GIVEN)], clean=clean, **QUICK).clean.n == N


@pytest.mark.parametrize("place", ["holdout", "clean"])
def test_what_is_no_loader_is_refused_before_any_work(model, place):
    class Unread:
        def __iter__(self):
            raise AssertionError

    beside = {place: TensorDataset(INPUTS, TRUE)}
    assert refused(tailcut.diagnose, model, Unread(), **beside) == (
        "a TensorDataset that yields single samples (a tuple of Tensor, Tensor); wanted batches "
        "(inputs, labels) of many samples. Pass DataLoader(dataset, batch_size=256)."
    )
