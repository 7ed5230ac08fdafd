from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from network_reference import (
    filtered_by_eigenvectors,
    images,
    patches_by_unfold,
    same_state,
    second_moment,
    seeded,
    small_cnn,
    state_of,
)
from tailcut.network.filters import (
    UNTOUCHED,
    Filter,
    truncate_layers,
    truncated_copy,
)
from tailcut.network.layer_moments import LayerMoments


def second_of(groups: int, width: int, rank: int, seed: int = 0) -> torch.Tensor:
    """Second moments of trace 1 with a spectrum that falls over six decades."""
    generator = seeded(seed)
    scale_P = torch.logspace(0, -3, width, dtype=torch.float64)
    rows_GMP = torch.randn(groups, rank, width, generator=generator, dtype=torch.float64) * scale_P
    gram_GPP = rows_GMP.transpose(1, 2) @ rows_GMP
    return gram_GPP / gram_GPP.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]


def weight_of(groups: int, outputs: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(groups, outputs, width, generator=seeded(seed), dtype=torch.float64)


def filtered(chosen: Filter, weight_GOP, second_GPP, noise_GPP=None):
    return chosen(weight_GOP, second_GPP, second_GPP * 0 if noise_GPP is None else noise_GPP)


@given(
    groups=st.integers(1, 3),
    width=st.integers(1, 12),
    rank=st.integers(1, 15),
    strength=st.floats(1, 1e5),
    seed=st.integers(0, 1000),
)
def test_truncation_alone_is_the_explicit_filter(groups, width, rank, strength, seed):
    weight_GOP, second_GPP = weight_of(groups, 4, width, seed), second_of(groups, width, rank, seed)
    explicit_GOP = torch.stack(
        [
            filtered_by_eigenvectors(weight_OP, second_PP, strength)
            for weight_OP, second_PP in zip(weight_GOP, second_GPP, strict=True)
        ]
    )
    torch.testing.assert_close(
        filtered(Filter(strength), weight_GOP, second_GPP), explicit_GOP, rtol=1e-8, atol=1e-8
    )


@given(width=st.integers(1, 8), noise=st.floats(0.01, 10), seed=st.integers(0, 1000))
def test_denoising_alone_is_the_best_linear_map_of_noisy_inputs(width, noise, seed):
    """Least squares from noisy inputs to the layer's outputs without noise."""
    generator = seeded(seed)
    inputs_MP = torch.randn(4 * width, width, generator=generator, dtype=torch.float64)
    changes_MP = noise * torch.randn(inputs_MP.shape, generator=generator, dtype=torch.float64)
    noisy_MP = torch.cat([inputs_MP + changes_MP, inputs_MP - changes_MP])  # uncorrelated
    weight_OP = weight_of(1, 3, width, seed)[0]
    best_PO = torch.linalg.lstsq(noisy_MP, (inputs_MP @ weight_OP.T).repeat(2, 1)).solution
    second_PP, noise_PP = inputs_MP.T @ inputs_MP, changes_MP.T @ changes_MP
    trace = second_PP.trace()
    made_GOP = Filter(denoising=1)(weight_OP[None], second_PP[None] / trace, noise_PP[None] / trace)
    torch.testing.assert_close(made_GOP[0], best_PO.T, rtol=1e-3, atol=1e-4)


def explicitly(chosen: Filter, weight_OP, second_PP, noise_PP):
    """By a pseudo-inverse, which takes singular moments as they are."""
    white = 0 if chosen.strength == float("inf") else 1 / chosen.strength
    total_PP = (1 - white) * second_PP + white * torch.eye(len(second_PP)).double()
    inverse_PP = torch.linalg.pinv(total_PP + chosen.denoising * noise_PP, hermitian=True)
    return weight_OP @ second_PP @ inverse_PP


RANKED = [Filter(10_000), Filter(100), Filter(denoising=1), Filter(300, 2), UNTOUCHED]


@pytest.mark.parametrize("chosen", RANKED)
@pytest.mark.parametrize("rank", [0, 1, 3, 24])
@pytest.mark.parametrize("noisy", [0, 1, 24])
@pytest.mark.parametrize("rounded", [True, False])
def test_moments_of_any_rank_are_filtered_as_they_would_be_without_rounding(
    chosen, rank, noisy, rounded
):
    """In float32 products of the same vector leave eigenvalues below 0."""
    generator = seeded(rank)
    basis_PR = torch.linalg.qr(torch.randn(24, 24, generator=generator).double())[0]
    part_RP = torch.eye(24).double()[:rank] @ basis_PR.T
    rows_MP = torch.randn(400, rank, generator=generator).double() @ part_RP
    change_MP = torch.randn(400, noisy, generator=generator).double() @ basis_PR.T[:noisy]
    kind = torch.float32 if rounded else torch.float64
    second_PP, noise_PP = ((x.to(kind).T @ x.to(kind)).double() for x in (rows_MP, change_MP))
    scale = max(float(second_PP.trace()), 1e-300)
    second_PP, noise_PP = second_PP / scale, noise_PP / (4 * scale if rank else 1)
    weight_OP = weight_of(1, 5, 24)[0]
    made_OP = chosen(weight_OP[None], second_PP[None], noise_PP[None])[0]
    exact_OP = explicitly(chosen, weight_OP, second_PP, noise_PP)
    seen_OM, told_OM = ((each @ rows_MP.T)[:, :50] for each in (made_OP, exact_OP))
    torch.testing.assert_close(seen_OM, told_OM, rtol=1e-3, atol=1e-3)
    assert float(made_OP.norm()) <= 1.5 * float(weight_OP.norm())
    if rank == 0:
        assert not made_OP.any()


@pytest.mark.parametrize("chosen", RANKED)
@pytest.mark.parametrize("width", [4, 48, 192])
def test_a_layer_that_receives_one_vector_from_every_sample_is_filtered(chosen, width):
    torch.manual_seed(width)
    model = nn.Sequential(nn.Linear(width, 6, bias=False), nn.Linear(6, 2)).eval()
    model.requires_grad_(requires_grad=False)
    token = torch.randn(1, width)
    inputs, before = token.expand(64, width), model[0](token).detach()
    for noisy in (None, inputs + 0.1 * torch.randn(1, width), inputs + torch.randn(64, width)):
        twin = copy.deepcopy(model)
        moments = LayerMoments(model, 64, skip=["1"]).update(inputs, noisy)
        truncate_layers(twin, moments, chosen)
        assert float(twin[0].weight.norm()) <= 1.5 * float(model[0].weight.norm())
        kept = float((twin[0](token) @ before.T) / before.square().sum())
        assert 0.2 < kept < 1 + 1e-4
        if noisy is None:
            torch.testing.assert_close(twin[0](token).detach(), before, rtol=1e-2, atol=1e-4)


@given(
    spectrum=st.lists(st.sampled_from([0.0, 1e-12, 1e-7, 1e-4, 1.0]), min_size=1, max_size=10),
    noises=st.lists(st.sampled_from([0.0, 1e-7, 1e-2, 1.0, 1e6]), min_size=10, max_size=10),
    below=st.floats(0, 2e-7),
    seed=st.integers(0, 100),
)
@example(spectrum=[0.0], noises=[1e-7] + 9 * [0.0], below=1.3934814846007973e-07, seed=0)
def test_no_spectrum_makes_a_filter_fail_or_grow(spectrum, noises, below, seed):
    width = len(spectrum)
    basis_PP = torch.linalg.qr(torch.randn(width, width, generator=seeded(seed)).double())[0]
    shares_P = torch.tensor(spectrum).double() / max(sum(spectrum), 1e-300)
    second_PP = basis_PP @ torch.diag(shares_P - below) @ basis_PP.T
    noise_PP = basis_PP @ torch.diag(torch.tensor(noises[:width]).double()) @ basis_PP.T
    for chosen in RANKED:
        made_OP = chosen(basis_PP[None], second_PP[None], noise_PP[None])[0]
        gains_P = (basis_PP.T @ made_OP @ basis_PP).diagonal()
        assert made_OP.isfinite().all()
        assert float(torch.linalg.matrix_norm(made_OP, 2)) <= 2.1, gains_P


def test_a_gentle_filter_leaves_the_weight():
    weight_GOP, second_GPP = weight_of(1, 4, 8), torch.eye(8, dtype=torch.float64)[None] / 8
    for gentle in (Filter(1e14), Filter(denoising=1e-14)):
        made_GOP = filtered(gentle, weight_GOP, second_GPP, second_GPP)
        torch.testing.assert_close(made_GOP, weight_GOP, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "filters",
    [
        [Filter(10), Filter(100), Filter(1000), UNTOUCHED],
        [*(Filter(denoising=weight) for weight in (10, 1, 0.1)), UNTOUCHED],
    ],
)
def test_a_smaller_strength_and_a_larger_denoising_cut_more(filters):
    """What a layer says of the inputs seen has less and less energy."""
    weight_GOP, second_GPP = weight_of(1, 4, 8), second_of(1, 8, 20)
    noise_GPP = second_of(1, 8, 9, 5)
    made = [filtered(each, weight_GOP, second_GPP, noise_GPP) for each in filters]
    energies = [float((each @ second_GPP @ each.transpose(1, 2))[0].trace()) for each in made]
    assert energies == sorted(energies)
    assert energies[0] < energies[-1]


def test_the_idle_filter_is_the_model_itself():
    model = small_cnn()
    moments = LayerMoments(model, 4).update(images())
    assert truncated_copy(model, moments, UNTOUCHED, []) is model


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (UNTOUCHED, ""),
        (Filter(300), "layers truncated at 300"),
        (Filter(denoising=3), "layers denoised at 3"),
        (Filter(3000, 1), "layers truncated at 3000 and denoised at 1"),
    ],
)
def test_a_filter_says_what_it_does(chosen, told):
    assert str(chosen) == told


def test_noise_is_measured_at_every_layer_at_the_same_positions():
    torch.manual_seed(0)
    model, inputs = small_cnn(), images(16)
    noisy = inputs + 0.1 * torch.randn(inputs.shape, generator=seeded())
    moments = LayerMoments(model, 64, seed=3).update(inputs, noisy)
    without = LayerMoments(model, 64, seed=3).update(inputs)
    assert same_state(moments.grams, without.grams)
    assert not without.noise_grams
    assert not without.noise_GPP("0").any()
    assert set(moments.noise_grams) == set(moments.layers)
    assert float(moments.noise_GPP("0").diagonal(dim1=1, dim2=2).sum()) < 0.2
    quiet = LayerMoments(model, 64, seed=3).update(inputs, inputs)
    assert not any(quiet.noise_GPP(name).any() for name in quiet.layers)


class Routed(nn.Module):
    """Only inputs above 0 go through the layer `late`."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, inputs):
        hidden, chosen = self.early(inputs), inputs[:, 0] > 0
        return self.head(hidden.index_add(0, chosen.nonzero()[:, 0], self.late(hidden[chosen])))


def test_a_layer_that_receives_other_samples_once_there_is_noise_counts_as_quiet():
    torch.manual_seed(0)
    inputs = torch.ones(4, 3)
    noisy = inputs * torch.tensor([1, 1, -1, 1])[:, None]
    moments = LayerMoments(Routed().eval(), 4).update(inputs, noisy)
    assert moments.noise_GPP("early").any()
    assert not moments.noise_GPP("late").any()


class InPlace(nn.Module):
    """What the layer `late` has received is changed after it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, inputs):
        hidden = self.early(inputs)
        return self.head(self.late(hidden) + hidden.add_(1))


def test_changes_are_of_what_a_layer_received_not_of_what_became_of_it():
    torch.manual_seed(0)
    inputs = torch.ones(4, 3)
    moments = LayerMoments(InPlace().eval(), 4).update(inputs, inputs)
    assert not moments.noise_GPP("late").any()


def test_all_positions_of_a_linear_layer_give_the_second_moment_of_the_changes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    inputs = torch.randn(6, 3, generator=seeded())
    noisy = inputs + torch.randn(6, 3, generator=seeded(1))
    moments = LayerMoments(model, 6).update(inputs[:4], noisy[:4]).update(inputs[4:], noisy[4:])
    hidden, shifted = (model[:2](each).detach() for each in (inputs, noisy))
    scale = float(hidden.square().sum())
    explicit_GPP = second_moment((shifted - hidden)[None]) * (shifted - hidden).square().sum()
    torch.testing.assert_close(
        moments.noise_GPP("2"), explicit_GPP.double() / scale, rtol=1e-5, atol=1e-6
    )


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
    assert float((drawn.second_GPP("0") - explicit_GPP).norm() / explicit_GPP.norm()) < 0.25


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
    truncate_layers(model, LayerMoments(model, 4).update(torch.zeros(4, 3)), Filter(100))
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
    truncate_layers(model, moments, Filter(10))
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    assert changed == ["0.weight"]


def test_every_layer_of_a_truncated_copy_is_filtered_and_the_original_untouched():
    model, inputs = small_cnn().requires_grad_(requires_grad=False), images(16)
    before = state_of(model)
    moments = LayerMoments(model, 16, skip=["9"]).update(inputs)
    twin = truncated_copy(model, moments, Filter(100), [(inputs, torch.zeros(16).long())])
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
