"""Weights files fitted to a network: by names, shapes and types, and nothing by guess."""

from __future__ import annotations

import argparse
import warnings

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from network_reference import same_state, small_cnn, state_of
from tailcut.errors import StoreError, TailcutWarning
from tailcut.files.store import save_tensors
from tailcut.network.weights import load_weights


def told(call, *args):
    with pytest.raises(StoreError) as caught:
        call(*args)
    return str(caught.value)


def saved(path, content):
    torch.save(content, path)
    return path


def blank():
    fresh = small_cnn()
    for tensor in fresh.state_dict().values():
        tensor.zero_()
    return fresh


def noted(file, model=None):
    """The network with the weights of a file, and what was told."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = load_weights(model or blank(), file)
    assert all(each.category is TailcutWarning for each in caught)
    return model, [str(each.message) for each in caught]


def wrapped(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_weights_are_found_in_a_checkpoint(tmp_path, key):
    model, path = small_cnn(), tmp_path / "checkpoint.pt"
    state = state_of(model)
    torch.save(state if key is None else {key: state, "epoch": 3, "best": 0.9}, path)
    fresh = small_cnn()
    nn.init.zeros_(fresh[0].weight)
    assert load_weights(fresh, path) is fresh
    assert same_state(state_of(fresh), state)


def test_weights_keep_the_types_of_the_model(tmp_path):
    path = save_tensors(tmp_path / "half.safetensors", nn.Linear(2, 2).half().state_dict())
    assert load_weights(nn.Linear(2, 2), path).weight.dtype == torch.float32


def test_weights_that_do_not_fit_are_named_and_the_model_stays_as_it_was(tmp_path):
    model = small_cnn()
    before = state_of(model)
    other = {name: tensor + 1 for name, tensor in before.items() if not name.startswith("4.")}
    other |= {"9.weight": torch.ones(5, 8), "module.fc.weight": torch.ones(1)}
    path = save_tensors(tmp_path / "other.safetensors", other)
    assert told(load_weights, model, path) == (
        f"{path} does not fit Sequential: it lacks 4.bias, 4.num_batches_tracked, "
        "4.running_mean, 4.running_var and 1 more; has no use for module.fc.weight; has other "
        "shapes for 9.weight (5, 8) instead of (3, 8); wanted the state_dict of this very "
        "network. Check the model's name and number of classes, or the weights file."
    )
    assert same_state(state_of(model), before)


def test_a_damaged_weights_file_leaves_the_model_as_it_was(tmp_path):
    model, path = small_cnn(), tmp_path / "weights.pt"
    before = state_of(model)
    torch.save(small_cnn(5).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-300])
    told(load_weights, model, path)
    assert same_state(state_of(model), before)


# --- names

WRAPPERS = {
    "DataParallel": lambda model: nn.DataParallel(model).state_dict(),
    "torch.compile": lambda model: wrapped(model.state_dict(), "_orig_mod."),
    "a compiled DataParallel": lambda m: wrapped(nn.DataParallel(m).state_dict(), "_orig_mod."),
    "a DataParallel of a compiled one": lambda m: wrapped(m.state_dict(), "module._orig_mod."),
    "an attribute model": lambda model: wrapped(model.state_dict(), "model."),
    "an attribute net": lambda model: wrapped(model.state_dict(), "net."),
    "a model in a DataParallel": lambda model: wrapped(model.state_dict(), "module.model."),
    "a compiled model": lambda model: wrapped(model.state_dict(), "model._orig_mod."),
    "a net in a model": lambda model: wrapped(model.state_dict(), "model.net."),
    "one compiled layer": lambda model: {
        name.replace("9.", "9._orig_mod."): tensor for name, tensor in model.state_dict().items()
    },
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_wrappers_put_into_names_is_left_off_and_told(tmp_path, wrapper):
    model = small_cnn()
    state = WRAPPERS[wrapper](model)
    path = saved(tmp_path / "last.pt", state)
    found, notes = noted(path)
    assert same_state(state_of(found), state_of(model))
    other = [(theirs, ours) for theirs, ours in zip(state, state_of(model), strict=True)]
    other = [(theirs, ours) for theirs, ours in other if theirs != ours]
    first = f"{other[0][0]!r} is taken for {other[0][1]!r}"
    assert notes == [f"{path}: {first}, and so {len(other)} names in all"]


def test_weights_without_a_prefix_fit_a_wrapped_network(tmp_path):
    path = saved(tmp_path / "last.pt", small_cnn().state_dict())
    found, notes = noted(path, nn.DataParallel(blank()))
    assert same_state(state_of(found.module), state_of(small_cnn()))
    assert len(notes) == 1


def test_names_that_fit_are_taken_as_they_are(tmp_path):
    network = nn.ModuleDict({"model": nn.Linear(2, 2), "net": nn.Linear(2, 2)})
    assert noted(saved(tmp_path / "a.pt", network.state_dict()), network)[1] == []


def test_a_prefix_that_does_not_make_everything_fit_stays(tmp_path):
    state = {**wrapped(state_of(small_cnn()), "model."), "criterion.weight": torch.ones(3)}
    path = saved(tmp_path / "last.ckpt", {"state_dict": state})
    assert "has no use for criterion.weight, model.0.bias" in told(load_weights, blank(), path)


def test_an_unknown_prefix_is_not_left_off(tmp_path):
    path = saved(tmp_path / "last.pt", wrapped(state_of(small_cnn()), "student."))
    assert "has no use for student.0.bias" in told(load_weights, blank(), path)


def test_names_that_would_fall_together_are_not_made_to_fit(tmp_path):
    both = {"module.weight": torch.ones(2, 2), "weight": torch.zeros(2, 2), "bias": torch.ones(2)}
    path = saved(tmp_path / "last.pt", both)
    assert "has no use for module.weight" in told(load_weights, nn.Linear(2, 2), path)


def test_a_counter_that_early_torch_did_not_write_may_be_missing(tmp_path):
    model = small_cnn()
    state = {name: each for name, each in state_of(model).items() if "num_batches" not in name}
    path = saved(tmp_path / "old.pt", wrapped(state, "module."))
    found, notes = noted(path)
    assert torch.equal(found[9].weight, model[9].weight)
    assert len(notes) == 2
    assert notes[1].startswith(f"{path}: it lacks ")
    assert notes[1].endswith("num_batches_tracked, which evaluation does not use")


def test_other_statistics_of_batch_norm_may_not_be_missing(tmp_path):
    state = {name: each for name, each in state_of(small_cnn()).items() if "running" not in name}
    assert "it lacks " in told(load_weights, blank(), saved(tmp_path / "a.pt", state))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


def test_one_name_of_tied_weights_is_enough(tmp_path):
    path = saved(tmp_path / "a.pt", {"embedding.weight": torch.full((5, 3), 2.0)})
    found, notes = noted(path, Tied())
    assert torch.equal(found.head.weight, torch.full((5, 3), 2.0))
    assert notes == []


def test_tied_weights_that_differ_are_refused(tmp_path):
    state = {"embedding.weight": torch.ones(5, 3), "head.weight": torch.zeros(5, 3)}
    path = saved(tmp_path / "a.pt", state)
    assert told(load_weights, Tied(), path) == (
        f"{path} cannot be loaded: 'head.weight' is one tensor with 'embedding.weight' in the "
        "network, and another one in the file; wanted finite weights of the type of Tied. Save "
        "the weights again from the trained network, as floating point."
    )


# --- which of several

GOOD, OTHER = nn.Linear(2, 3).state_dict(), nn.Linear(2, 3).state_dict()
SIZES = {"weight": torch.ones(3, 9), "bias": torch.ones(3)}


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_the_usual_keys_are_looked_into(tmp_path, key):
    optimiser = torch.optim.Adam(nn.Linear(2, 3).parameters()).state_dict()
    path = saved(tmp_path / "last.pt", {"epoch": 1, "optimizer": optimiser, key: GOOD})
    found, notes = noted(path, nn.Linear(2, 3))
    assert same_state(found.state_dict(), GOOD)
    assert notes == []


def test_a_checkpoint_of_lightning_is_read(tmp_path):
    content = {
        "epoch": 3,
        "state_dict": wrapped(GOOD, "model."),
        "hyper_parameters": {"args": argparse.Namespace(lr=0.1)},
        "optimizer_states": [torch.optim.SGD(nn.Linear(2, 3).parameters(), 0.1).state_dict()],
        "callbacks": {"ModelCheckpoint{}": {"best_model_score": torch.tensor(0.5)}},
    }
    found, notes = noted(saved(tmp_path / "last.ckpt", content), nn.Linear(2, 3))
    assert same_state(found.state_dict(), GOOD)
    assert "'model.weight' is taken for 'weight'" in notes[0]


def test_averaged_weights_are_used_only_if_they_are_named(tmp_path):
    path = saved(tmp_path / "last.pt", {"model": GOOD, "model_ema": OTHER})
    found, notes = noted(path, nn.Linear(2, 3))
    assert same_state(found.state_dict(), GOOD)
    assert notes == [f"{path}: the weights under 'model' are taken; others are '{path}:model_ema'"]
    found, notes = noted(f"{path}:model_ema", nn.Linear(2, 3))
    assert same_state(found.state_dict(), OTHER)
    assert notes == []


def test_averaged_weights_alone_are_not_taken_for_the_weights(tmp_path):
    path = saved(tmp_path / "last.pt", {"model_ema": OTHER, "epoch": 3})
    assert told(load_weights, nn.Linear(2, 3), path) == (
        f"{path} holds weights under 'model_ema' only; wanted a state_dict, alone or under model, "
        "model_state, model_state_dict, net, network, state_dict. If they are the right ones, "
        f"name them: {path}:model_ema."
    )
    assert same_state(noted(f"{path}:model_ema", nn.Linear(2, 3))[0].state_dict(), OTHER)


def test_two_weights_that_fit_are_not_chosen_between(tmp_path):
    path = saved(tmp_path / "last.pt", {"net": GOOD, "model": OTHER})
    assert told(load_weights, nn.Linear(2, 3), path) == (
        f"{path} holds several weights that fit Linear: 'net', 'model'; wanted the ones to use. "
        f"Name them: {path}:net."
    )


def test_the_one_that_fits_is_taken_among_several(tmp_path):
    path = saved(tmp_path / "gan.pt", {"net": SIZES, "model": OTHER})
    found, notes = noted(path, nn.Linear(2, 3))
    assert same_state(found.state_dict(), OTHER)
    assert notes == [f"{path}: the weights under 'model' are taken; others are '{path}:net'"]


def test_the_same_weights_twice_are_no_choice(tmp_path):
    path = saved(tmp_path / "last.pt", {"net": GOOD, "model": GOOD})
    assert same_state(noted(path, nn.Linear(2, 3))[0].state_dict(), GOOD)


def test_a_key_that_is_not_there_names_those_that_are(tmp_path):
    path = saved(tmp_path / "last.pt", {"net": GOOD, "state": {"model": OTHER}})
    assert told(load_weights, nn.Linear(2, 3), f"{path}:ema") == (
        f"{path} holds no weights under 'ema'; wanted one of 'net', 'state.model'. Correct the key "
        "behind the path."
    )
    found, _ = noted(f"{path}:state.model", nn.Linear(2, 3))
    assert same_state(found.state_dict(), OTHER)


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path):
    path = saved(tmp_path / "last.pt:model", GOOD)
    saved(tmp_path / "last.pt", OTHER)
    assert same_state(noted(path, nn.Linear(2, 3))[0].state_dict(), GOOD)


def test_averaging_of_torch_is_told_by_its_counter(tmp_path):
    path = saved(tmp_path / "swa.pt", AveragedModel(nn.Linear(2, 3)).state_dict())
    assert "has no use for module.bias, module.weight, n_averaged" in told(
        load_weights, nn.Linear(2, 3), path
    )


# --- types and values


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_fits_a_network_in_full_precision(tmp_path, dtype):
    half = {name: tensor.to(dtype) for name, tensor in GOOD.items()}
    found, notes = noted(saved(tmp_path / "a.pt", half), nn.Linear(2, 3))
    assert torch.equal(found.weight, half["weight"].float())
    assert notes == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (torch.float16, torch.float32),
        (torch.float32, torch.float64),
        (torch.float16, torch.bfloat16),
    ],
)
def test_rounding_is_told(tmp_path, ours, theirs):
    more = {name: tensor.to(theirs) for name, tensor in GOOD.items()}
    path = saved(tmp_path / "a.pt", more)
    _, notes = noted(path, nn.Linear(2, 3).to(ours))
    assert notes == [f"{path}: values of {theirs} are rounded to {ours}"]


def quantised():
    return torch.quantize_per_tensor(torch.ones(3, 2), 0.1, 0, torch.qint8)


ODD = {
    "whole numbers": (torch.ones(3, 2, dtype=torch.int64), "is of type torch.int64, for "),
    "truth values": (torch.ones(3, 2, dtype=torch.bool), "is of type torch.bool, for "),
    "complex numbers": (torch.ones(3, 2, dtype=torch.complex64), "is of type torch.complex64, "),
    "eight bits": (torch.ones(3, 2).to(torch.float8_e4m3fn), "is of type torch.float8_e4m3fn, "),
    "NaN": (torch.full((3, 2), torch.nan), "holds NaN or infinite values in torch.float32"),
    "infinity": (torch.full((3, 2), torch.inf), "holds NaN or infinite values in torch.float32"),
    "too large": (
        torch.full((3, 2), 1e300, dtype=torch.float64),
        "holds NaN or infinite values in ",
    ),
    "sparse": (torch.eye(3, 2).to_sparse(), "is no plain tensor (quantised, sparse or "),
    "without values": (torch.ones(3, 2, device="meta"), "is no plain tensor (quantised, sparse or"),
}


@pytest.mark.parametrize("kind", ODD)
def test_weights_of_another_kind_are_refused_and_the_network_stays(tmp_path, kind):
    model = nn.Linear(2, 3)
    before = state_of(model)
    weight, problem = ODD[kind]
    path = saved(tmp_path / "a.pt", {"weight": weight, "bias": torch.ones(3)})
    message = told(load_weights, model, path)
    assert message.startswith(f"{path} cannot be loaded: 'weight' {problem}")
    assert message.endswith("Save the weights again from the trained network, as floating point.")
    assert same_state(state_of(model), before)


def test_a_broken_running_mean_is_refused_and_an_infinite_mask_is_not(tmp_path):
    state = state_of(small_cnn())
    broken = next(name for name in state if name.endswith("running_var"))
    path = saved(tmp_path / "a.pt", {**state, broken: torch.full_like(state[broken], torch.nan)})
    assert "holds NaN" in told(load_weights, small_cnn(), path)
    masked = nn.Linear(2, 2)
    masked.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    noted(saved(tmp_path / "b.pt", masked.state_dict()), masked)


def test_whole_numbers_of_another_width_fit_if_they_are_the_same(tmp_path):
    state = state_of(small_cnn())
    narrow = {n: t.int() if t.dtype == torch.int64 else t for n, t in state.items()}
    found, notes = noted(saved(tmp_path / "a.pt", narrow))
    assert same_state(state_of(found), state)
    assert notes == []
