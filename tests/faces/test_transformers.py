"""Hugging Face's face, in real trainings."""

import copy

import pytest
import torch

from tailcut.errors import TailcutWarning

pytest.importorskip("transformers")

from transformers import TrainerCallback

from hosts import TrainerNetwork, trainer
from tailcut.transformers import SpectralProbe


class Listener(TrainerCallback):
    """What any logger of the host is told."""

    def __init__(self):
        self.told = []

    def on_log(self, *args, logs=None, **kwargs):  # noqa: ARG002 the host passes more
        self.told.append(dict(logs))


def test_wrong_labels_are_memorised_with_an_alarm_and_repaired_in_the_end(
    digits, network, tmp_path
):
    task, listener = digits(0.4), Listener()
    host = trainer(network, task.train, task.holdout, tmp_path, 30)
    probe = SpectralProbe(host, epochs=10, repair_at_end=True)
    host.add_callback(probe)
    host.add_callback(listener)
    with pytest.warns(TailcutWarning, match="the network memorises labels after epoch ") as told:
        host.train()
    assert len([each for each in told if each.category is TailcutWarning]) == 1
    assert [each.epoch for each in probe.readings] == [10, 20, 30]
    assert probe.readings[-1].memorisation > 0.5
    assert probe.repair_ is not None
    assert type(probe.repair_.model) is TrainerNetwork
    assert set(probe.repair_.candidates["fine_tuning"].dropna()) == {1, 2, 4, 8, 16, 32}
    heard = [logs for logs in listener.told if "tailcut/alarm" in logs]
    assert [logs["tailcut/alarm"] for logs in heard] == [
        float(each.epoch >= probe.alarm) for each in probe.readings
    ]
    assert [logs["tailcut/rank_8"] for logs in heard] == [
        each.curve.at(8) for each in probe.readings
    ]
    assert sum("tailcut/alarm" in logs for logs in host.state.log_history) == 3


def test_on_true_labels_there_is_no_alarm(digits, network, tmp_path):
    task = digits(0.0)
    host = trainer(network, task.train, task.holdout, tmp_path, 15)
    probe = SpectralProbe(host, epochs=15)
    host.add_callback(probe)
    host.train()
    assert probe.alarm is None
    assert probe.repair_ is None
    assert probe.readings[-1].unseen > 0.9


def test_the_training_is_the_same_bit_for_bit_as_without(digits, network, tmp_path):
    task, twin = digits(0.0), copy.deepcopy(network)
    watched, alone = (
        trainer(each, task.train, task.holdout, tmp_path, 3) for each in (network, twin)
    )
    watched.add_callback(SpectralProbe(watched))
    for host in (watched, alone):
        host.train()
    for name, value in alone.model.state_dict().items():
        assert torch.equal(watched.model.state_dict()[name], value), name
