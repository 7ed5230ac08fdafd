"""A layer is filtered only if what it gives can be recomputed from what it receives."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from network_reference import images, patches_by_unfold, second_moment, seeded, state_of
from tailcut.errors import DataError
from tailcut.network.filters import Filter, truncate_layers
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.layer_statistics import Coverage
from tailcut.network.layers import KINDS, layers_in
from tailcut.network.stream import logits_of

OTHERWISE = "it gives something else than weight x input + bias"
STANDARDISED = "it standardises its weight whenever it is used"
FIXED = "it does not follow its weight when that is changed"


def behind(*layers: nn.Module, width: int = 6) -> nn.Sequential:
    """Some layers, and a head that is left alone."""
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 2)).eval()


def coverage_of(model: nn.Module, inputs: torch.Tensor, *more: torch.Tensor) -> Coverage:
    """With what is said to be filtered also changed by a filter, and nothing else."""
    moments = LayerMoments(model, len(inputs), skip=[list(dict(model.named_modules()))[-1]])
    for each in (inputs, *more):
        moments.update(each)
    before = state_of(model)
    truncate_layers(model, moments, Filter(10))
    changed = {
        name.partition("parametrizations")[0]  # one weight may be computed from two tensors
        if "parametrizations" in name
        else name
        for name, tensor in model.state_dict().items()
        if not tensor.equal(before[name])
    }
    assert len(changed) == len(moments.grams) == moments.coverage.filtered
    return moments.coverage


def rows(n: int = 8, width: int = 6) -> torch.Tensor:
    return torch.randn(n, width, generator=seeded())


class SamePadded(nn.Conv2d):
    """Pads at call time, more after than before, as TensorFlow does."""

    def forward(self, inputs):
        missing = [
            max(0, (-(-size // step) - 1) * step + kernel - size)
            for size, step, kernel in zip(
                inputs.shape[2:], self.stride, self.kernel_size, strict=True
            )
        ]
        sides = [side for each in reversed(missing) for side in (each // 2, each - each // 2)]
        return super().forward(nn.functional.pad(inputs, sides))


class Causal(nn.Conv1d):
    """Sees the past only."""

    def forward(self, inputs):
        return super().forward(nn.functional.pad(inputs, (self.kernel_size[0] - 1, 0)))


class Cropped(nn.Conv1d):
    """Sees the past only: padded on both sides, and cut off behind."""

    def forward(self, inputs):
        return super().forward(inputs)[..., : -self.padding[0]]


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Linear(6, 6), rows()),
        (nn.Linear(6, 6, bias=False), rows(8 * 5).reshape(8, 5, 6)),
        (nn.Conv1d(3, 4, 3, padding=1, groups=1), torch.randn(8, 3, 9, generator=seeded())),
        (nn.Conv3d(2, 4, (1, 3, 2), stride=2), torch.randn(8, 2, 3, 6, 6, generator=seeded())),
        (nn.Conv3d(2, 4, 3, padding="same", groups=2), torch.randn(8, 2, 3, 4, 4)),
        (SamePadded(3, 4, 3, stride=2), images(8, 8)),
        (SamePadded(3, 4, 4, stride=2), images(8, 7)),
        (Causal(3, 4, 3), torch.randn(8, 3, 9, generator=seeded())),
        (Cropped(3, 4, 3, padding=2), torch.randn(8, 3, 9, generator=seeded())),
        (weight_norm(nn.Linear(6, 6)), rows()),
        (weight_norm(nn.Conv1d(4, 4, 3, groups=2), dim=2), torch.randn(8, 4, 9)),
    ],
)
def test_a_layer_that_multiplies_its_input_is_filtered(layer, inputs):
    model = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(2)).eval()
    with torch.no_grad():
        model(inputs)
    assert coverage_of(model, inputs) == Coverage(1, 1, {})


class Fused(nn.Module):
    """Three projections in one layer that never runs, with biases of their own."""

    def __init__(self, *, wrong: bool = False) -> None:
        super().__init__()
        self.qkv, self.q_bias = nn.Linear(6, 18, bias=False), nn.Parameter(torch.randn(6))
        self.wrong = wrong

    def forward(self, inputs):
        bias = torch.cat([self.q_bias, torch.zeros(12)])
        weight = self.qkv.weight if not self.wrong else self.qkv.weight * 1
        q, k, v = nn.functional.linear(inputs, weight=weight, bias=bias).chunk(3, -1)
        return q * k.sigmoid() + v


def test_a_layer_whose_weight_another_module_multiplies_by_is_filtered():
    torch.manual_seed(0)
    model, inputs = behind(Fused()), rows()
    moments = LayerMoments(model, 8, skip=["2"]).update(inputs)
    assert moments.coverage == Coverage(1, 1, {})
    gram_PP = inputs.double().T @ inputs.double()
    torch.testing.assert_close(moments.grams["0.qkv"][0], gram_PP, rtol=1e-5, atol=1e-6)
    assert coverage_of(model, inputs) == Coverage(1, 1, {})


def test_a_layer_of_which_another_module_uses_a_changed_weight_is_named():
    model = behind(Fused(wrong=True))
    assert coverage_of(model, rows()).skipped == {"0.qkv": "it was never called"}


def test_a_convolution_whose_weight_is_used_with_another_stride_is_named():
    class Strided(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, inputs):
            return nn.functional.conv2d(inputs, self.layer.weight, stride=2)

    torch.manual_seed(0)
    model = behind(Strided(), width=36)
    assert coverage_of(model, images(8, 8)).skipped == {"0.layer": OTHERWISE}


@pytest.mark.parametrize("dim", [0, 1])
def test_a_weight_under_weight_norm_becomes_the_one_of_a_plain_layer(dim):
    torch.manual_seed(0)
    plain, inputs = behind(nn.Linear(6, 6)), rows()
    normed = copy.deepcopy(plain)
    weight_norm(normed[0], dim=dim)
    for model in (plain, normed):
        truncate_layers(model, LayerMoments(model, 8, skip=["2"]).update(inputs), Filter(10))
    torch.testing.assert_close(normed[0].weight, plain[0].weight, rtol=1e-4, atol=1e-6)


def test_own_padding_is_seen_where_it_lies():
    torch.manual_seed(0)
    layer, inputs = SamePadded(3, 4, 3, stride=2), images(2, 8)
    moments = LayerMoments(behind(layer, width=64), 2, skip=["2"]).update(inputs)
    alike = nn.Conv2d(3, 4, 3, stride=2)
    patches_GMP = patches_by_unfold(alike, nn.functional.pad(inputs, (0, 1, 0, 1)))
    torch.testing.assert_close(
        moments.second_GPP("0"), second_moment(patches_GMP), rtol=1e-5, atol=1e-6
    )


class Standardised(nn.Conv2d):
    """Multiplies with another weight than it holds."""

    def forward(self, inputs):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(inputs, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class Adapted(nn.Linear):
    """Low-rank adaptation, not merged."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width)
        self.down, self.up = nn.Parameter(torch.randn(1, width)), nn.Parameter(torch.ones(width, 1))

    def forward(self, inputs):
        return super().forward(inputs) + inputs @ self.down.T @ self.up.T * 0.1


class Cached(nn.Linear):
    """Uses a copy of its weight that it made when it was put into evaluation mode."""

    def train(self, mode=True):  # noqa: FBT002 - as torch has it
        self.kept = None if mode else self.weight.detach().clone()
        return super().train(mode)

    def forward(self, inputs):
        return nn.functional.linear(
            inputs, self.weight if self.kept is None else self.kept, self.bias
        )


class Told(nn.Linear):
    """Gives more than its output."""

    def forward(self, inputs):
        return super().forward(inputs), self.bias


class Unpacked(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs):
        return self.layer(inputs)[0]


class Scaled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def hooked() -> nn.Module:
    layer = nn.Linear(6, 6)
    layer.register_forward_hook(lambda _, args, output: output + args[0].mean())
    return layer


def parametrized() -> nn.Module:
    layer = nn.Linear(6, 6)
    parametrize.register_parametrization(layer, "weight", Scaled())
    return layer


class Twice(nn.Module):
    """A layer of which one call is not what the other is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.calls = 0
        self.layer.register_forward_hook(self.alternate)

    def alternate(self, _module, _args, output):
        self.calls += 1
        return output if self.calls % 2 else 3 * output

    def forward(self, inputs):
        return self.layer(self.layer(inputs))


COMPUTED = "its weight is computed from other tensors"
STRANGE = "a {} is of no kind that can be filtered"


@pytest.mark.parametrize(
    ("make", "inputs", "name", "why"),
    [
        (lambda: Standardised(3, 4, 3, padding=1), images(8, 4), "0", STANDARDISED),
        (lambda: Adapted(6), rows(), "0", OTHERWISE),
        (hooked, rows(), "0", OTHERWISE),
        (Twice, rows(), "0.layer", OTHERWISE),
        (lambda: Unpacked(Told(6, 6)), rows(), "0.layer", OTHERWISE),
        (lambda: Cached(6, 6), rows(), "0", FIXED),
        (parametrized, rows(), "0", COMPUTED),
        (lambda: spectral_norm(nn.Linear(6, 6)), rows(), "0", COMPUTED),
        (lambda: nn.ConvTranspose2d(3, 4, 1), images(8, 4), "0", STRANGE.format("ConvTranspose2d")),
        (lambda: Unpacked(nn.GRU(6, 6)), rows(), "0.layer", STRANGE.format("GRU")),
    ],
)
def test_a_layer_that_does_something_else_is_skipped_and_named(make, inputs, name, why):
    torch.manual_seed(0)
    model = behind(make(), width=64 if inputs.ndim == 4 else 6)
    assert coverage_of(model, inputs) == Coverage(0, 1, {name: why})


def test_a_standardised_weight_is_not_taken_for_a_plain_one_where_it_is_standardised_already():
    torch.manual_seed(0)
    layer = Standardised(3, 4, 3, padding=1, bias=False)
    with torch.no_grad():
        layer.weight -= layer.weight.mean((1, 2, 3), keepdim=True)
        layer.weight /= layer.weight.std((1, 2, 3), keepdim=True)
    assert coverage_of(behind(layer, width=64), images(8, 4)).skipped == {"0": FIXED}


def test_pruned_weights_are_computed():
    layer = prune.l1_unstructured(nn.Linear(6, 6), "weight", amount=0.5)
    with torch.no_grad():
        layer(rows())
    layer.weight = layer.weight.detach()
    assert coverage_of(behind(layer), rows()).skipped == {
        "0": "its weight is computed from other tensors"
    }


def test_weights_that_lie_in_the_same_memory_are_shared():
    torch.manual_seed(0)
    a, b, c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
    b.weight = a.weight
    c.weight.data = a.weight.data[:]
    assert coverage_of(behind(a, nn.ReLU(), b, c), rows()).skipped == {
        "0": "its weight is shared with 2.weight, 3.weight",
        "2": "its weight is shared with 0.weight, 3.weight",
        "3": "its weight is shared with 0.weight, 2.weight",
    }


def test_layers_that_do_not_run_or_see_what_is_not_finite_are_named():
    class Partial(nn.Sequential):
        def forward(self, inputs):
            self[1](inputs / 0)
            return self[3](self[0](inputs))

    torch.manual_seed(0)
    model = Partial(*(nn.Linear(6, 6) for _ in range(3)), nn.Linear(6, 2)).eval()
    assert coverage_of(model, rows()) == Coverage(
        1, 3, {"1": "it receives NaN or infinite values", "2": "it was never called"}
    )


def test_a_layer_that_fails_in_a_later_batch_only_is_skipped_too():
    class Clipped(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs.clamp(max=5))

    torch.manual_seed(0)
    model = behind(Clipped(6, 6))
    assert coverage_of(model, rows().clamp(max=5), 10 + rows()).skipped == {"0": OTHERWISE}


def test_attention_that_adapts_its_projections_or_reads_two_sequences_is_named():
    class Shifted(nn.MultiheadAttention):
        def forward(self, *args, **kwargs):
            output, weights = super().forward(*args, **kwargs)
            return output + 0.1 * args[0], weights

    class Attending(nn.Module):
        def __init__(self, attend, *, crossing=False):
            super().__init__()
            self.attend, self.head, self.crossing = attend, nn.Linear(30, 2), crossing

        def forward(self, inputs):
            other = inputs.flip(1) if self.crossing else inputs
            return self.head(self.attend(inputs, other, other)[0].flatten(1))

    tokens = rows(8 * 5).reshape(8, 5, 6)
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(6, 2, batch_first=True)
    shifted = Shifted(6, 2, batch_first=True)
    names = ("attend", "attend.out_proj")
    assert coverage_of(Attending(plain).eval(), tokens) == Coverage(2, 2, {})
    assert coverage_of(Attending(shifted).eval(), tokens).skipped == dict.fromkeys(names, OTHERWISE)
    crossing = dict.fromkeys(names, "it attends to other tokens than its own")
    assert coverage_of(Attending(plain, crossing=True).eval(), tokens).skipped == crossing


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_proof_holds_in_every_precision_and_still_tells_an_adapted_layer(dtype):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 32, 3, padding=1)
    inputs = images(8, 8).to(dtype)
    model = behind(convolution, nn.ReLU(), nn.Conv2d(32, 4, 3), width=144).to(dtype)
    assert coverage_of(model, inputs) == Coverage(2, 2, {})
    adapted = behind(Adapted(6)).to(dtype)
    assert coverage_of(adapted, rows().to(dtype)).skipped == {"0": OTHERWISE}


def test_outputs_that_nearly_cancel_do_not_fail_the_proof():
    torch.manual_seed(0)
    layer = nn.Linear(64, 6, bias=False)
    with torch.no_grad():
        layer.weight -= layer.weight.mean(1, keepdim=True)
    inputs = 1e4 + rows(8, 64)
    assert coverage_of(behind(layer), inputs) == Coverage(1, 1, {})


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_inputs_near_the_ends_of_the_number_range_keep_their_moments(scale):
    model, inputs = behind(nn.Linear(6, 6, bias=False)), rows()
    moments = LayerMoments(model, 8, skip=["2"]).update(inputs * scale)
    alike = LayerMoments(model, 8, skip=["2"]).update(inputs)
    torch.testing.assert_close(moments.second_GPP("0"), alike.second_GPP("0"), rtol=1e-5, atol=1e-9)


def test_only_the_hooks_of_others_stay():
    model = behind(hooked(), nn.ReLU(), nn.Linear(6, 6))
    LayerMoments(model, 8).update(rows())
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 1, 0, 0, 0, 0]
    with pytest.raises((RuntimeError, DataError)):
        LayerMoments(model, 8).update(rows(8, 5))
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 1, 0, 0, 0, 0]


def test_each_kind_knows_its_modules_by_itself():
    assert [kind.__name__ for kind in KINDS][:2] == ["LinearLayer", "Convolution"]
    model = nn.Sequential(
        nn.Linear(2, 2), nn.Conv1d(2, 2, 1), nn.MultiheadAttention(2, 1), nn.ReLU()
    )
    assert [type(layer).__name__ for layer in layers_in(model).values()] == [
        "LinearLayer",
        "Convolution",
        "FusedAttention",
    ]


def timm_network(name: str, **options):
    return pytest.importorskip("timm").create_model(name, num_classes=5, **options).eval()


def test_every_layer_of_a_network_from_tensorflow_is_filtered():
    torch.manual_seed(0)
    model = timm_network("tf_mobilenetv3_small_minimal_100")
    moments = LayerMoments(model, 4, skip=["classifier"]).update(images(4, 33))
    kinds = {type(model.get_submodule(name)).__name__ for name in moments.grams}
    assert kinds == {"Conv2d", "Conv2dSame"}
    assert str(moments.coverage) == "all layers"


def test_a_network_whose_pooling_receives_one_vector_from_every_sample_is_filtered():
    """The class token of CaiT is the same for all until its first attention."""
    torch.manual_seed(0)
    sizes = {"img_size": 32, "depth": 1, "embed_dim": 48, "num_heads": 2}
    model = timm_network("cait_xxs24_224", **sizes)
    inputs = images(8, 32)
    moments = LayerMoments(model, 8, skip=["head"]).update(inputs, inputs + images(8, 32, 1) / 4)
    assert str(moments.coverage) == "all layers"
    assert "blocks_token_only.0.attn.q" in moments.grams
    for chosen in (Filter(3_000), Filter(denoising=2)):
        twin = copy.deepcopy(model)
        truncate_layers(twin, moments, chosen)
        assert all(each.isfinite().all() for each in twin.state_dict().values())
        assert logits_of(twin, inputs).isfinite().all()


def test_standardised_convolutions_of_timm_are_named():
    torch.manual_seed(0)
    make = pytest.importorskip("timm").models.resnetv2.ResNetV2
    layer = pytest.importorskip("timm").layers.StdConv2d
    model = make((1, 1), channels=(128, 128), num_classes=5, stem_chs=32, conv_layer=layer).eval()
    moments = LayerMoments(model, 4, skip=["head.fc"]).update(images(4, 32))
    coverage = moments.coverage
    assert coverage.filtered == 0
    assert str(coverage) == f"0 of {coverage.of} layers"
    assert set(coverage.skipped.values()) == {STANDARDISED}


def test_the_layers_of_gpt_2_are_filtered():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2, num_labels=3, pad_token_id=0
    )
    model = transformers.GPT2ForSequenceClassification(config).eval()
    tokens = {"input_ids": torch.randint(1, 20, (8, 6), generator=seeded())}
    moments = LayerMoments(model, 8, skip=["score"]).update(tokens)
    assert moments.coverage == Coverage(8, 8, {})
    before = state_of(model)
    truncate_layers(model, moments, Filter(10))
    name = "transformer.h.0.mlp.c_fc"
    second_PP = moments.second_GPP(name)[0]
    explicit_OP = before[f"{name}.weight"].T.double() @ second_PP
    explicit_OP = explicit_OP @ torch.linalg.inv(0.9 * second_PP + 0.1 * torch.eye(8))
    torch.testing.assert_close(
        model.state_dict()[f"{name}.weight"].T.double(), explicit_OP, rtol=1e-4, atol=1e-6
    )
