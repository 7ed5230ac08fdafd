"""What may be passed as the model: kinds that work, and kinds that are told what to pass."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from threading import Lock

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import tailcut
from network_reference import same_state, state_of
from tailcut.network.modules import copied, inner, network_in
from tailcut.network.stream import _uncompiled as uncompiled
from tailcut.network.stream import logits_of, own_copy

X = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3
HELD = [(torch.randn(30, 8, generator=torch.Generator().manual_seed(1)), torch.arange(30) % 3)]

WANTED = "wanted a trained torch.nn.Module that returns logits"
LAYERS = "wanted a network of torch.nn layers with weights that can be rewritten"
LOAD = (
    "Build the network, load its weights with network.load_state_dict(...), and pass the network."
)


def mlp(kind=nn.Sequential):
    torch.manual_seed(0)
    return kind(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def cut(model):
    dials = {"depth": "head", "readout": "lda", "rank": 2, "progress": False, "force": True}
    return tailcut.repair(model, [(X, Y)], HELD, **dials)


def told(model):
    with pytest.raises(tailcut.DataError) as caught:
        tailcut.repair(model, [(X, Y)], progress=False)
    with pytest.raises(tailcut.DataError) as again:
        tailcut.find_label_issues(model, [(X, Y)], progress=False)
    assert str(again.value) == str(caught.value)
    return str(caught.value)


class WithExtraState(nn.Sequential):
    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        self.restored = state


class WithExtraStateThatCannotBeSet(nn.Sequential):
    def get_extra_state(self):
        return torch.ones(2)


def with_a_compiled_part():
    model = mlp()
    return nn.Sequential(torch.compile(model[:2]), model[2])


def pruned():
    model = mlp()
    prune.l1_unstructured(model[0], "weight", amount=0.3)
    prune.random_unstructured(model[0], "bias", amount=1)
    return model


def weight_normalised():
    model = mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(model[0])
    return model


def spectrally_normalised():
    model = mlp()
    nn.utils.spectral_norm(model[0])
    return model.eval()


def with_outputs_kept():
    model = mlp()
    model.seen = {"last": [model(X), (model[0](X), 3)]}
    return model


def with_a_sparse_buffer():
    model = mlp()
    model.register_buffer("neighbours", torch.eye(3).to_sparse(), persistent=False)
    return model


def with_a_complex_buffer():
    model = mlp()
    model.register_buffer("phases", torch.ones(2, dtype=torch.complex64))
    return model


def made_without_gradients():
    with torch.inference_mode():
        return mlp()


WORKING = [
    mlp,
    lambda: nn.DataParallel(mlp()),
    lambda: torch.optim.swa_utils.AveragedModel(mlp()),
    lambda: torch.fx.symbolic_trace(mlp()),
    lambda: mlp(WithExtraState),
    lambda: mlp(WithExtraStateThatCannotBeSet),
    with_a_compiled_part,
    pruned,
    weight_normalised,
    spectrally_normalised,
    with_outputs_kept,
    with_a_sparse_buffer,
    with_a_complex_buffer,
    made_without_gradients,
]


@pytest.mark.parametrize("build", WORKING)
def test_kinds_of_networks_that_come_back_as_they_were_but_for_the_cut(build, tmp_path):
    model = build()
    kept = dict(state_of_any(model))
    fix = cut(model)
    assert dict(state_of_any(model)).keys() == kept.keys()
    assert same_state(dict(state_of_any(model)), kept)
    if not isinstance(model, torch.fx.GraphModule):  # whose class each instance makes anew
        assert type(fix.model) is type(model)
    assert list(fix.model.state_dict()) == list(model.state_dict())
    changed = {
        name
        for name, tensor in state_of_any(fix.model)
        if not torch.equal(tensor, kept[name]) and name in fix.undo_tensors
    }
    assert changed == set(fix.undo_tensors) != set()
    assert same_state(dict(state_of_any(fix.undo())), kept)
    fix.save(tmp_path)
    again = tailcut.load(tmp_path, model)
    with uncompiled(), torch.no_grad():
        torch.testing.assert_close(again.model(X), fix.model(X), rtol=0, atol=0)
        assert not torch.allclose(fix.model(X), model.eval()(X))


def state_of_any(model):
    return [
        (name, value.clone())
        for name, value in model.state_dict().items()
        if isinstance(value, torch.Tensor)
    ]


@pytest.mark.parametrize("compiled_by", ["function", "method"])
def test_a_compiled_network_is_unwrapped(compiled_by):
    model = mlp()
    before = state_of(model)
    given = torch.compile(model) if compiled_by == "function" else model
    if compiled_by == "method":
        model.compile()
    fix = cut(given)
    assert type(fix.model) is nn.Sequential
    assert same_state(state_of(model), before)
    assert same_state(fix.model.state_dict(), cut(mlp()).model.state_dict())


def test_nested_wrappers_come_off_one_by_one():
    model = mlp()
    assert network_in(torch.compile(model)) is model
    assert inner(nn.DataParallel(nn.DataParallel(model))) is model
    parallel = nn.DataParallel(model)
    assert inner(network_in(torch.compile(parallel))) is model
    assert network_in(parallel) is parallel


def test_a_network_spread_over_processes_comes_back_spread(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    try:
        model = nn.parallel.DistributedDataParallel(mlp())
        fix = cut(model)
        assert type(fix.model) is type(model)
        assert list(fix.model.state_dict()) == list(model.state_dict())
        assert same_state(fix.model.module.state_dict(), cut(mlp()).model.state_dict())
    finally:
        torch.distributed.destroy_process_group()


def test_the_extra_state_is_that_of_the_network_given():
    fix = cut(mlp(WithExtraState))
    assert fix.model.state_dict()["_extra_state"] == {"version": 2}
    assert "_extra_state" not in fix.undo_tensors


class Versioned(nn.Linear):
    """Reads other tensors from a state of before its second version, as MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        assert metadata.get("version") == 2
        super()._load_from_state_dict(state, prefix, metadata, *rest)


def test_modules_are_loaded_by_the_version_that_they_are_of():
    model = mlp()
    model[0] = Versioned(8, 6)
    fix = cut(model)
    assert same_state(fix.undo().state_dict(), model.state_dict())


def test_a_copy_of_a_pruned_network_prunes_its_own_weights():
    model = pruned()
    model(X).sum().backward()
    twin = own_copy(model)
    assert torch.equal(logits_of(twin, X), model(X))
    with torch.no_grad():
        twin[0].weight_orig.mul_(2)
    assert not torch.equal(logits_of(twin, X), model(X))
    assert torch.equal(logits_of(own_copy(model), X), model(X))


def test_what_was_computed_once_is_one_tensor_in_the_copy():
    model = mlp()
    model.first = model.second = model(X)
    twin = copied(model)
    assert twin.first is twin.second
    assert twin.first is not model.first


def test_a_module_that_cannot_be_copied_names_the_attribute_and_works_without_it():
    model = mlp()
    model[2].lock = Lock()
    assert told(model) == (
        "a Sequential that cannot be copied, because of '2.lock' (cannot pickle '_thread.lock' "
        "object); wanted a module that copy.deepcopy accepts. Remove that attribute before the "
        "call, or give its class a __deepcopy__."
    )
    del model[2].lock
    assert cut(model).verdict == "cut"


class Bare:
    """Something that is no module."""


class Holding:
    """A trainer or a pipeline."""

    def __init__(self, network):
        self.name, self.model = "trainer", network


@pytest.mark.parametrize(
    ("given", "seen", "advice"),
    [
        ("runs/model.pt", "the path 'runs/model.pt'", LOAD),
        (Path("model.safetensors"), "the path 'model.safetensors'", LOAD),
        (mlp().state_dict(), "a state_dict", LOAD),
        (
            {"model": mlp().state_dict(), "epoch": 3},
            "a dict with the keys 'model', 'epoch'",
            LOAD,
        ),
        (nn.Linear, "the class Linear", LOAD),
        (None, "a NoneType", "Pass the trained network itself."),
        ([mlp(), mlp()], "a list", "Pass the trained network itself."),
        (Bare(), "a Bare", "Pass the trained network itself."),
        (Holding(mlp()), "a Holding", "Pass the network that it holds, its model."),
        (
            mlp,
            "the function mlp",
            "Call it if it builds the network, else wrap it in a torch.nn.Module.",
        ),
    ],
)
def test_what_is_no_module_is_told_what_to_pass(given, seen, advice):
    assert told(given) == f"{seen} instead of a network; {WANTED}. {advice}"


def test_a_net_of_skorch_names_its_module():
    skorch = pytest.importorskip("skorch")
    net = skorch.NeuralNetClassifier(mlp, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0)
    assert told(net) == (
        f"a NeuralNetClassifier without a module instead of a network; {WANTED}. "
        "Fit it first, then pass its module_."
    )
    net.fit(X.numpy(), Y.numpy())
    assert told(net) == (
        f"a NeuralNetClassifier instead of a network; {WANTED}. "
        "Pass the network that it holds, its module_."
    )
    assert cut(net.module_).verdict == "cut"


def test_an_estimator_is_refused():
    linear = pytest.importorskip("sklearn.linear_model").LogisticRegression()
    assert told(linear).startswith("a LogisticRegression instead of a network; ")


def scripted(_):
    return torch.jit.script(mlp())


def traced(_):
    return torch.jit.trace(mlp(), X[:2])


def frozen(_):
    return torch.jit.freeze(torch.jit.script(mlp().eval()))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("make", [scripted, traced])
def test_a_scripted_network_is_refused_and_its_weights_go_into_the_original(make):
    model = make(None)
    assert told(model) == (
        f"a {type(model).__name__} made by torch.jit; {LAYERS}. Pass the torch.nn.Module it was "
        "made from; load_state_dict(scripted.state_dict()) brings its weights."
    )
    original = mlp()
    nn.init.zeros_(original[2].weight)
    original.load_state_dict(model.state_dict())
    assert cut(original).verdict == "cut"


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_frozen_network_has_no_weights_to_bring():
    assert told(frozen(None)).endswith("Pass the torch.nn.Module it was made from.")


def test_an_exported_network_is_refused_and_its_weights_go_into_the_original():
    program = torch.export.export(mlp(), (X[:2],))
    assert told(program) == (
        f"an ExportedProgram instead of a network; {WANTED}. Pass the torch.nn.Module it was made "
        "from; load_state_dict(program.state_dict) brings its weights."
    )
    module = program.module()
    assert told(module) == (
        f"a GraphModule whose layers are single operations; {LAYERS}. Pass the torch.nn.Module it "
        "was made from; load_state_dict(exported.state_dict()) brings its weights."
    )
    for state in (program.state_dict, module.state_dict()):
        original = mlp()
        nn.init.zeros_(original[2].weight)
        original.load_state_dict(state)
        assert cut(original).verdict == "cut"


def test_a_lazy_network_is_refused_until_a_batch_has_shaped_it():
    model = nn.Sequential(nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, 3))
    assert told(model) == (
        "a Sequential whose '0.weight' is lazy and has no shape yet; wanted a trained network. Run "
        "one batch through it and load its trained weights."
    )
    model(X)
    model.load_state_dict(mlp().state_dict())
    assert cut(model).verdict == "cut"
    buffered = mlp()
    buffered.register_buffer("mean", nn.UninitializedBuffer())
    assert told(buffered).startswith("a Sequential whose 'mean' is lazy and has no shape yet; ")


def test_a_network_on_the_meta_device_is_refused_until_its_weights_are_there():
    model = mlp().to("meta")
    assert told(model) == (
        "a Sequential whose '0.weight' is on the meta device and holds no numbers; wanted a "
        "trained network in memory. Load its weights with load_state_dict(..., assign=True), "
        "without offloading."
    )
    model.load_state_dict(mlp().state_dict(), assign=True)
    assert cut(model).verdict == "cut"
    buffered = mlp()
    buffered.register_buffer("mean", torch.ones(2, device="meta"))
    assert told(buffered).startswith("a Sequential whose 'mean' is on the meta device ")


def test_a_saved_sparse_tensor_is_refused_and_works_dense_or_unsaved():
    model = mlp()
    model.register_buffer("neighbours", torch.eye(3).to_sparse())
    assert told(model) == (
        "a Sequential whose 'neighbours' has the layout torch.sparse_coo; wanted dense tensors, "
        "which can be compared and saved. Register it as a buffer with persistent=False, or pass "
        "it through .to_dense()."
    )
    model.neighbours = model.neighbours.to_dense()
    assert cut(model).verdict == "cut"
    assert cut(with_a_sparse_buffer()).verdict == "cut"


def test_quantised_and_sharded_weights_are_refused():
    def refused(model):
        return told(model) == (
            f"a Sequential with quantised or sharded weights in '0'; {LAYERS}. Pass the network "
            "as it was before the quantisation or sharding."
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(mlp(), {nn.Linear})
    assert refused(quantised)
    bytes_alone = mlp()  # as in eight-bit layers of other libraries
    bytes_alone[0].weight = nn.Parameter(torch.ones(6, 8, dtype=torch.int8), requires_grad=False)
    assert refused(bytes_alone)
    from torch.testing._internal.two_tensor import TwoTensor

    wrapped = mlp()
    weight = wrapped[0].weight.detach()
    wrapped[0].weight = nn.Parameter(TwoTensor(weight, weight.clone()))
    assert refused(wrapped)


def test_truncate_and_load_take_what_repair_takes(tmp_path):
    model = mlp()
    fix = cut(model)
    fix.save(tmp_path)
    loaded = tailcut.load(tmp_path, torch.compile(copy.deepcopy(model)))
    assert same_state(loaded.model.state_dict(), fix.model.state_dict())
    paper = tailcut.truncate(torch.compile(model), fix.spectrum, 2)
    assert same_state(paper.state_dict(), tailcut.truncate(model, fix.spectrum, 2).state_dict())
    for call in (lambda: tailcut.load(tmp_path, "x.pt"), lambda: tailcut.truncate("x.pt", None, 1)):
        with pytest.raises(tailcut.DataError, match=r"the path 'x\.pt' instead of a network"):
            call()
