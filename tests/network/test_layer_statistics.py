"""What is read or derived from layer moments that grow stays as it was, bit for bit."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from network_reference import same_state, seeded, small_cnn
from tailcut.network.filters import Filter, truncate_layers
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.layer_statistics import Coverage, LayerStatistics
from tailcut.network.layers import Weight

some = settings(deadline=None, max_examples=10)
sizes = st.lists(st.integers(1, 5), min_size=1, max_size=3)


def batches_of(sizes, seed):
    inputs = torch.randn(sum(sizes), 3, 8, 8, generator=seeded(seed))
    noisy = inputs + 0.1 * torch.randn(inputs.shape, generator=seeded(seed + 1))
    return list(zip(inputs.split(sizes), noisy.split(sizes), strict=True))


def filled(model, batches, moments=None):
    moments = moments or LayerMoments(model, 40)
    for inputs, noisy in batches:
        moments.update(inputs, noisy)
    return moments


def held(known):
    """Every tensor by name, as it is now."""
    read = {"grams": known.grams, "noise": known.noise_grams}
    read["second"] = {name: known.second_GPP(name) for name in known.grams}
    read["noise, scaled"] = {name: known.noise_GPP(name) for name in known.grams}
    return copy.deepcopy(read)


def assert_same_bits(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@some
@given(before=sizes, after=sizes, seed=st.integers(0, 100))
def test_an_update_leaves_what_was_read_before_as_it_was(before, after, seed):
    torch.manual_seed(0)
    model, batches = small_cnn(), batches_of([*before, *after], seed)
    early, late = batches[: len(before)], batches[len(before) :]
    moments = filled(model, early)
    frozen, read = moments.frozen(), (moments.grams, moments.noise_grams)
    was, coverage, was_read = held(frozen), frozen.coverage, copy.deepcopy(read)
    filled(model, late, moments)
    assert_same_bits(held(frozen), was)
    assert_same_bits(read, was_read)
    assert frozen.coverage == coverage
    assert_same_bits(was, held(filled(model, early)))
    assert_same_bits(held(moments), held(filled(model, batches)))


def test_a_layer_that_is_skipped_later_stays_in_what_was_read_before():
    torch.manual_seed(0)
    model = small_cnn()
    moments = filled(model, batches_of([4], 0))
    frozen, names = moments.frozen(), set(moments.grams)
    inputs = torch.full((2, 3, 8, 8), torch.inf)
    moments.update(inputs)
    assert set(moments.grams) < names == set(frozen.grams) == set(frozen.layers)
    assert set(moments.skipped) - set(frozen.skipped) == names - set(moments.grams)


def test_frozen_layer_moments_cannot_grow_and_filter_alike():
    torch.manual_seed(0)
    model = small_cnn()
    moments = filled(model, batches_of([6], 0))
    frozen = moments.frozen()
    assert type(frozen) is LayerStatistics
    assert not hasattr(frozen, "update")
    with pytest.raises(AttributeError):
        frozen.grams = {}
    frozen.grams.clear()
    assert set(frozen.grams) == set(moments.grams)
    assert all(isinstance(weight, Weight) for weight in frozen.layers.values())
    one, other = copy.deepcopy(model), copy.deepcopy(model)
    truncate_layers(one, moments, Filter(30))
    truncate_layers(other, frozen, Filter(30))
    assert same_state(one.state_dict(), other.state_dict())
    assert not same_state(one.state_dict(), model.state_dict())


def test_each_reason_is_given_once():
    skipped = {"a": "it is odd", "b": "it is even", "c": "it is odd", "d": "it is odd"}
    assert Coverage(0, 4, skipped).reasons == "a and 2 more: it is odd; b: it is even"
    assert Coverage(1, 1, {}).reasons == ""
