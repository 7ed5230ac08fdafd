from __future__ import annotations

import traceback
from collections import UserDict
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from network_reference import same_state, seeded, small_cnn, state_of
from tailcut.errors import DataError
from tailcut.network.batches import read, require_order
from tailcut.network.stream import (
    accuracy,
    first_input,
    logits_of,
    on_input,
    own_copy,
    reading_numbers,
    runnable,
    type_of,
)

X, Y, INDEX = torch.arange(6.0).reshape(3, 2), torch.tensor([0, 2, 1]), torch.tensor([5, 3, 4])
DATA = TensorDataset(X, Y)


def told(call, *args, **options):
    with pytest.raises(DataError) as caught:
        call(*args, **options)
    return str(caught.value)


def first(raw, classes=3):
    return next(read([raw], classes))


@pytest.mark.parametrize("form", [tuple, list])
def test_pairs_and_triples_are_read(form):
    pair, triple = first(form([X, Y])), first(form([X, Y.int(), INDEX]))
    assert torch.equal(pair.inputs, X)
    assert torch.equal(pair.labels, Y)
    assert pair.index is None
    assert triple.labels.dtype == torch.int64
    assert torch.equal(triple.index, INDEX)
    assert len(triple) == 3


@pytest.mark.parametrize("key", ["labels", "label"])
@pytest.mark.parametrize("form", [dict, UserDict])
def test_a_dict_loses_labels_index_and_what_is_no_tensor(form, key):
    raw = form({"input_ids": X, "text": ["a", "b", "c"], key: Y, "index": INDEX})
    batch = first(raw)
    assert list(batch.inputs) == ["input_ids"]
    assert torch.equal(batch.labels, Y)
    assert torch.equal(batch.index, INDEX)


def test_inputs_may_be_a_dict_beside_the_labels():
    batch = first(({"pixel_values": X, "path": ["a", "b", "c"]}, Y))
    assert list(batch.inputs) == ["pixel_values"]


def test_labels_may_be_a_list():
    assert torch.equal(first((X, [0, 2, 1])).labels, Y)


def test_an_iterable_without_len_is_read_again_and_again():
    class Endless(IterableDataset):
        def __iter__(self):
            return iter(DATA)

    loader = DataLoader(Endless(), batch_size=2)
    assert [len(batch) for batch in read(loader)] == [2, 1]
    assert [len(batch) for batch in read(loader)] == [2, 1]


def test_reading_starts_the_loader_once():
    class Counted:
        starts = 0

        def __iter__(self):
            self.starts += 1
            return iter([(X, Y)])

    loader = Counted()
    assert len(list(read(loader))) == 1
    assert loader.starts == 1


def test_an_iterator_is_refused_because_it_can_be_read_only_once():
    assert told(next, read(iter([(X, Y)]))) == (
        "an iterator (list_iterator) that can be read only once; wanted an iterable of batches "
        "that can be read several times. Pass a DataLoader, or list(batches)."
    )


def test_what_cannot_be_iterated_is_refused():
    assert told(next, read(None)) == (
        "a NoneType instead of batches; wanted an iterable of batches that can be read several "
        "times. Pass a DataLoader, or a list of batches."
    )


@pytest.mark.parametrize("loader", [[], [(X[:0], Y[:0])]])
def test_a_loader_without_samples_is_refused(loader):
    assert told(list, read(loader)) == (
        "a loader without a single batch; wanted at least one batch (inputs, labels). Check the "
        "data set, and drop_last with fewer samples than a batch."
    )


def test_empty_batches_among_others_are_passed_over():
    assert [len(batch) for batch in read([(X[:0], Y[:0]), (X, Y)])] == [3]


@pytest.mark.parametrize(
    ("raw", "described"),
    [
        (X, "a Tensor"),
        ((X,), "a tuple of Tensor"),
        ((X, Y, INDEX, X), "a tuple of Tensor, Tensor, Tensor, Tensor"),
        (([1, 2, 3], Y), "a tuple of list, Tensor"),
        (({"text": ["a", "b", "c"]}, Y), "a tuple of dict, Tensor"),
        ({"input_ids": X, "target": Y}, "a dict with the keys ['input_ids', 'target']"),
        ({"labels": Y}, "a dict with the keys ['labels']"),
    ],
)
def test_a_batch_of_another_form_is_described(raw, described):
    assert told(list, read([(X, Y), raw])) == (
        f"batch 1 is {described}; wanted (inputs, labels), (inputs, labels, index), or a dict of "
        "tensors with 'labels'. Adapt the loader or its collate function."
    )


@pytest.mark.parametrize(
    ("labels", "seen"),
    [
        (["cat", "dog", "cat"], "batch 0 has labels that are not numbers, such as 'cat'"),
        (Y.float(), "batch 0 has labels of type torch.float32"),
        (torch.eye(3).long(), "batch 0 has labels of shape (3, 3)"),
        (torch.tensor([0, 3, 1]), "batch 0 has the label 3"),
        (torch.tensor([0, -1, 1]), "batch 0 has the label -1"),
    ],
)
def test_labels_that_cannot_be_used_name_their_batch(labels, seen):
    assert told(first, (X, labels)).startswith(f"{seen}; wanted ")


def test_another_number_of_labels_than_of_inputs_is_refused():
    assert told(first, (X, Y[:2])) == (
        "batch 0 has 3 inputs but 2 labels; wanted one label for each sample. Check what the "
        "loader yields."
    )
    assert told(first, {"a": X, "b": X[:2], "labels": Y}).startswith("batch 0 has 2 and 3 inputs ")


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        (INDEX[:2], "5, 3"),
        (INDEX.float(), "5.0, 3.0, 4.0"),
        (["a.png", "b.png", "c.png"], "a.png, b.png, c.png"),
        (torch.tensor([0, 1, -1]), "0, 1, -1"),
        (INDEX > 3, "True, False, True"),
        ([0, 1, 2, 3], "0, 1, 2, ..."),
        (INDEX[:, None].expand(3, 2), "[5, 5], [3, 3], [4, 4]"),
        ({"length": Y}, "a dict with the keys ['length']"),
        (7, "a int"),
    ],
)
def test_a_third_item_that_numbers_no_samples_is_refused_with_its_values(index, shown):
    assert told(first, (X, Y, index)) == (
        f"batch 0 has a third item ({shown}) that does not number its 3 samples; wanted the "
        "position of each sample in the data set, integers from 0. Leave it out, or yield that "
        "position."
    )


SHUFFLING = {
    "shuffle": lambda data: DataLoader(data, batch_size=2, shuffle=True),
    "subset": lambda data: DataLoader(data, sampler=SubsetRandomSampler([0, 2])),
    "weighted": lambda data: DataLoader(data, sampler=WeightedRandomSampler([1.0] * 3, 3)),
    "batch sampler": lambda data: DataLoader(
        data, batch_sampler=BatchSampler(RandomSampler(data), 2, drop_last=False)
    ),
    "distributed": lambda data: DataLoader(
        data, sampler=DistributedSampler(data, num_replicas=1, rank=0, shuffle=True)
    ),
}


@pytest.mark.parametrize("name", SHUFFLING)
def test_a_loader_that_shuffles_must_tell_which_sample_is_which(name):
    assert told(require_order, SHUFFLING[name](DATA)) == (
        "a loader that shuffles without telling which sample is which; wanted batches in a fixed "
        "order, or (inputs, labels, index). Set shuffle=False, or yield each sample's position "
        "as a third item."
    )
    require_order(SHUFFLING[name](TensorDataset(X, Y, INDEX)))


@pytest.mark.parametrize(
    "loader",
    [
        [(X, Y)],
        DataLoader(DATA, batch_size=2),
        DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 2, drop_last=True)),
        DataLoader(DATA, sampler=DistributedSampler(DATA, num_replicas=1, rank=0, shuffle=False)),
    ],
)
def test_a_loader_in_a_fixed_order_passes(loader):
    require_order(loader)


class Returns(nn.Module):
    def __init__(self, wrapped):
        super().__init__()
        self.fc, self.wrapped = nn.Linear(2, 3), wrapped

    def forward(self, inputs):
        return self.wrapped(self.fc(inputs))


class Output(NamedTuple):
    loss: None
    logits: torch.Tensor


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda logits: logits,
        lambda logits: (logits, "attention"),
        lambda logits: [logits],
        lambda logits: {"loss": None, "logits": logits},
        lambda logits: Output(None, logits),
    ],
)
def test_logits_are_found_in_what_a_model_returns(wrapped):
    model = Returns(wrapped)
    logits_NK = logits_of(model, X)
    assert not logits_NK.requires_grad
    assert torch.equal(logits_NK, model.fc(X))


@pytest.mark.parametrize(
    ("wrapped", "described"),
    [
        (lambda logits: logits[0], "a Tensor of shape (3,)"),
        (lambda logits: logits[:, :, None], "a Tensor of shape (3, 3, 1)"),
        (lambda logits: logits[:2], "a Tensor of shape (2, 3)"),
        (lambda logits: {"out": logits}, "a dict"),
        (lambda _: None, "a NoneType"),
        (lambda _: (), "a tuple"),
    ],
)
def test_outputs_without_logits_are_described(wrapped, described):
    assert told(logits_of, Returns(wrapped), X) == (
        f"Returns returned {described} for 3 samples; wanted logits of shape (samples, classes), "
        "alone, first in a tuple, or as .logits. Wrap the model so that it returns its "
        "classification logits."
    )


@pytest.mark.parametrize("form", [tuple, list])
def test_two_outputs_of_the_same_shape_are_not_guessed_between(form):
    model = Returns(lambda logits: form([logits.relu(), logits, logits[:, :2]]))
    assert told(logits_of, model, X) == (
        "Returns returned 3 outputs, 2 of them of the same shape (3, 3): nobody can tell which "
        "are the logits; wanted logits of shape (samples, classes), alone, first in a tuple, "
        "or as .logits. Wrap the model so that it returns its classification logits alone."
    )
    with_features = Returns(lambda logits: form([logits, logits[:, :2], logits[None], "text"]))
    assert torch.equal(logits_of(with_features, X), with_features.fc(X))


def test_a_dict_is_passed_as_keywords_and_one_tensor_of_another_name_by_position():
    model = Returns(lambda logits: logits)
    assert torch.equal(logits_of(model, {"inputs": X}), model.fc(X))
    assert torch.equal(logits_of(model, {"pixel_values": X}), model.fc(X))


def test_columns_that_the_model_does_not_take_are_named():
    assert told(logits_of, Returns(None), {"inputs": X, "idx": Y}) == (
        "batches with 'idx', which Returns does not take; wanted some of 'inputs', and 'labels'. "
        "Drop the other columns in the loader's collate function."
    )


def test_a_copy_is_in_evaluation_mode_and_the_original_as_it_was():
    model = small_cnn().train()
    model[0].requires_grad_(requires_grad=False)
    calls = []
    model[-1].register_forward_hook(lambda *_: calls.append("own"))
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    before, gradient = state_of(model), model[-1].weight.grad.clone()
    twin = own_copy(model)
    assert not any(module.training for module in twin.modules())
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert type(twin) is type(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert same_state(before, state_of(model))
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model[0].parameters()] == [False, False]
    assert torch.equal(model[-1].weight.grad, gradient)
    assert len(model[-1]._forward_hooks) == 1


def test_the_hook_on_an_input_is_gone_after_an_error():
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError), first_input(module):
        module(torch.ones(1, 5))
    assert not module._forward_pre_hooks


def test_accuracy_counts_samples_not_batches():
    model = nn.Identity()
    right, wrong = torch.eye(3), torch.eye(3)[[1, 2, 0]]
    loader = [(right, torch.arange(3)), (wrong[:1], torch.tensor([0]))]
    assert accuracy(model, loader) == 3 / 4


@pytest.mark.parametrize("own", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("given", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_inputs_are_cast_to_the_type_of_the_network(own, given):
    model = Returns(lambda logits: logits).to(own)
    assert torch.equal(logits_of(model, X.to(given)), model.fc(X.to(own)))
    assert torch.equal(logits_of(model, {"inputs": X.to(given)}), model.fc(X.to(own)))


def test_a_network_of_several_types_gets_its_inputs_as_they_are():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))
            self.fc = nn.Linear(2, 3).half()

        def forward(self, inputs):
            assert inputs.dtype == torch.float16
            return self.fc(inputs)

    model = Mixed()
    assert type_of(model) is None
    assert torch.equal(logits_of(model, X.half()), model.fc(X.half()))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.bool])
def test_integers_become_numbers_where_the_network_takes_no_integers(dtype):
    model = Returns(lambda logits: logits)
    assert torch.equal(runnable(model, X.to(dtype)), X.to(dtype).float())
    assert runnable(model.double(), X.to(dtype)).dtype == torch.float64
    assert runnable(model, X.double()).dtype == torch.float64


def test_integers_stay_integers_where_the_network_takes_them():
    class OneHot(Returns):
        def forward(self, inputs):
            return self.fc(nn.functional.one_hot(inputs, 2).float().sum(1))

    tokens = torch.tensor([[0, 1, 1], [1, 1, 0]])
    embedded = nn.Sequential(nn.Embedding(2, 4), nn.Flatten(), nn.Linear(12, 3))
    for model in (OneHot(None), embedded):
        assert runnable(model, tokens) is tokens
    assert runnable(embedded, tokens + 1) is not None  # neither way runs: it is told of later
    assert runnable(embedded, tokens + 1).dtype == torch.int64


def test_copies_of_a_network_that_reads_numbers_read_numbers():
    model = small_cnn()
    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=seeded())
    twin = own_copy(reading_numbers(own_copy(model)))
    assert torch.equal(logits_of(twin, pixels), logits_of(own_copy(model), pixels.float()))
    assert not model._forward_pre_hooks


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (
            nn.Linear(5, 3),
            X,
            "Linear cannot run on inputs of shape (3, 2) and type torch.float32 (RuntimeError: "
            "mat1 and mat2 shapes cannot be multiplied (3x2 and 5x3))",
        ),
        (
            small_cnn(),
            torch.zeros(2, 1, 16, 16),
            "Sequential cannot run on inputs of shape (2, 1, 16, 16) and type torch.float32 "
            "(RuntimeError: Given groups=1, weight of size [8, 3, 3, 3], expected input[2, 1, 16, "
            "16] to have 3 channels, but got 1 channels instead)",
        ),
        (
            nn.Embedding(4, 3),
            torch.tensor([1, 4]),
            "Embedding cannot run on inputs of shape (2,) and type torch.int64 (IndexError: index "
            "out of range in self)",
        ),
        (
            Returns(lambda _: {}["missing"]),
            {"inputs": X},
            "Returns cannot run on the inputs inputs (3, 2) torch.float32 (KeyError: 'missing')",
        ),
    ],
)
def test_inputs_that_a_network_cannot_run_on_are_described_with_the_cause(model, inputs, message):
    with pytest.raises(DataError) as caught:
        logits_of(model, inputs)
    assert str(caught.value) == (
        f"{message}; wanted inputs of the shape and type that the network was trained on. Check "
        "what the loader yields; calling the network on one batch shows where."
    )
    assert caught.value.__cause__ is not None


def test_a_bug_in_the_forward_pass_keeps_its_cause_and_its_line():
    def bug(logits):
        return logits.no_such_method()

    with pytest.raises(DataError) as caught:
        logits_of(Returns(bug), X)
    cause = caught.value.__cause__
    assert isinstance(cause, AttributeError)
    assert traceback.extract_tb(cause.__traceback__)[-1].name == "bug"


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory."), KeyboardInterrupt()],
)
def test_no_memory_and_an_interrupt_stay_what_they_are(error):
    def fail(_):
        raise error

    with pytest.raises(type(error)):
        logits_of(Returns(fail), X)


def test_a_fault_of_ours_inside_a_forward_pass_is_no_fault_of_the_inputs():
    model = nn.Linear(2, 3)
    with on_input({model: lambda _: 1 / 0}), pytest.raises(ZeroDivisionError):
        logits_of(model, X)
