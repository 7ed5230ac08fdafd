"""Filters by samples x samples are those by inputs x inputs, and wide layers stay affordable."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from network_reference import images, seeded
from tailcut.network import patches
from tailcut.network.filters import Filter, truncate_layers
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.layer_statistics import LayerInputs
from tailcut.network.patches import draw, patches_wanted
from tailcut.network.second_moment import SecondMoment


def rows_of(groups, held, width, rank, seed):
    """In float32, with a spectrum that falls over three decades."""
    generator = seeded(seed)
    scale_P = torch.logspace(0, -1.5, width)
    left, right = (
        torch.randn(groups, *shape, generator=generator) for shape in ((held, rank), (rank, width))
    )
    return left @ right * scale_P


def primal(chosen, weight_GOP, rows_GMP, changes_GMP):
    """By Gram matrices in float64, truncated a little where there is noise, too."""
    if chosen.denoising and changes_GMP.shape[1]:
        chosen = Filter(min(chosen.strength, 1e4), chosen.denoising)
    second_GPP, noise_GPP = (each.double().mT @ each.double() for each in (rows_GMP, changes_GMP))
    trace_G = second_GPP.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    trace_G = torch.where(trace_G > 0, trace_G, 1)
    return chosen(weight_GOP.double(), second_GPP / trace_G, noise_GPP / trace_G)


@given(
    groups=st.integers(1, 3),
    held=st.integers(1, 9),
    changed=st.integers(0, 9),
    rank=st.integers(0, 9),
    strength=st.one_of(st.just(math.inf), st.floats(1, 1e5)),
    denoising=st.one_of(st.just(0.0), st.floats(1e-3, 10)),
    noise=st.sampled_from([0.0, 1e-3, 1.0]),
    scale=st.sampled_from([1.0, 2.0**-100, 2.0**100]),
    seed=st.integers(0, 1000),
)
@example(1, 1, 1, 1, 1.0, 1.0, 1.0, 1.0, 0)
@example(2, 8, 8, 0, 300.0, 2.0, 1.0, 1.0, 0)
def test_the_filter_of_rows_is_that_of_their_moments(
    groups, held, changed, rank, strength, denoising, noise, scale, seed
):
    width, chosen = 40, Filter(strength, denoising)
    rows_GMP = scale * rows_of(groups, held, width, rank, seed)
    changes_GMP = scale * noise * rows_of(groups, changed, width, width, seed + 1)
    weight_GOP = torch.randn(groups, 5, width, generator=seeded(seed), dtype=torch.float64)
    inputs = LayerInputs(SecondMoment().plus(rows_GMP)).plus_changes(changes_GMP)
    assert inputs.dual is not None
    explicit_GOP = primal(chosen, weight_GOP, rows_GMP / scale, changes_GMP / scale)
    made_GOP = chosen.of(weight_GOP, inputs)
    torch.testing.assert_close(made_GOP, explicit_GOP, rtol=1e-6, atol=1e-6)
    for group in range(groups):  # a filter never grows
        size = torch.linalg.matrix_norm(weight_GOP[group], 2)
        assert torch.linalg.matrix_norm(made_GOP[group], 2) <= 2.1 * size


def test_columns_are_taken_in_several_slices(monkeypatch):
    monkeypatch.setattr("tailcut.network.dual._COLUMNS", 7)
    test_the_filter_of_rows_is_that_of_their_moments.hypothesis.inner_test(
        2, 8, 5, 9, 300.0, 1.0, 0.5, 1.0, 0
    )


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_filtered_weight_is_in_its_own_type_at_least_float32(kind):
    inputs = LayerInputs().plus(rows_of(1, 4, 12, 4, 0))
    made_GOP = Filter(300).of(torch.ones(1, 2, 12, dtype=kind), inputs)
    assert made_GOP.dtype == torch.promote_types(kind, torch.float32)


def test_rows_become_a_gram_matrix_once_they_are_more_than_half_of_the_inputs():
    first, second = rows_of(2, 3, 8, 3, 0), rows_of(2, 2, 8, 2, 1)
    few = SecondMoment().plus(first)
    many = few.plus(second)
    assert (few.held, few.summed_GPP) == (3, None)
    assert many.held == 0
    assert many.summed_GPP is not None
    both = torch.cat([first, second], 1).double()
    torch.testing.assert_close(many.gram_GPP, both.mT @ both, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        many.plus(first).gram_GPP, many.gram_GPP + few.gram_GPP, rtol=1e-12, atol=1e-12
    )
    assert LayerInputs(few, many).dual is LayerInputs(many, few).dual is None


@pytest.mark.parametrize("chosen", [Filter(300), Filter(denoising=1)])
def test_a_wide_network_is_filtered_alike_with_its_rows_and_with_its_moments(chosen):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    model.requires_grad_(requires_grad=False)
    inputs = images(32, 8)
    noisy = inputs + images(32, 8, 1) / 4
    moments = LayerMoments(model, 32, skip=["3"])
    for part, changed in zip(inputs.split(8), noisy.split(8), strict=True):
        moments.update(part, changed)
    before_GOP, received = model[1].weight[None].clone(), moments.inputs["1"]
    assert received.second.held == 32
    rows = (inputs.flatten(1)[None], (noisy - inputs).flatten(1)[None])
    truncate_layers(model, moments, chosen)
    explicit_GOP = primal(chosen, before_GOP, *rows)
    torch.testing.assert_close(model[1].weight, explicit_GOP[0].float(), rtol=1e-5, atol=1e-6)
    moments_GPP = received.second_GPP, received.noise_GPP
    rounded_GOP = Filter(min(chosen.strength, 1e4), chosen.denoising)(
        before_GOP.double(), *moments_GPP
    )
    torch.testing.assert_close(explicit_GOP, rounded_GOP, rtol=1e-3, atol=1e-3)


def test_of_a_wide_layer_no_more_rows_are_held_than_wanted(monkeypatch):
    """Also where batches are small, or where the layer is called twice."""
    monkeypatch.setattr(patches, "_ROWS", 8)
    monkeypatch.setattr(patches, "_FEWEST", 4)
    monkeypatch.setattr(patches, "_WIDE", 2)
    monkeypatch.setattr(patches, "_STEP", 2)
    torch.manual_seed(0)
    layer = nn.Linear(20, 20)
    inputs, noisy = torch.randn(30, 20), torch.randn(30, 20)
    for model, size in ((nn.Sequential(layer), 1), (nn.Sequential(layer, layer), 7)):
        moments = LayerMoments(model, 30)
        for part, changed in zip(inputs.split(size), noisy.split(size), strict=True):
            moments.update(part, changed)
        received = moments.inputs["0"]
        assert received.noise is not None
        assert 8 <= received.second.held == received.noise.held <= 10


@pytest.mark.parametrize(("rows", "strength"), [(3, 1e4), (15, 1e4), (16, math.inf)])
def test_noise_told_from_fewer_than_two_rows_for_each_input_truncates_too(rows, strength):
    """Without, some map keeps all inputs seen and undoes all changes seen, whatever they are."""
    rows_GMP, changes_GMP = rows_of(1, rows, 8, 8, 0), rows_of(1, rows, 8, 8, 1)
    inputs = LayerInputs().plus(rows_GMP).plus_changes(changes_GMP)
    weight_GOP = torch.randn(1, 2, 8, generator=seeded(), dtype=torch.float64)
    moments_GPP = inputs.second_GPP, inputs.noise_GPP
    torch.testing.assert_close(
        Filter(denoising=1).of(weight_GOP, inputs),
        Filter(strength, 1)(weight_GOP, *moments_GPP),
        rtol=1e-3,
        atol=1e-3,
    )
    quiet = LayerInputs().plus(rows_GMP)
    torch.testing.assert_close(
        Filter(denoising=1).of(weight_GOP, quiet), Filter().of(weight_GOP, quiet)
    )


def weights(**widths):
    return {name: torch.empty(1, 1, width, device="meta") for name, width in widths.items()}


def test_wide_layers_want_few_rows_and_narrow_ones_many_patches():
    wanted = patches_wanted(weights(a=27, b=512, c=1152, d=2048, e=2049, f=25088))
    assert wanted == {"a": 432, "b": 8192, "c": 8192, "d": 8192, "e": 512, "f": 512}


def test_more_wide_layers_have_fewer_rows_each(monkeypatch):
    many = weights(**{f"layer{place}": 4096 for place in range(96)})
    rows = patches_wanted(many)["layer0"]
    assert 64 < rows < 512
    assert 96 * (8 * 4096 * rows + 40 * rows**2) <= 2**30
    monkeypatch.setattr(patches, "_BYTES", 0)
    assert set(patches_wanted(many).values()) == {64}


@pytest.mark.parametrize(("among", "distinct"), [(100, 60), (100_000, 50)])
def test_a_draw_of_many_takes_no_row_twice(among, distinct):
    drawn = draw(torch.arange(among), 60, seeded())
    assert len(drawn) == 60
    assert len(drawn.unique()) >= distinct
    assert torch.equal(draw(torch.arange(among), 60, seeded()), drawn)
