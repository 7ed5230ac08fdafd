"""Heads that are found and proven, in real networks with random weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from network_reference import images, seeded
from tailcut.network.head import Head, find_head
from tailcut.network.surgery import folded

K = 3
SMALL = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_labels": K,
    "pad_token_id": 1,
}
TINY_GPT = {
    "vocab_size": 60,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "num_labels": K,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
TINY_DISTIL = {"vocab_size": 60, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
TINY_VIT = {"image_size": 32, "patch_size": 8, **SMALL}


def sentences():
    """Token numbers with padding behind the shorter ones, as a tokenizer gives them."""
    tokens_NT = torch.randint(3, 50, (5, 7), generator=seeded())
    mask_NT = torch.ones_like(tokens_NT)
    tokens_NT[2, 4:], mask_NT[2, 4:] = 1, 0
    return {"input_ids": tokens_NT, "attention_mask": mask_NT}


def torchvision(name: str) -> Callable[[], nn.Module]:
    def make():
        models = pytest.importorskip("torchvision.models")
        return getattr(models, name)(num_classes=K)

    return make


def timm(name: str, **options: int) -> Callable[[], nn.Module]:
    def make():
        return pytest.importorskip("timm").create_model(name, num_classes=K, **options)

    return make


def transformers(name: str, task: str, options: dict) -> Callable[[], nn.Module]:
    def make():
        library = pytest.importorskip("transformers")
        config = getattr(library, f"{name}Config")(**options)
        return getattr(library, f"{name}For{task}Classification")(config)

    return make


VIT = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 2}
NETWORKS = {
    "torchvision resnet18": (torchvision("resnet18"), images, "fc"),
    "torchvision mobilenet_v3_small": (torchvision("mobilenet_v3_small"), images, "classifier.3"),
    "timm resnet10t": (timm("resnet10t"), images, "fc"),
    "timm vit": (timm("vit_tiny_patch16_224", **VIT), images, "head"),
    "BERT": (transformers("Bert", "Sequence", SMALL), sentences, "classifier"),
    "RoBERTa": (transformers("Roberta", "Sequence", SMALL), sentences, "classifier.out_proj"),
    "DistilBERT": (
        transformers("DistilBert", "Sequence", {**TINY_DISTIL, "num_labels": K}),
        sentences,
        "classifier",
    ),
    "GPT-2": (transformers("GPT2", "Sequence", TINY_GPT), sentences, "score"),
    "ViT": (
        transformers("ViT", "Image", TINY_VIT),
        lambda: {"pixel_values": images()},
        "classifier",
    ),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    make, inputs, name = NETWORKS[request.param]
    torch.manual_seed(0)
    return make().eval(), inputs(), name


def recomputed(head: Head, model: nn.Module, inputs) -> tuple[torch.Tensor, torch.Tensor]:
    features_ND, logits_NK = head.features_and_logits(model, inputs)
    assert features_ND.shape == (len(logits_NK), head.width)
    return nn.functional.linear(features_ND, *head.parameters(model)), logits_NK


def test_the_head_of_a_real_network_gives_its_logits(network):
    model, inputs, name = network
    head = find_head(model, inputs)
    assert (head.name, head.classes, head.bias) == (name, K, name != "score")
    recomputed_NK, logits_NK = recomputed(head, model, inputs)
    torch.testing.assert_close(recomputed_NK, logits_NK, rtol=1e-5, atol=1e-6)


def test_looking_for_the_head_leaves_no_hook_behind(network):
    model, inputs, _ = network
    find_head(model, inputs)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_head_on_every_token_gives_the_features_of_the_last_one_that_is_no_padding():
    make, inputs, _ = NETWORKS["GPT-2"]
    torch.manual_seed(0)
    model = make().eval()
    features_ND, _ = find_head(model, inputs()).features_and_logits(model, inputs())
    states_NTD = model.transformer(**inputs()).last_hidden_state
    last_N = inputs()["attention_mask"].sum(1) - 1
    assert torch.equal(features_ND, states_NTD[torch.arange(5), last_N].detach())


@pytest.mark.parametrize("pool_first", [True, False])
def test_a_1x1_convolution_before_or_after_average_pooling_is_a_head(pool_first):
    pool, head = nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, K, 1)
    ends = [pool, head] if pool_first else [head, pool]
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *ends, nn.Flatten()).eval()
    found = find_head(model, images())
    assert found == Head("3" if pool_first else "2", 8, K, bias=True)
    features_ND, _ = found.features_and_logits(model, images())
    torch.testing.assert_close(features_ND, model[:2](images()).mean((2, 3)))


@pytest.mark.parametrize("axes", [1, 3])
def test_a_convolution_of_size_1_along_other_axes_is_a_head(axes):
    convolution = {1: nn.Conv1d, 3: nn.Conv3d}[axes]
    pool = {1: nn.AdaptiveAvgPool1d, 3: nn.AdaptiveAvgPool3d}[axes]
    model = nn.Sequential(convolution(2, 4, 2), nn.ReLU(), convolution(4, K, 1), pool(1))
    model = nn.Sequential(*model, nn.Flatten()).eval()
    inputs = torch.randn(5, 2, *[4] * axes, generator=seeded())
    head = find_head(model, inputs)
    assert (head.name, head.width, head.classes) == ("2", 4, K)
    torch.testing.assert_close(*recomputed(head, model, inputs), rtol=1e-5, atol=1e-6)


class Averaging(nn.Module):
    """Two heads that read features of different widths."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(4, 6), nn.Linear(4, 2)
        self.first, self.second = nn.Linear(6, K, bias=bias), nn.Linear(2, K, bias=bias)

    def forward(self, inputs):
        return (self.first(self.wide(inputs)) + self.second(self.narrow(inputs))) / 2


@pytest.mark.parametrize("bias", [True, False])
def test_two_averaged_heads_are_one_whose_features_lie_side_by_side(bias):
    torch.manual_seed(0)
    model, inputs = Averaging(bias=bias).eval(), torch.randn(5, 4, generator=seeded())
    head = find_head(model, inputs)
    assert head == Head("first + second", 8, K, bias)
    assert head.names == ["first", "second"]
    features_ND, _ = head.features_and_logits(model, inputs)
    alone = torch.cat([model.wide(inputs), model.narrow(inputs)], 1)
    assert torch.equal(features_ND, alone.detach())
    torch.testing.assert_close(*recomputed(head, model, inputs), rtol=1e-5, atol=1e-6)


def test_what_is_written_into_two_averaged_heads_is_what_they_give():
    torch.manual_seed(0)
    model, inputs = Averaging(bias=True).eval(), torch.randn(5, 4, generator=seeded())
    head = find_head(model, inputs)
    features_ND, _ = head.features_and_logits(model, inputs)
    weight_KD, bias_K = torch.randn(K, 8, generator=seeded()), torch.randn(K, generator=seeded())
    after = folded(model, head, weight_KD, bias_K)
    expected_NK = nn.functional.linear(features_ND, weight_KD, bias_K)
    torch.testing.assert_close(after(inputs).detach(), expected_NK, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(model(inputs), expected_NK, atol=0.1)


def test_both_heads_of_a_distilled_transformer_are_found():
    model = timm("deit_tiny_distilled_patch16_224", **VIT)()
    nn.init.normal_(model.head.weight)
    head = find_head(model.eval(), images())
    assert (head.name, head.width) == ("head + head_dist", 96)


def test_the_last_of_two_layers_of_k_outputs_is_the_head():
    model = nn.Sequential(nn.Linear(4, K), nn.ReLU(), nn.Linear(K, K)).eval()
    assert find_head(model, torch.randn(5, 4)).name == "2"


def test_a_layer_of_k_outputs_on_positions_that_are_no_samples_does_not_confuse():
    class PositionBias(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias, self.fc = nn.Linear(2, K), nn.Linear(4, K)

        def forward(self, inputs):
            logits = self.fc(inputs)
            self.bias(torch.ones(7, 2))
            return logits

    assert find_head(PositionBias().eval(), torch.randn(5, 4)).name == "fc"


def test_a_head_called_by_keyword_is_found():
    class ByKeyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, K)

        def forward(self, inputs):
            return self.fc(input=inputs)

    assert find_head(ByKeyword().eval(), torch.randn(5, 4)).name == "fc"


def test_features_overwritten_in_place_after_the_head_are_kept():
    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, K)

        def forward(self, inputs):
            features = inputs.clone()
            logits = self.fc(features)
            features.zero_()
            return logits

    model, inputs = Overwrites().eval().requires_grad_(requires_grad=False), torch.randn(5, 4)
    features_ND, _ = find_head(model, inputs).features_and_logits(model, inputs)
    assert torch.equal(features_ND, inputs)


def test_two_names_of_one_module_are_one_head():
    class Alias(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = self.classifier = nn.Linear(4, K)

        def forward(self, inputs):
            return self.classifier(inputs)

    assert find_head(Alias().eval(), torch.randn(5, 4)).name == "head"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_head_is_proven_in_every_precision(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, K)).to(dtype)
    inputs = torch.randn(5, 4, generator=seeded()).to(dtype)
    assert find_head(model, inputs).name == "2"


def test_one_sample_is_enough_to_find_a_head():
    assert find_head(nn.Sequential(nn.Linear(4, K)), torch.randn(1, 4)).name == "0"
