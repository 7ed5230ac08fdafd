from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from network_reference import images, same_state, seeded, small_cnn, state_of
from tailcut.errors import HeadError
from tailcut.network.head import Head, find_head
from tailcut.network.stream import logits_of
from tailcut.network.surgery import changed_tensors, equivalence, folded, with_tensors
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum

K = 10


def resnet18() -> nn.Module:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    return models.resnet18(num_classes=K).eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def resnet():
    """A ResNet-18 and its head."""
    model = resnet18()
    return model, find_head(model, images())


@pytest.fixture(scope="module")
def readouts(resnet):
    """Every readout of its features, by name."""
    model, head = resnet
    features_ND, _ = head.features_and_logits(model, images(60))
    moments = Moments(head.width, K).update(features_ND, given=torch.arange(60) % K)
    spectrum = Spectrum.of(moments)
    return {
        "project": Readout.project(spectrum, *head.parameters(model)),
        "ridge": Readout.ridge(moments, spectrum=spectrum),
        "centroid": Readout.centroid(moments, spectrum=spectrum),
        "lda": Readout.lda(moments, spectrum=spectrum),
    }


@pytest.mark.parametrize("rank", [1, 16, "all"])
@pytest.mark.parametrize("name", ["project", "ridge", "centroid", "lda"])
def test_a_folded_resnet_is_the_same_function_as_the_explicit_projection(
    resnet, readouts, name, rank
):
    model, head = resnet
    readout = readouts[name]
    rank = readout.max_rank if rank == "all" else rank
    after = folded(model, head, *readout.fold(rank))
    assert equivalence(model, head, readout, rank, after, images(8, seed=1)) <= 1e-5


def test_a_folded_resnet_loads_strictly_into_a_fresh_one(resnet, readouts):
    model, head = resnet
    before = state_of(model)
    after = folded(model, head, *readouts["lda"].fold(5))
    assert type(after) is type(model)
    assert same_form(after.state_dict(), before)
    assert [name for name, _ in after.named_modules()] == [n for n, _ in model.named_modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in after.modules())
    fresh = resnet18()
    fresh.load_state_dict(after.state_dict(), strict=True)
    assert torch.equal(logits_of(fresh, images()), logits_of(after, images()))
    assert same_state(state_of(model), before)


def same_form(a, b):
    forms = [{name: (t.shape, t.dtype) for name, t in state.items()} for state in (a, b)]
    return forms[0] == forms[1]


def test_equivalence_sees_another_function(resnet, readouts):
    model, head = resnet
    after = folded(model, head, *readouts["lda"].fold(5))
    assert equivalence(model, head, readouts["lda"], 6, after, images(8, seed=1)) > 1e-3


def test_only_weight_and_bias_of_the_head_change(resnet, readouts):
    model, head = resnet
    after = folded(model, head, *readouts["lda"].fold(5))
    assert sorted(changed_tensors(model, after)) == ["fc.bias", "fc.weight"]


def headed(*, bias: bool) -> tuple[nn.Module, Head, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3, bias=bias))
    return model, Head("2", 8, 3, bias), torch.randn(40, 6, generator=seeded())


def test_a_head_without_bias_takes_the_uncentred_cut():
    model, head, inputs = headed(bias=False)
    features_ND, _ = head.features_and_logits(model, inputs)
    moments = Moments(8, 3).update(features_ND, given=torch.arange(40) % 3)
    readout = Readout.project(Spectrum.of(moments, centred=False), *head.parameters(model))
    after = folded(model, head, *readout.fold(4))
    assert list(after.state_dict()) == list(model.state_dict())
    assert equivalence(model, head, readout, 4, after, inputs) <= 1e-5


def test_a_head_without_bias_refuses_one():
    model, head, _ = headed(bias=False)
    with pytest.raises(HeadError) as caught:
        folded(model, head, torch.ones(3, 8), torch.ones(3))
    assert str(caught.value) == (
        "a bias to fold into the head '2', which has none; wanted a cut without a bias. Use "
        'readout="project", which has an uncentred form for such heads.'
    )


def test_a_1x1_convolution_is_folded_into():
    torch.manual_seed(0)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 2, 1), nn.Flatten())
    after = folded(model, Head("1", 3, 2, bias=True), torch.ones(2, 3), torch.ones(2))
    sums_N = images().mean((2, 3)).sum(1) + 1
    torch.testing.assert_close(logits_of(after, images()), sums_N[:, None].expand(-1, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_fold_keeps_the_type_of_the_head(dtype):
    model, head, _ = headed(bias=True)
    model = model.to(dtype)
    after = folded(model, head, torch.ones(3, 8).double(), torch.ones(3).double())
    assert {tensor.dtype for tensor in after.state_dict().values()} == {dtype}


def test_undo_is_exact_to_the_bit():
    model = small_cnn()
    after = copy.deepcopy(model)
    with torch.no_grad():
        after[0].weight.mul_(1 / 3)
        after[4].running_var.add_(1e-3)
        after[4].num_batches_tracked.add_(7)
        after[9].bias.sub_(0.1)
    tensors = changed_tensors(model, after)
    assert set(tensors) == {"0.weight", "4.running_var", "4.num_batches_tracked", "9.bias"}
    cut = state_of(after)
    undone = with_tensors(after, tensors)
    assert same_state(state_of(undone), state_of(model))
    assert same_state(state_of(after), cut)


def test_the_kept_tensors_do_not_change_with_the_model():
    model = small_cnn()
    after = copy.deepcopy(model)
    nn.init.zeros_(after[9].weight)
    tensors = changed_tensors(model, after)
    kept = tensors["9.weight"].clone()
    nn.init.ones_(model[9].weight)
    assert torch.equal(tensors["9.weight"], kept)


def test_nothing_changed_leaves_nothing_to_undo():
    model = small_cnn()
    assert changed_tensors(model, copy.deepcopy(model)) == {}
