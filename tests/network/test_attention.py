"""Attention with fused projections is truncated as the two linear layers that it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from network_reference import filtered_by_eigenvectors, same_state, seeded, state_of
from tailcut.network.filters import Filter, truncate_layers
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.stream import logits_of

WIDTH, HEADS, TOKENS = 8, 2, 5


class Attending(nn.Module):
    """Self-attention between its tokens, then their mean to three logits."""

    def __init__(self, *, batch_first: bool = True, masked: bool = False) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first)
        self.head = nn.Linear(WIDTH, 3)
        self.batch_first, self.masked = batch_first, masked
        nn.init.normal_(self.attend.in_proj_bias)
        nn.init.normal_(self.attend.out_proj.bias)

    def forward(self, inputs):
        rows = inputs if self.batch_first else inputs.transpose(0, 1)
        hidden, _ = self.attend(rows, rows, value=rows, key_padding_mask=self.mask(inputs))
        return self.head(hidden.mean(int(self.batch_first)))

    def mask(self, inputs):
        """The last two tokens, or nothing."""
        if not self.masked:
            return None
        return (torch.arange(TOKENS) >= TOKENS - 2).expand(len(inputs), TOKENS)


def attending(**options: bool) -> Attending:
    torch.manual_seed(0)
    return Attending(**options).eval()


def tokens(n: int = 6) -> torch.Tensor:
    return torch.randn(n, TOKENS, WIDTH, generator=seeded())


def mixed_by_hand(model: Attending, inputs: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v, head by head."""
    parts = (inputs @ model.attend.in_proj_weight.T + model.attend.in_proj_bias).chunk(3, -1)
    found, mask = [], model.mask(inputs)
    for q, k, v in zip(*(part.split(WIDTH // HEADS, -1) for part in parts), strict=True):
        scores = q @ k.transpose(1, 2) / (WIDTH // HEADS) ** 0.5
        if mask is not None:
            scores = scores.masked_fill(mask[:, None, :], -torch.inf)
        found.append(scores.softmax(-1) @ v)
    return torch.cat(found, -1).detach()


def second(rows: torch.Tensor) -> torch.Tensor:
    rows = rows.reshape(-1, rows.shape[-1]).double()
    gram = rows.T @ rows
    return gram[None] / gram.trace()


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_moments_are_those_of_what_both_projections_receive(batch_first, masked):
    model, inputs = attending(batch_first=batch_first, masked=masked), tokens()
    moments = LayerMoments(model, len(inputs), skip=["head"]).update(inputs)
    assert set(moments.grams) == {"attend", "attend.out_proj"}
    for name, rows in {"attend": inputs, "attend.out_proj": mixed_by_hand(model, inputs)}.items():
        torch.testing.assert_close(moments.second_GPP(name), second(rows), rtol=1e-4, atol=1e-6)


def test_both_projections_are_filtered_and_nothing_else():
    model, inputs = attending(), tokens()
    twin = attending()
    before = state_of(model)
    truncate_layers(
        twin, LayerMoments(model, len(inputs), skip=["head"]).update(inputs), Filter(30)
    )
    assert same_state(state_of(model), before)
    changed = {key for key, value in twin.state_dict().items() if not value.equal(before[key])}
    assert changed == {"attend.in_proj_weight", "attend.out_proj.weight"}
    for key, rows in (
        ("attend.in_proj_weight", inputs),
        ("attend.out_proj.weight", mixed_by_hand(model, inputs)),
    ):
        explicit = filtered_by_eigenvectors(before[key].double(), second(rows)[0], 30)
        torch.testing.assert_close(twin.state_dict()[key].double(), explicit, rtol=1e-4, atol=1e-5)


def test_attention_to_other_tokens_is_left_alone():
    class Crossing(Attending):
        def forward(self, inputs):
            return self.head(self.attend(inputs, inputs.flip(1), inputs.flip(1))[0].mean(1))

    moments = LayerMoments(Crossing().eval(), 6, skip=["head"]).update(tokens())
    assert not moments.grams


class Across(nn.Module):
    """Attention whose keys are of another width, so that it has four weights."""

    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, kdim=4, vdim=4, batch_first=True)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, inputs):
        others = inputs[..., :4].contiguous()
        return self.head(self.attend(inputs, others, others)[0].mean(1))


def test_attention_with_a_weight_for_each_projection_is_filtered():
    torch.manual_seed(0)
    model, inputs, linear = Across().eval(), tokens(), nn.functional.linear
    moments = LayerMoments(model, len(inputs), skip=["head"]).update(inputs)
    assert nn.functional.linear is linear
    parts = ("q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj")
    assert set(moments.grams) == {f"attend.{part}" for part in parts}
    assert moments.coverage.filtered == moments.coverage.of == 4
    for part, rows in (("q", inputs), ("k", inputs[..., :4]), ("v", inputs[..., :4])):
        found = moments.second_GPP(f"attend.{part}_proj_weight")
        torch.testing.assert_close(found, second(rows), rtol=1e-4, atol=1e-6)
    before = state_of(model)
    truncate_layers(model, moments, Filter(30))
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert changed == {f"attend.{part}" for part in (*parts[:3], "out_proj.weight")}


def test_an_output_projection_to_leave_alone_is_left_alone():
    moments = LayerMoments(attending(), 6, skip=["head", "attend.out_proj"]).update(tokens())
    assert set(moments.grams) == {"attend"}


def test_no_hook_stays():
    model = attending()
    LayerMoments(model, 6).update(tokens())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def pooled(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(TOKENS * WIDTH, 3)).eval()


def test_the_fast_path_of_torchs_encoder_is_seen_too():
    model = pooled(nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True))
    moments = LayerMoments(model, 6, skip=["2"]).update(tokens())
    names = ("self_attn", "self_attn.out_proj", "linear1", "linear2")
    assert set(moments.grams) == {f"0.{name}" for name in names}


class Reader(nn.Module):
    """Torch's encoder on token numbers, some of them padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, layer = (
            nn.Embedding(30, WIDTH),
            nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True),
        )
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(WIDTH, 3)

    def forward(self, input_ids, attention_mask):
        rows = self.encoder(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        return self.head(rows[:, 0])


def test_torchs_encoder_is_seen_where_some_tokens_are_padding():
    torch.manual_seed(0)
    model = Reader().eval()
    mask = torch.ones(6, TOKENS).long()
    mask[:3, 3:] = 0
    inputs = {"input_ids": torch.randint(1, 30, (6, TOKENS)), "attention_mask": mask}
    moments = LayerMoments(model, 6, skip=["head"]).update(inputs)
    assert (moments.coverage.filtered, moments.coverage.of) == (8, 8)
    assert torch.backends.mha.get_fastpath_enabled()


def torchvision_vit() -> tuple[nn.Module, set[str], str]:
    transformer = pytest.importorskip("torchvision.models").VisionTransformer
    torch.manual_seed(0)
    model = transformer(16, 8, 2, 2, 16, 32, num_classes=10)
    nn.init.normal_(model.heads.head.weight)
    parts = ("self_attention", "self_attention.out_proj", "mlp.0", "mlp.3")
    layers = {f"encoder.layers.encoder_layer_{i}.{part}" for i in range(2) for part in parts}
    return model, {"conv_proj", *layers}, "heads.head"


def timm_vit() -> tuple[nn.Module, set[str], str]:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10, **sizes)
    layers = {
        f"blocks.{i}.{part}"
        for i in range(2)
        for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    return model, {"patch_embed.proj", *layers}, "head"


@pytest.mark.parametrize("make", [torchvision_vit, timm_vit])
def test_every_layer_of_a_vision_transformer_is_truncated(make):
    model, layers, head = make()
    model.eval()
    inputs = torch.randn(8, 3, 16, 16, generator=seeded())
    moments = LayerMoments(model, 8, skip=[head]).update(inputs)
    assert set(moments.grams) == layers
    before, logits_NK = state_of(model), logits_of(model, inputs)
    truncate_layers(model, moments, Filter(10))
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert len(changed) == len(layers)
    assert not torch.allclose(logits_of(model, inputs), logits_NK, atol=1e-2)
