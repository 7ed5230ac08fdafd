from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from network_reference import images, seeded
from tailcut.errors import DataError
from tailcut.network.views import VIEWS, View, as_views, auto_views, gaussian, geometric


def told(call, *args):
    with pytest.raises(DataError) as caught:
        call(*args)
    return str(caught.value)


OF_IMAGES = ("flip", "shift", "flip+shift", "rotate")
OF_NUMBERS = ("noise/4", "noise/2", "noise*3/4")
OF_TABLES = ("swap/4", "swap/2")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_NUMBERS])
def test_a_view_keeps_shape_and_type(name, dtype):
    inputs = images(4, 16).to(dtype)
    seen = VIEWS[name](inputs, seeded())
    assert (seen.shape, seen.dtype) == (inputs.shape, dtype)
    assert torch.isfinite(seen).all()
    assert not torch.equal(seen, inputs)


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_NUMBERS])
def test_a_view_is_that_of_its_generator_and_leaves_the_inputs(name):
    inputs = images(4, 16)
    before = inputs.clone()
    one, same, other = (VIEWS[name](inputs, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert name == "flip" or not torch.equal(one, other)
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("shape", [(16, 16), (9, 20)])
def test_flip_is_a_mirror_and_twice_the_image_itself(shape):
    inputs = torch.randn(4, 3, *shape, generator=seeded())
    mirrored = VIEWS["flip"](inputs, seeded())
    torch.testing.assert_close(mirrored, inputs.flip(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(VIEWS["flip"](mirrored, seeded()), inputs, rtol=0, atol=1e-5)


def offset_of(shifted: torch.Tensor, image: torch.Tensor, furthest: int) -> tuple[int, int] | None:
    """By how many whole pixels the interior of an image has moved."""
    inside = slice(furthest, -furthest)
    for down in range(-furthest, furthest + 1):
        for right in range(-furthest, furthest + 1):
            moved = image.roll((down, right), (1, 2))[:, inside, inside]
            if torch.allclose(shifted[:, inside, inside], moved, atol=1e-5):
                return down, right
    return None


@pytest.mark.parametrize("shape", [(16, 16), (16, 24), (9, 17)])
def test_shift_moves_by_whole_pixels_and_never_by_none(shape):
    inputs = torch.randn(40, 3, *shape, generator=seeded())
    shifted = VIEWS["shift"](inputs, seeded())
    furthest = max(1, max(shape) // 8)
    offsets = [offset_of(s, i, furthest) for s, i in zip(shifted, inputs, strict=True)]
    assert None not in offsets
    assert all(down and right for down, right in offsets)
    assert {abs(down) for down, _ in offsets} == set(range(1, max(1, shape[0] // 8) + 1))
    assert {abs(right) for _, right in offsets} == set(range(1, max(1, shape[1] // 8) + 1))
    assert len(set(offsets)) > 3


def test_flip_and_shift_mirrors_and_moves():
    inputs = torch.randn(8, 3, 16, 16, generator=seeded())
    seen = VIEWS["flip+shift"](inputs, seeded())
    assert all(offset_of(s, i.flip(2), 2) for s, i in zip(seen, inputs, strict=True))


def disc_in(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A disc about the centre of an image, and where it is away from the edges."""
    down, right = torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2
    square = down[:, None] ** 2 + right**2
    return torch.exp(-square / 18), square < (height / 2 - 2) ** 2


@pytest.mark.parametrize("shape", [(32, 32), (24, 48)])
def test_a_rotation_keeps_a_disc_in_any_image(shape):
    disc, inside = disc_in(*shape)
    turned = geometric(degrees=180)(disc.expand(20, 1, -1, -1), seeded())
    torch.testing.assert_close(turned[:, 0, inside], disc[inside].expand(20, -1), rtol=0, atol=0.03)


def test_a_rotation_turns_every_image_by_another_angle():
    inputs = images(1, 16).expand(8, -1, -1, -1)
    assert len({float(turned.sum()) for turned in geometric(degrees=15)(inputs, seeded())}) == 8


def test_a_zoom_stays_within_its_range():
    ramp = torch.linspace(-1, 1, 33).expand(50, 1, 33, -1)
    zoomed = geometric(scale=0.1)(ramp, seeded())
    zoom_N = (zoomed[:, 0, 16, 20] - zoomed[:, 0, 16, 12]) / (ramp[0, 0, 16, 20] * 2)
    assert 0.9 <= float(zoom_N.min()) < 0.95
    assert 1.05 < float(zoom_N.max()) <= 1.1 + 1e-5


def test_noise_on_images_has_a_share_of_the_deviation_of_the_batch():
    inputs = 5 + 3 * images(16)
    noise = gaussian(0.5)(inputs, seeded()) - inputs
    assert float(noise.mean()) == pytest.approx(0, abs=0.05)
    assert float(noise.std()) == pytest.approx(0.5 * float(inputs.std()), rel=0.02)


def test_noise_on_columns_has_a_share_of_the_deviation_of_each():
    inputs = torch.randn(4000, 3, generator=seeded()) * torch.tensor([1.0, 100.0, 0.0])
    noise = gaussian(0.25)(inputs, seeded(1)) - inputs
    torch.testing.assert_close(noise.std(0), 0.25 * inputs.std(0), rtol=0.05, atol=0)


def test_the_one_floating_tensor_of_a_dict_is_perturbed():
    inputs = {"pixel_values": images(4, 16), "mask": torch.ones(4, 16, dtype=torch.long)}
    seen = VIEWS["flip"](inputs, seeded())
    assert list(seen) == ["pixel_values", "mask"]
    assert torch.equal(seen["pixel_values"], VIEWS["flip"](inputs["pixel_values"], seeded()))
    assert seen["mask"] is inputs["mask"]


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (images(4, 16), [*OF_IMAGES, *OF_NUMBERS]),
        ({"pixel_values": images(4, 8)}, [*OF_IMAGES, *OF_NUMBERS]),
        (images(4, 7), [*OF_NUMBERS]),
        (torch.randn(4, 20), [*OF_NUMBERS, *OF_TABLES]),
        (torch.randn(4, 1), [*OF_NUMBERS]),
    ],
)
def test_the_views_to_try_depend_on_the_form_of_the_inputs(inputs, names):
    assert [view.name for view in auto_views(inputs)] == names
    assert [view.name for view in as_views("auto", inputs)] == names


def test_views_are_named_or_given():
    def dropped(inputs, generator):
        return inputs

    mine = View("mine", dropped)
    chosen = as_views(["shift", dropped, mine, partial(dropped)], images())
    assert [view.name for view in chosen] == ["shift", "dropped", "mine", "partial"]
    assert as_views("noise/2", images()) == [VIEWS["noise/2"]]
    assert as_views([], images()) == []


def test_a_callable_of_ones_own_sees_the_inputs_whole():
    tokens = {"input_ids": torch.arange(6).reshape(2, 3), "attention_mask": torch.ones(2, 3)}

    def dropout(inputs, generator):
        keep = torch.rand(inputs["input_ids"].shape, generator=generator) < 0.5
        return {**inputs, "input_ids": torch.where(keep, inputs["input_ids"], 0)}

    (view,) = as_views([dropout], tokens)
    assert list(view(tokens, seeded())) == ["input_ids", "attention_mask"]


def test_an_unknown_name_is_told_the_known_ones():
    assert told(as_views, ["shift", "blur"], images()) == (
        f"no view is called 'blur'; wanted 'auto' or some of {', '.join(VIEWS)}. "
        "Correct the name, or pass a callable of (inputs, generator)."
    )


ADVICE = (
    "; wanted exactly one floating tensor, which can be perturbed. Pass views=[...] with "
    "callables of (inputs, generator), or a holdout and views=[]."
)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_inputs_that_are_integers_have_no_views(dtype):
    inputs = torch.ones(2, 3, 8, 8, dtype=dtype)
    assert auto_views(inputs) == []
    assert told(VIEWS["flip"], inputs, seeded()) == f"inputs of type {dtype}{ADVICE}"


@pytest.mark.parametrize("floating", [0, 2])
def test_a_dict_without_one_floating_tensor_has_no_views(floating):
    inputs = {name: torch.ones(2, 3).to([torch.long, torch.float][floating // 2]) for name in "ba"}
    assert auto_views(inputs) == []
    assert told(VIEWS["noise/2"], inputs, seeded()) == (
        f"{floating} floating tensors among the inputs a, b{ADVICE}"
    )


def test_a_view_of_images_refuses_vectors():
    assert told(VIEWS["shift"], torch.randn(4, 20), seeded()) == (
        "inputs of shape (4, 20) for a view of images; wanted (samples, channels, height, width). "
        "Choose a view of noise, or pass a callable of (inputs, generator)."
    )


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 99))
def test_a_swap_permutes_a_share_of_the_columns_and_no_other(rows, columns, seed):
    table = torch.randn(rows, columns, generator=seeded(seed))
    swapped = VIEWS["swap/4"](table, seeded(seed))
    assert torch.equal(swapped.sort(0).values, table.sort(0).values)
    changed = int((swapped != table).any(0).sum())
    assert changed <= max(1, round(columns / 4))
    assert torch.equal(swapped, VIEWS["swap/4"](table, seeded(seed)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("name", "columns"), [("swap/4", 5), ("swap/2", 10)])
def test_a_swap_changes_its_share_of_a_table_and_leaves_the_inputs(name, columns, dtype):
    table = torch.randn(50, 20, generator=seeded()).to(dtype)
    before = table.clone()
    swapped = VIEWS[name](table, seeded())
    assert (swapped.shape, swapped.dtype) == (table.shape, dtype)
    assert int((swapped != table).any(0).sum()) == columns
    assert not torch.equal(swapped, VIEWS[name](table, seeded(1)))
    assert torch.equal(table, before)


def test_a_swap_of_images_is_refused():
    assert told(VIEWS["swap/4"], images(4, 8), seeded()) == (
        "inputs of shape (4, 3, 8, 8) for a view of tables; wanted (samples, columns). "
        "Choose another view, or pass a callable of (inputs, generator)."
    )


def test_a_floating_attention_mask_is_no_input_to_perturb():
    inputs = {"states": torch.randn(3, 4, 2), "attention_mask": torch.ones(3, 4)}
    seen = VIEWS["noise/2"](inputs, seeded())
    assert torch.equal(seen["attention_mask"], inputs["attention_mask"])
    assert not torch.equal(seen["states"], inputs["states"])
