"""What fine-tuning changed, against singular value decompositions of every change."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reference import truncated_change
from tailcut.errors import DataError
from tailcut.network.filters import Filter, truncated_copy
from tailcut.network.fine_tuning import FineTuning, matrices
from tailcut.network.layer_moments import LayerMoments


class Pictures(nn.Module):
    """Every form a matrix may have: a convolution, a grouped and a depthwise one, an embedding."""

    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 8, 3, groups=8)
        )
        self.table = nn.Embedding(7, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)) + self.table.weight.mean(0))


def tuned(seed=0, scale=0.1, classes=3):
    """A pretrained network, and what came of it."""
    torch.manual_seed(seed)
    before, after = Pictures(5).eval(), Pictures(classes).eval()
    with torch.no_grad():
        for there, here in zip(before.parameters(), after.parameters(), strict=True):
            if there.shape == here.shape:
                here.copy_(there + scale * torch.randn_like(there))
    return before, after


def of(after, before, most=32):
    return FineTuning.of(after, before, skip=["head"], most=most)


@settings(max_examples=25, deadline=None)
@given(rank=st.integers(1, 9), seed=st.integers(0, 99), scale=st.floats(1e-3, 1e3))
def test_each_change_keeps_its_leading_singular_directions(rank, seed, scale):
    before, after = tuned(seed, scale)
    kept = copy.deepcopy(after)
    of(after, before).keep(kept, rank)
    known = [matrices(each) for each in (before, after, kept)]
    for name in ("body.0", "body.1", "table"):
        start, end, made = (each[name].matrix_GOP for each in known)
        wanted = truncated_change(start, end, rank)
        torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5 * scale)


def test_what_is_no_matrix_and_the_head_stay_as_they_were_fine_tuned():
    before, after = tuned()
    kept = copy.deepcopy(after)
    of(after, before).keep(kept, 1)
    for name, tensor in kept.state_dict().items():
        same = torch.equal(tensor, after.state_dict()[name])
        assert same is (name not in ("body.0.weight", "body.1.weight", "table.weight")), name


def test_a_change_of_low_rank_is_kept_whole():
    before, after = tuned()
    with torch.no_grad():
        for name, start in matrices(before).items():
            if name != "head":
                ones = torch.ones_like(start.matrix_GOP)
                matrices(after)[name].write(start.matrix_GOP + ones)
    kept = copy.deepcopy(after)
    of(after, before).keep(kept, 1)
    for name, tensor in kept.state_dict().items():
        torch.testing.assert_close(tensor, after.state_dict()[name])


@pytest.mark.parametrize("wrap", ["neither", "network", "backbone", "both"])
def test_wrappers_on_either_side_hide_no_layer(wrap):
    before, after = tuned()
    there = nn.ModuleDict({"encoder": before}) if wrap in ("backbone", "both") else before
    here = nn.Sequential(nn.Identity(), after) if wrap in ("network", "both") else after
    plain = of(after, before)
    found = FineTuning.of(here, there, skip=["head", "1.head"], most=32)
    assert len(found.leading) == 3
    for name, basis in found.leading.items():
        assert torch.equal(basis, plain.leading[name.removeprefix("1.")])


def test_gpt2_has_its_weights_input_first():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2, num_labels=2, pad_token_id=0
    )
    torch.manual_seed(0)
    before = transformers.GPT2Model(config)
    after = transformers.GPT2ForSequenceClassification(config).eval()
    kept, name = copy.deepcopy(after), "transformer.h.0.mlp.c_fc"
    FineTuning.of(after, before, skip=["score"], most=4).keep(kept, 2)
    start = matrices(before)[name.removeprefix("transformer.")].matrix_GOP
    wanted = truncated_change(start, matrices(after)[name].matrix_GOP, 2)
    made = matrices(kept)[name].matrix_GOP
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-6)


def test_half_precision_is_compared_in_double():
    before, after = tuned()
    kept = copy.deepcopy(after).bfloat16()
    of(kept, before).keep(kept, 2)
    assert kept.body[0].weight.dtype == torch.bfloat16
    wanted = truncated_change(
        matrices(before)["body.0"].matrix_GOP,
        matrices(after.bfloat16())["body.0"].matrix_GOP.float(),
        2,
    )
    made = matrices(kept)["body.0"].matrix_GOP.float()
    torch.testing.assert_close(made, wanted, rtol=0.02, atol=0.01)


@pytest.mark.parametrize(
    ("backbone", "seen"),
    [
        (
            nn.Sequential(nn.Linear(3, 3)),
            "0 of the network's 4 matrices (the network has body.0, body.1,",
        ),
        (nn.Identity(), "the backbone has none)"),
    ],
)
def test_another_architecture_is_refused_with_what_was_found(backbone, seen):
    _, after = tuned()
    with pytest.raises(DataError) as refused:
        of(after, backbone)
    assert seen in str(refused.value)


def test_the_trained_network_itself_is_refused():
    _, after = tuned()
    with pytest.raises(DataError, match="weights of the trained network itself"):
        of(after, copy.deepcopy(after))


def test_where_the_head_alone_was_trained_nothing_is_left_to_cut():
    before, _ = tuned()
    after = copy.deepcopy(before)
    torch.nn.init.normal_(after.head.weight)
    assert not of(after, before)
    assert of(*reversed(tuned()))


def test_a_filter_may_keep_less_and_truncate_what_is_left():
    before, after = tuned()
    images = torch.randn(64, 3, 9, 9)
    moments = LayerMoments(after, 64, skip=["head"]).update(images).frozen()
    batches = [(images, torch.zeros(64).long())]
    known = of(after, before)
    least = truncated_copy(after, moments, Filter(fine_tuning=2), batches, known)
    both = truncated_copy(after, moments, Filter(300, fine_tuning=2), batches, known)
    weight_GOP = matrices(least)["body.0"].matrix_GOP
    wanted = Filter(300).of(weight_GOP, moments.inputs["body.0"])
    torch.testing.assert_close(matrices(both)["body.0"].matrix_GOP, wanted.float())
    assert str(Filter(300, fine_tuning=2)) == (
        "fine-tuning kept to rank 2 and layers truncated at 300"
    )
    assert str(Filter(fine_tuning=2)) == "fine-tuning kept to rank 2"
