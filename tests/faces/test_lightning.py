"""Lightning's face, in real trainings."""

import csv

import pytest
import torch

from tailcut.errors import TailcutWarning

pytest.importorskip("lightning")

from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger

from hosts import LightningNetwork
from tailcut.lightning import SpectralProbe


def trained(network, loaders, callbacks, folder, epochs):
    seed_everything(0, verbose=False)
    module = LightningNetwork(network)
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=callbacks,
        logger=CSVLogger(folder) if folder else False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, *loaders)
    return module


def test_wrong_labels_are_memorised_with_an_alarm_and_repaired_in_the_end(
    digits, network, loaders, tmp_path
):
    task = digits(0.4)
    probe = SpectralProbe(epochs=5, repair_at_end=True)
    with pytest.warns(TailcutWarning, match="the network memorises labels after epoch ") as told:
        trained(network, loaders(task), [probe], tmp_path, 30)
    assert len([each for each in told if each.category is TailcutWarning]) == 1
    assert [each.epoch for each in probe.readings] == [5, 10, 15, 20, 25, 30]
    assert probe.readings[-1].memorisation > 0.5
    assert probe.readings[-1].memorisation > probe.readings[0].memorisation
    assert probe.repair_ is not None
    assert type(probe.repair_.model) is LightningNetwork
    assert set(probe.repair_.candidates["fine_tuning"].dropna()) == {1, 2, 4, 8, 16, 32}
    with (tmp_path / "lightning_logs/version_0/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["tailcut/alarm"]]
    alarms = [float(row["tailcut/alarm"]) for row in rows]
    assert alarms == [float(each.epoch >= probe.alarm) for each in probe.readings]
    logged = [float(row["tailcut/rank_8"]) for row in rows]
    assert logged == pytest.approx([each.curve.at(8) for each in probe.readings], abs=1e-6)


def test_on_true_labels_there_is_no_alarm(digits, network, loaders):
    probe = SpectralProbe(epochs=[1, 15])
    trained(network, loaders(digits(0.0)), [probe], None, 15)
    assert probe.alarm is None
    assert probe.repair_ is None
    assert probe.readings[-1].unseen > 0.9


def test_the_training_is_the_same_bit_for_bit_as_without(digits, network, loaders):
    import copy

    task, twin = digits(0.0), copy.deepcopy(network)
    watched = trained(network, loaders(task), [SpectralProbe()], None, 3)
    alone = trained(twin, loaders(task), [], None, 3)
    for name, value in alone.state_dict().items():
        assert torch.equal(watched.state_dict()[name], value), name


def test_other_callbacks_may_monitor_what_it_sees(digits, network, loaders):
    stop = EarlyStopping("tailcut/alarm", stopping_threshold=0.5, mode="max", patience=99)
    probe = SpectralProbe()
    with pytest.warns(TailcutWarning, match="memorises labels"):
        trained(network, loaders(digits(0.4)), [probe, stop], None, 40)
    assert probe.alarm == probe.readings[-1].epoch < 40
