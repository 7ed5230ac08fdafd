"""Kinds of layers and views that a user adds while the program runs."""

import copy

import pytest
import torch
from torch import nn

from network_reference import seeded
from tailcut.network.filters import Filter, truncate_layers
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.layers import KINDS, LinearLayer, Weight


class Affine(nn.Module):
    """A user's own linear module: another name, another orientation of the weight."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(inputs, outputs, generator=seeded()))
        self.shift = nn.Parameter(torch.randn(outputs, generator=seeded(1)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ni,io->no", inputs, self.matrix) + self.shift


class AffineLayer(LinearLayer):
    """How it is read: like a Linear, with its weight input first."""

    @staticmethod
    def fits(module: nn.Module) -> bool:
        return isinstance(module, Affine)

    def weights(self) -> dict[str, Weight]:
        return {"": Weight("matrix", self.module.matrix, self.module.shift, transposed=True)}


@pytest.fixture
def affine():
    KINDS.append(AffineLayer)
    yield
    KINDS.remove(AffineLayer)


def networks() -> tuple[nn.Sequential, nn.Sequential, torch.Tensor]:
    """A network of the user's modules, the same of Linears, and inputs."""
    own = nn.Sequential(Affine(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    plain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), copy.deepcopy(own[2])).eval()
    with torch.no_grad():
        plain[0].weight.copy_(own[0].matrix.T)
        plain[0].bias.copy_(own[0].shift)
    return own, plain, torch.randn(40, 6, generator=seeded(2))


def test_a_module_of_no_known_kind_is_named_and_left_alone():
    own, _, inputs = networks()
    moments = LayerMoments(own, len(inputs), skip=["2"]).update(inputs)
    assert not moments.grams
    assert set(moments.coverage.skipped) == {"0"}


def test_a_kind_that_is_registered_is_filtered_as_a_linear_is(affine):
    own, plain, inputs = networks()
    before = own[0].matrix.detach().clone()
    for model in (own, plain):
        moments = LayerMoments(model, len(inputs), skip=["2"]).update(inputs)
        assert str(moments.coverage) == "all layers"
        truncate_layers(model, moments, Filter(10))
    torch.testing.assert_close(own[0].matrix.T, plain[0].weight)
    assert not torch.allclose(own[0].matrix, before, atol=1e-2)
    torch.testing.assert_close(own(inputs), plain(inputs))


class Misread(AffineLayer):
    """The bias is forgotten."""

    def weights(self) -> dict[str, Weight]:
        return {"": Weight("matrix", self.module.matrix, None, transposed=True)}


def test_a_kind_that_reads_its_modules_wrongly_filters_nothing(monkeypatch):
    monkeypatch.setattr("tailcut.network.layers.KINDS", [*KINDS, Misread])
    own, _, inputs = networks()
    moments = LayerMoments(own, len(inputs), skip=["2"]).update(inputs)
    assert not moments.grams
    assert set(moments.coverage.skipped) == {"0"}
