from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from network_reference import (
    batchnorm_averages,
    filtered_by_eigenvectors,
    images,
    patches_by_unfold,
    same_state,
    second_moment,
    seeded,
    small_cnn,
    state_of,
)
from tailcut.errors import DataError
from tailcut.network.filters import (
    LayerMoments,
    hard,
    reestimate_batchnorm,
    soft,
    truncate_layers,
    truncated_copy,
)
from tailcut.network.stream import logits_of


def second_of(groups: int, width: int, rank: int, seed: int = 0) -> torch.Tensor:
    """Second moments of trace 1 with a spectrum that falls over six decades."""
    generator = seeded(seed)
    scale_P = torch.logspace(0, -3, width, dtype=torch.float64)
    rows_GMP = torch.randn(groups, rank, width, generator=generator, dtype=torch.float64) * scale_P
    gram_GPP = rows_GMP.transpose(1, 2) @ rows_GMP
    return gram_GPP / gram_GPP.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]


def weight_of(groups: int, outputs: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(groups, outputs, width, generator=seeded(seed), dtype=torch.float64)


@given(
    groups=st.integers(1, 3),
    width=st.integers(1, 12),
    rank=st.integers(1, 15),
    strength=st.floats(0.5, 1e5),
    seed=st.integers(0, 1000),
)
def test_the_soft_filter_is_the_explicit_one(groups, width, rank, strength, seed):
    weight_GOP, second_GPP = weight_of(groups, 4, width, seed), second_of(groups, width, rank, seed)
    explicit_GOP = torch.stack(
        [
            filtered_by_eigenvectors(weight_OP, second_PP, strength)
            for weight_OP, second_PP in zip(weight_GOP, second_GPP, strict=True)
        ]
    )
    torch.testing.assert_close(
        soft(strength)(weight_GOP, second_GPP), explicit_GOP, rtol=1e-8, atol=1e-8
    )


def test_a_soft_filter_of_great_strength_leaves_the_weight():
    weight_GOP, second_GPP = weight_of(1, 4, 8), second_of(1, 8, 20)
    torch.testing.assert_close(soft(1e14)(weight_GOP, second_GPP), weight_GOP, rtol=1e-5, atol=1e-5)


def test_a_smaller_strength_cuts_more():
    weight_GOP, second_GPP = weight_of(1, 4, 8), second_of(1, 8, 20)
    norms = [float(soft(strength)(weight_GOP, second_GPP).norm()) for strength in (10, 100, 1000)]
    assert norms == sorted(norms)
    assert norms[-1] < float(weight_GOP.norm())


def test_an_infinite_strength_is_the_model_itself():
    model = small_cnn()
    moments = LayerMoments(model, 4).update(images())
    assert truncated_copy(model, moments, math.inf, []) is model


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.999])
def test_the_hard_filter_is_a_projection_onto_the_fewest_directions(share):
    weight_GOP, second_GPP = weight_of(2, 8, 8), second_of(2, 8, 20)
    once_GOP = hard(share)(weight_GOP, second_GPP)
    torch.testing.assert_close(hard(share)(once_GOP, second_GPP), once_GOP)
    for weight_OP, second_PP in zip(once_GOP, second_GPP, strict=True):
        shares_P = torch.linalg.eigvalsh(second_PP).flip(0)
        fewest = 1 + int((shares_P.cumsum(0) < share).sum())
        assert torch.linalg.matrix_rank(weight_OP, rtol=1e-10) == fewest


def test_the_hard_filter_of_all_shares_leaves_the_outputs_on_inputs_seen():
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(8, 4)), torch.randn(5, 8, generator=seeded())
    before_NK = logits_of(model, inputs)
    truncate_layers(model, LayerMoments(model, 5).update(inputs), hard(1))
    torch.testing.assert_close(logits_of(model, inputs), before_NK)


CONVOLUTIONS = {
    "plain": {},
    "padded": {"padding": 1},
    "another padding each way": {"kernel_size": (3, 5), "padding": (0, 2)},
    "same": {"padding": "same", "kernel_size": (3, 5)},
    "same, even": {"padding": "same", "kernel_size": (2, 4), "padding_mode": "replicate"},
    "same, dilated": {"padding": "same", "dilation": 2},
    "valid": {"padding": "valid"},
    "strided": {"stride": (2, 3), "padding": 1},
    "dilated": {"dilation": (2, 1)},
    "grouped": {"groups": 2},
    "depthwise": {"groups": 4, "padding": 1},
    "1x1": {"kernel_size": 1},
    "reflect": {"padding": 2, "padding_mode": "reflect"},
    "replicate": {"padding": (1, 2), "padding_mode": "replicate"},
    "circular": {"padding": 1, "padding_mode": "circular"},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_all_patches_of_a_convolution_give_its_second_moment(name):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, **{"kernel_size": 3, **CONVOLUTIONS[name]})
    inputs = torch.randn(1, 4, 7, 8, generator=seeded())
    moments = LayerMoments(flat(layer), 1).update(inputs)
    patches_GMP = patches_by_unfold(layer, inputs)
    weight_GPO = layer.weight.detach().reshape(layer.groups, -1, patches_GMP.shape[2])
    outputs = (patches_GMP @ weight_GPO.transpose(1, 2)).transpose(1, 2).reshape(8, -1)
    outputs = outputs + layer.bias.detach()[:, None]
    torch.testing.assert_close(outputs, layer(inputs)[0].flatten(1).detach())
    torch.testing.assert_close(
        moments.second_GPP("0"), second_moment(patches_GMP), rtol=1e-5, atol=1e-6
    )


def flat(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.Flatten())


def test_a_linear_layer_on_sequences_sees_every_position():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Flatten())
    inputs_NTP = torch.randn(4, 5, 3, generator=seeded())
    moments = LayerMoments(model, 4).update(inputs_NTP)
    explicit_GPP = second_moment(inputs_NTP.reshape(1, 20, 3))
    torch.testing.assert_close(moments.second_GPP("0"), explicit_GPP, rtol=1e-5, atol=1e-6)


def test_batches_add_up_and_a_layer_that_runs_twice_sees_both_inputs():
    torch.manual_seed(0)
    layer = nn.Linear(3, 3)
    model, inputs = nn.Sequential(layer, layer), torch.randn(6, 3, generator=seeded())
    moments = LayerMoments(model, 6).update(inputs[:4]).update(inputs[4:])
    both_NP = torch.cat([inputs, layer(inputs).detach()])
    torch.testing.assert_close(
        moments.second_GPP("0"), second_moment(both_NP[None]), rtol=1e-5, atol=1e-6
    )


def test_drawn_patches_estimate_the_second_moment():
    torch.manual_seed(0)
    layer, inputs = nn.Conv2d(2, 4, 2), torch.randn(8, 2, 32, 32, generator=seeded()).cumsum(3)
    drawn = LayerMoments(flat(layer), 8).update(inputs)
    assert float(drawn.grams["0"].diagonal(dim1=1, dim2=2).sum()) < float(inputs.square().sum())
    explicit_GPP = second_moment(patches_by_unfold(layer, inputs))
    assert float((drawn.second_GPP("0") - explicit_GPP).norm() / explicit_GPP.norm()) < 0.2


def test_moments_are_those_of_the_seed():
    model, inputs = small_cnn(), images(16)

    def grams(seed):
        return LayerMoments(model, 64, seed=seed).update(inputs).grams

    assert same_state(grams(0), grams(0))
    assert not same_state(grams(0), grams(1))


def test_inputs_in_half_precision_do_not_overflow():
    model = nn.Sequential(nn.Linear(3, 2)).half()
    moments = LayerMoments(model, 4).update(torch.full((4, 3), 500.0).half())
    torch.testing.assert_close(moments.second_GPP("0")[0], torch.full((3, 3), 1 / 3).double())


def test_an_input_that_is_always_zero_is_cut_and_breaks_nothing():
    model = nn.Sequential(nn.Linear(3, 2))
    truncate_layers(model, LayerMoments(model, 4).update(torch.zeros(4, 3)), soft(100))
    assert not model[0].weight.any()


def test_skipped_computed_and_shared_weights_are_left_alone():
    torch.manual_seed(0)
    tied = nn.Linear(4, 4), nn.Linear(4, 4)
    tied[0].weight = tied[1].weight
    model = nn.Sequential(nn.Linear(4, 4), spectral_norm(nn.Linear(4, 4)), *tied, nn.Linear(4, 4))
    model.eval()
    before = state_of(model)
    moments = LayerMoments(model, 4, skip=["4"]).update(torch.randn(4, 4, generator=seeded()))
    assert list(moments.layers) == ["0"]
    truncate_layers(model, moments, soft(10))
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    assert changed == ["0.weight"]


def test_every_layer_of_a_truncated_copy_is_filtered_and_the_original_untouched():
    model, inputs = small_cnn().requires_grad_(requires_grad=False), images(16)
    before = state_of(model)
    moments = LayerMoments(model, 16, skip=["9"]).update(inputs)
    twin = truncated_copy(model, moments, 100, [(inputs, torch.zeros(16).long())])
    assert same_state(state_of(model), before)
    assert not any(module.training for module in twin.modules())
    changed = {k for k, v in twin.state_dict().items() if not torch.equal(v, before[k])}
    norms = {f"{at}.{key}" for at in (1, 4) for key in NORM_STATE}
    assert changed == {"0.weight", "3.weight", *norms}
    second_GPP = moments.second_GPP("3")
    weight_GOP = model[3].weight.reshape(2, 4, -1).double()
    explicit = [
        filtered_by_eigenvectors(w, s, 100) for w, s in zip(weight_GOP, second_GPP, strict=True)
    ]
    torch.testing.assert_close(
        twin[3].weight.double(), torch.cat(explicit).reshape(8, 4, 3, 3), rtol=1e-4, atol=1e-5
    )


NORM_STATE = ("running_mean", "running_var", "num_batches_tracked")


def batches_of(*sizes: int):
    return [(images(n, 16, seed=n), torch.zeros(n).long()) for n in sizes]


def test_batchnorm_statistics_are_plain_averages_over_batches():
    model, batches = small_cnn(dropout=0.5), batches_of(8, 8, 5)
    explicit = batchnorm_averages(model, [inputs for inputs, _ in batches])
    assert reestimate_batchnorm(model, batches)
    state = model.state_dict()
    assert set(explicit) == {f"{at}.{key}" for at in (1, 4) for key in NORM_STATE[:2]}
    for name, average in explicit.items():
        torch.testing.assert_close(state[name], average, rtol=1e-5, atol=1e-6)


def test_batchnorm_statistics_do_not_depend_on_the_old_ones_and_leave_the_weights():
    model, other, batches = small_cnn(), small_cnn(), batches_of(8, 8)
    other[1].running_mean.fill_(7)
    weights = {k: v for k, v in state_of(model).items() if "running" not in k and "num" not in k}
    reestimate_batchnorm(model, batches)
    reestimate_batchnorm(other, batches)
    assert same_state(state_of(model), state_of(other))
    assert same_state({name: model.state_dict()[name] for name in weights}, weights)


def test_dropout_stays_off_and_modes_and_momenta_are_restored():
    model, seen = small_cnn(dropout=0.5), []
    model[8].register_forward_hook(lambda _, args, out: seen.append(torch.equal(args[0], out)))
    reestimate_batchnorm(model, batches_of(8, 8))
    assert seen == [True, True]
    assert not any(module.training for module in model.modules())
    assert [model[1].momentum, model[4].momentum] == [0.1, 0.3]


def test_modes_and_momenta_are_restored_after_an_error():
    model = small_cnn()
    with pytest.raises(RuntimeError):
        reestimate_batchnorm(model, [(torch.ones(2, 5, 8, 8), torch.zeros(2).long())])
    assert not any(module.training for module in model.modules())
    assert [model[1].momentum, model[4].momentum] == [0.1, 0.3]


def test_without_batchnorm_no_batch_is_read():
    assert not reestimate_batchnorm(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), None)
    without = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False))
    assert not reestimate_batchnorm(without, None)


def test_a_batch_of_one_sample_is_passed_over():
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).eval(), torch.randn(9, 2)
    labels = torch.zeros(9).long()
    assert reestimate_batchnorm(model, [(inputs[:8], labels[:8]), (inputs[8:], labels[8:])])
    torch.testing.assert_close(model[0].running_mean, inputs[:8].mean(0))
    torch.testing.assert_close(model[0].running_var, inputs[:8].var(0))


def test_batches_of_one_sample_alone_are_refused():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).eval()
    with pytest.raises(DataError) as caught:
        reestimate_batchnorm(model, [(torch.ones(1, 2), torch.tensor([0]))])
    assert str(caught.value) == (
        "batches of one sample each, for BatchNorm statistics; wanted a batch of two samples or "
        "more. Raise the loader's batch size."
    )
