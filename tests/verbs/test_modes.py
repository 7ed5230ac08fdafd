"""Networks whose weights depend on the mode give back the function that was measured."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import tailcut
from network_reference import same_state, seeded, state_of


def merging(inside: int, outside: int) -> nn.Module:
    """Low-rank adaptation, merged into the weight in evaluation and apart from it in training."""
    layer = pytest.importorskip("loralib").Linear(inside, outside, r=2)
    nn.init.normal_(layer.lora_B)
    return layer


class Careless(nn.Linear):
    """Halves its weight whenever it is put into evaluation mode."""

    def train(self, mode=True):  # noqa: FBT002 - as torch has it
        if not mode:
            self.weight.data *= 0.5
        return super().train(mode)


class Branched(nn.Module):
    """Two layers in training, fused into another one in evaluation."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(inside, outside), nn.Linear(inside, outside)
        self.fused = None

    def train(self, mode=True):  # noqa: FBT002 - as torch has it
        super().train(mode)
        if not mode and self.fused is None:
            self.fused = nn.Linear(self.a.in_features, self.a.out_features).eval()
            for key, target in self.fused.named_parameters():
                target.data = self.a.get_parameter(key).data + self.b.get_parameter(key).data
            del self.a, self.b
        return self

    def forward(self, inputs):
        return self.fused(inputs) if self.fused is not None else self.a(inputs) + self.b(inputs)


class Cumulative(nn.Sequential):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(nn.Linear(inside, outside), nn.BatchNorm1d(outside, momentum=None))


KINDS = {
    "merging": merging,
    "careless": Careless,
    "fused": Branched,
    "spectral norm": lambda inside, outside: spectral_norm(nn.Linear(inside, outside)),
    "cumulative BatchNorm": Cumulative,
    "dropout": lambda inside, outside: nn.Sequential(nn.Linear(inside, outside), nn.Dropout(0.5)),
}


def network_of(kind: str) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(KINDS[kind](6, 12), nn.ReLU(), nn.Linear(12, 3))
    model.train()(torch.randn(64, 6, generator=seeded()))
    return model


def samples(n: int, seed: int):
    inputs = torch.randn(n, 6, generator=seeded(seed))
    return inputs, torch.randint(3, (n,), generator=seeded(seed + 100))


def untouched(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Logits as the caller has them, in evaluation mode."""
    twin = copy.deepcopy(model)
    if any(module.training for module in twin.modules()):
        twin.eval()
    with torch.no_grad():
        return twin(inputs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_is_left_gives_the_very_same_logits(kind, training):
    model = network_of(kind)
    model.train(training)
    inputs, labels = samples(120, 1)
    before = state_of(model)
    fix = tailcut.repair(model, [(inputs, labels)], [samples(40, 2)], force=True, progress=False)
    assert fix.verdict == "leave"
    assert fix.undo_tensors == {}
    with torch.no_grad():
        assert torch.equal(fix.model(inputs), untouched(model, inputs))
        assert torch.equal(fix.undo()(inputs), untouched(model, inputs))
    assert same_state(state_of(model), before)
    assert all(module.training == training for module in model.modules())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_is_cut_is_the_one_measured_and_can_be_undone(kind, training, tmp_path):
    model = network_of(kind)
    model.train(training)
    inputs, labels = samples(120, 1)
    fix = tailcut.repair(
        model,
        [(inputs, labels)],
        clean=[(inputs, labels)],
        readout="project",
        rank=4,
        force=True,
        progress=False,
    )
    assert fix.verdict == "cut"
    said_N = fix.predict_proba(inputs).argmax(1)
    assert float((said_N == labels.numpy()).mean()) == fix.summary["clean"]["after"]
    assert not torch.equal(fix.model(inputs), untouched(model, inputs))
    with torch.no_grad():
        assert torch.equal(fix.undo()(inputs), untouched(model, inputs))
    loaded = tailcut.load(fix.save(tmp_path), model)
    assert (loaded.predict_proba(inputs) == fix.predict_proba(inputs)).all()
