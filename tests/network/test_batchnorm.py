"""BatchNorm statistics are those of all samples, however the loader batches them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from network_reference import batchnorm_by_layers, images, same_state, seeded, small_cnn, state_of
from tailcut.errors import DataError
from tailcut.network import batchnorm
from tailcut.network.batchnorm import reestimate_batchnorm
from tailcut.network.stream import logits_of

STATISTICS = ("running_mean", "running_var")


def in_batches(inputs: torch.Tensor, size: int):
    return [(part, torch.zeros(len(part)).long()) for part in inputs.split(size)]


def skewed(n: int) -> torch.Tensor:
    """Images of very different contrast, the last two of another kind."""
    inputs = images(n, 16) * torch.linspace(0.1, 3, n)[:, None, None, None]
    inputs[-2:] += 20
    return inputs


@pytest.mark.parametrize("size", [1, 2, 7, 64, 258])
def test_statistics_are_those_of_all_samples_layer_by_layer_whatever_the_batches(size):
    model, inputs = small_cnn(dropout=0.5), skewed(258)
    explicit = batchnorm_by_layers(model, inputs)
    assert reestimate_batchnorm(model, in_batches(inputs, size))
    state = model.state_dict()
    assert set(explicit) == {f"{at}.{key}" for at in (1, 4) for key in STATISTICS}
    for name, statistic in explicit.items():
        torch.testing.assert_close(state[name], statistic, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 300, 700])
def test_samples_too_many_to_go_at_once_are_grouped_without_regard_to_the_batches(
    size, monkeypatch
):
    monkeypatch.setattr(batchnorm, "_LEAST", 128)
    monkeypatch.setattr(batchnorm, "_BYTES", 1)
    inputs = skewed(700)
    alike, model = small_cnn(), small_cnn()
    reestimate_batchnorm(alike, in_batches(inputs, 128))
    reestimate_batchnorm(model, in_batches(inputs, size))
    assert same_state(state_of(model), state_of(alike))
    assert int(model[1].num_batches_tracked) == 5
    explicit, state = batchnorm_by_layers(model, inputs), model.state_dict()
    for key in STATISTICS:  # of the first exactly, of those behind nearly
        torch.testing.assert_close(state[f"1.{key}"], explicit[f"1.{key}"], rtol=1e-5, atol=1e-6)
    assert (state["4.running_var"] / explicit["4.running_var"] - 1).abs().max() < 0.2


@pytest.mark.parametrize("size", [1, 4, 9])
def test_rows_of_a_table_may_come_one_by_one(size):
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).eval(), torch.randn(9, 2)
    assert reestimate_batchnorm(model, in_batches(inputs, size))
    torch.testing.assert_close(model[0].running_mean, inputs.mean(0))
    torch.testing.assert_close(model[0].running_var, inputs.var(0))


def test_a_mean_far_from_zero_costs_no_digits():
    inputs = torch.randn(500, 3, generator=seeded()) + 1e4
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    reestimate_batchnorm(model, in_batches(inputs, 7))
    torch.testing.assert_close(
        model[0].running_var.double(), inputs.double().var(0), rtol=1e-5, atol=0
    )


def test_inputs_of_several_sizes_are_pooled():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    batches = [(images(n, side), torch.zeros(n).long()) for n, side in ((3, 8), (1, 4), (5, 8))]
    reestimate_batchnorm(model, batches)
    channels = torch.cat([inputs.transpose(0, 1).flatten(1) for inputs, _ in batches], 1)
    torch.testing.assert_close(model[0].running_mean, channels.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model[0].running_var, channels.var(1), rtol=1e-5, atol=1e-6)


def test_a_last_sample_alone_of_its_size_is_normalised_by_the_others():
    torch.manual_seed(0)
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(pool, nn.BatchNorm1d(3), nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    many, one = images(20, 8), images(1, 4, seed=3) + 5
    reestimate_batchnorm(model, [(one, torch.zeros(1).long()), (many, torch.zeros(20).long())])
    means = torch.cat([pool(many), pool(one)])
    torch.testing.assert_close(model[1].running_mean, means.mean(0))
    assert float(model[3].running_mean.abs().max()) < 3


def test_statistics_do_not_depend_on_the_old_ones_and_leave_the_weights():
    model, other, batches = small_cnn(), small_cnn(), in_batches(images(16, 16), 8)
    other[1].running_mean.fill_(7)
    weights = {k: v for k, v in state_of(model).items() if "running" not in k and "num" not in k}
    reestimate_batchnorm(model, batches)
    reestimate_batchnorm(other, batches)
    assert same_state(state_of(model), state_of(other))
    assert same_state({name: model.state_dict()[name] for name in weights}, weights)


def test_dropout_stays_off_and_no_mode_momentum_or_hook_changes():
    model, seen = small_cnn(dropout=0.5), []
    model[8].register_forward_hook(lambda _, args, out: seen.append(torch.equal(args[0], out)))
    reestimate_batchnorm(model, in_batches(images(16, 16), 8))
    assert all(seen)
    assert not any(module.training for module in model.modules())
    assert [model[1].momentum, model[4].momentum] == [0.1, 0.3]
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_no_hook_stays_after_an_error():
    model = small_cnn()
    with pytest.raises(DataError):
        reestimate_batchnorm(model, [(torch.ones(2, 5, 8, 8), torch.zeros(2).long())])
    assert not any(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_without_batchnorm_no_batch_is_read():
    assert not reestimate_batchnorm(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), None)
    without = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False))
    assert not reestimate_batchnorm(without, None)


def test_a_batchnorm_that_does_not_run_keeps_its_statistics():
    class Spare(nn.Sequential):
        def forward(self, inputs):
            return self[0](inputs)

    model = Spare(nn.BatchNorm1d(2), nn.BatchNorm1d(2)).eval()
    model[1].running_mean.fill_(7)
    reestimate_batchnorm(model, in_batches(torch.randn(8, 2, generator=seeded()), 4))
    assert model[1].running_mean.tolist() == [7, 7]


def test_batchnorm_over_several_processes_is_taken_anew_too():
    model = nn.Sequential(nn.SyncBatchNorm(3), nn.Flatten(), nn.Linear(3 * 64, 2)).eval()
    inputs = images(12, 8)
    reestimate_batchnorm(model, in_batches(inputs, 5))
    torch.testing.assert_close(model[0].running_mean, inputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)


def test_what_comes_out_is_normalised_for_a_network_in_half_precision():
    model, inputs = small_cnn().bfloat16(), skewed(40).bfloat16()
    reestimate_batchnorm(model, in_batches(inputs, 9))
    assert logits_of(model, inputs).isfinite().all()
    assert model[1].running_var.dtype == torch.bfloat16


def test_one_sample_alone_is_refused():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).eval()
    with pytest.raises(DataError) as caught:
        reestimate_batchnorm(model, [(torch.ones(1, 2), torch.tensor([0]))])
    assert str(caught.value) == (
        "a single sample for BatchNorm statistics; wanted two samples or more, to have a variance. "
        "Bring more training samples."
    )
