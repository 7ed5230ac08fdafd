"""What the probes of all hosts have in common."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tailcut import DataError, Moments
from tailcut.lab.claims.bands import BandProbe
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.probing import Probing, reading, unnoticed


def test_accuracies_are_those_of_the_labs_probe(digits, network, loaders):
    task = digits(0.4)
    seen = reading(network.train(), *loaders(task), epoch=3)
    (train, given), (held, held_given) = task.train.tensors, task.holdout.tensors
    with torch.no_grad():
        features, held_features = network[:2](train), network[:2](held)
        agreement = (network(train).argmax(1) == given).double().mean()
    moments = Moments(128, 10).update(features, given=given)
    bands = [(0, rank) for rank in seen.curve.ranks]
    predicted = BandProbe.of(moments).predictions(held_features, bands)
    expected = (predicted == held_given[:, None]).double().mean(0)
    np.testing.assert_allclose(seen.curve.accuracy(), expected, atol=2e-3)
    assert seen.agreement == pytest.approx(float(agreement))
    assert seen.effective_rank == pytest.approx(Spectrum.of(moments).effective_rank, rel=1e-4)
    assert network.training


def test_the_names_that_are_logged_do_not_depend_on_the_directions_that_vary(digits, network):
    task = digits(0.4)
    batches = [task.train.tensors], [task.holdout.tensors]
    whole = reading(network, *batches, epoch=1).values()
    with torch.no_grad():
        network[0].weight[5:], network[0].bias[5:] = 0, 0
    few = reading(network, *batches, epoch=2)
    assert few.values().keys() == whole.keys()
    assert few.curve.ranks[-1] <= 5
    assert few.values()["tailcut/rank_128"] == few.curve.at(few.curve.ranks[-1])


def test_random_numbers_go_on_as_if_nobody_had_looked(digits, loaders):
    train, holdout = loaders(digits(0.4))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 what is held still is the host's
    with unnoticed(train, holdout):
        seen = [labels for _, labels in train]
        random.random(), np.random.rand(), torch.rand(3)  # noqa: NPY002 the same
    found = [labels for _, labels in train], np.random.rand(), torch.rand(3)  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 the same
    iter(train)
    assert all(map(torch.equal, seen, found[0]))
    assert found[1] == np.random.rand()  # noqa: NPY002 the same
    assert torch.equal(found[2], torch.rand(3))


@pytest.mark.parametrize(("epochs", "due"), [(1, [1, 2, 3, 4]), (2, [2, 4]), ([1, 4], [1, 4])])
def test_it_looks_after_the_epochs_that_were_asked_for(digits, network, loaders, epochs, due):
    probe, batches = Probing(epochs=epochs), loaders(digits(0.0))
    logged = [bool(probe._look(network, *batches, epoch)) for epoch in range(1, 5)]
    assert [epoch for epoch, said in enumerate(logged, 1) if said] == due
    assert [each.epoch for each in probe.readings] == due


@pytest.mark.parametrize("epochs", [0, -1, [], [0, 3]])
def test_epochs_that_are_none_are_refused(epochs):
    with pytest.raises(DataError) as told:
        Probing(epochs=epochs)
    assert str(told.value) == (
        f"epochs={epochs!r}; wanted a number, to look after every so many epochs, or epochs "
        "counted from 1. Correct epochs, or leave it out to look after each."
    )


def test_without_held_out_samples_it_refuses_before_the_training(digits, network, loaders):
    train, _ = loaders(digits(0.4))
    with pytest.raises(DataError) as told:
        Probing()._begin(network, train, None)
    assert str(told.value) == (
        "no held-out samples; wanted samples that the network is not trained on, to tell memory "
        "from learning. Validate during the training, or pass SpectralProbe(holdout=batches)."
    )


def test_a_network_that_breaks_does_not_end_the_training(digits, network, loaders):
    probe, batches = Probing(repair_at_end=True), loaders(digits(0.4))
    probe._begin(network, *batches)
    nn.init.constant_(network[0].weight, float("nan"))
    with pytest.warns(UserWarning, match="nothing can be measured of the network after epoch 1: "):
        assert probe._look(network, *batches, 1) == {}
    with pytest.warns(UserWarning, match="the trained network is not repaired: "):
        probe._end(network, *batches)
    assert probe.repair_ is None


@pytest.mark.parametrize(
    ("face", "host", "extra"),
    [
        ("sklearn", "sklearn", "sklearn"),
        ("lightning", "lightning.pytorch", "lightning"),
        ("transformers", "transformers", "transformers"),
    ],
)
def test_a_host_that_is_missing_is_told_in_one_line(face, host, extra):
    script = f"import sys; sys.modules[{host.partition('.')[0]!r}] = None; import tailcut.{face}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"tailcut.errors.SpecError: {host} cannot be imported (")
    assert last.endswith(
        f"; wanted tailcut with the extra '{extra}'. Run: pip install 'tailcut[{extra}]'."
    )
