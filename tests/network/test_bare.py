"""Matrices that lie in no layer are filtered where a product shows what they multiply."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from network_reference import filtered_by_eigenvectors, seeded, state_of
from tailcut.network.filters import Filter, truncate_layers
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.layer_statistics import Coverage

WIDTH = 6
PRODUCTS = {
    "linear": functional.linear,
    "matmul": torch.matmul,
    "mm": lambda inputs, weight: inputs.mm(weight),
    "@": lambda inputs, weight: inputs @ weight,
}


class Own(nn.Module):
    """A matrix, a shift, and a table that is added."""

    def __init__(self, product) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=seeded()))
        self.pos_table = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=seeded(1)))
        self.head, self.product = nn.Linear(WIDTH, 3), product

    def forward(self, inputs):
        return self.head(functional.relu(self.product(inputs, self.matrix) + self.pos_table[0]))


def rows(n: int = 40) -> torch.Tensor:
    return torch.randn(n, WIDTH, generator=seeded(2))


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_matrix_is_filtered_as_the_layer_that_it_would_be(name):
    model, inputs = Own(PRODUCTS[name]).eval(), rows()
    before = state_of(model)
    moments = LayerMoments(model, len(inputs), skip=["head"]).update(inputs)
    assert moments.coverage == Coverage(1, 1, {})
    truncate_layers(model, moments, Filter(30))
    changed = {key for key, each in model.state_dict().items() if not each.equal(before[key])}
    assert changed == {"matrix"}
    gram_PP = inputs.double().T @ inputs.double()
    weight_OP = before["matrix"].double() if name == "linear" else before["matrix"].double().T
    expected = filtered_by_eigenvectors(weight_OP, gram_PP / gram_PP.trace(), 30)
    expected = expected if name == "linear" else expected.T
    torch.testing.assert_close(model.matrix.detach().double(), expected, rtol=1e-4, atol=1e-5)


def from_both_sides(inputs, weight):
    return functional.linear(inputs, weight) + inputs @ weight


def doubled(inputs, weight):
    return inputs @ (2 * weight)


def summed(inputs, weight):
    return torch.einsum("ni,io->no", inputs, weight)


@pytest.mark.parametrize("product", [from_both_sides, doubled, summed])
def test_a_matrix_that_is_used_otherwise_is_left_alone_and_its_module_named(product):
    inside = Own(product)
    inside.head = nn.Identity()
    model = nn.Sequential(inside, nn.Linear(WIDTH, 3)).eval()
    moments = LayerMoments(model, 40, skip=["1"]).update(rows())
    assert moments.coverage == Coverage(0, 1, {"0": "a Own is of no kind that can be filtered"})


def test_matrices_beside_one_that_is_filtered_are_named():
    class Two(Own):
        def __init__(self):
            super().__init__(torch.matmul)
            self.other = nn.Parameter(torch.randn(WIDTH, WIDTH))

        def forward(self, inputs):
            return super().forward(summed(inputs, self.other))

    moments = LayerMoments(Two().eval(), 40, skip=["head"]).update(rows())
    assert moments.coverage == Coverage(1, 2, {"other": "nothing shows what it multiplies"})


def test_a_matrix_that_two_modules_share_is_named():
    first, second = Own(torch.matmul), Own(torch.matmul)
    first.head, second.head, second.matrix = nn.Identity(), nn.Identity(), first.matrix
    model = nn.Sequential(first, second, nn.Linear(WIDTH, 3)).eval()
    coverage = LayerMoments(model, 40, skip=["2"]).update(rows()).coverage
    named = {"0": "a Own is of no kind that can be filtered"}
    assert coverage == Coverage(0, 2, named | {"1.matrix": "its weight is shared with 0.matrix"})


def test_a_router_of_experts_is_filtered():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_labels=3,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=2, pad_token_id=0,
    )  # fmt: skip
    model = transformers.MixtralForSequenceClassification(config).eval()
    if not hasattr(model.model.layers[0], "mlp"):
        pytest.skip("a release whose routers are layers")
    tokens = {"input_ids": torch.randint(1, 20, (8, 6), generator=seeded())}
    moments = LayerMoments(model, 8, skip=["score"]).update(tokens)
    assert "model.layers.0.mlp.gate.weight" in moments.grams
    assert moments.coverage.skipped == {
        "model.layers.0.mlp.experts": "a MixtralExperts is of no kind that can be filtered"
    }
