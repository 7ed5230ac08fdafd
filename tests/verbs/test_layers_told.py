"""What is said of the layers, and of a network that is evaluated: it is the one delivered."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

import tailcut
from network_reference import seeded
from tailcut.cli.tables import verdict
from tailcut.network.stream import logits_of
from tailcut.report.page import page
from tailcut.verbs.cutting import fold
from tailcut.verbs.evaluation import evaluate
from tailcut.verbs.options import Options
from tailcut.verbs.preparation import prepare
from tailcut.verbs.survey import survey


class Adapted(nn.Linear):
    """Gives twice what its weight says."""

    def forward(self, inputs):
        return 2 * super().forward(inputs)


def adapted(network: nn.Module) -> nn.Module:
    """The same function, its second layer of another kind."""
    network = copy.deepcopy(network)
    layer = Adapted(network[4].in_features, network[4].out_features)
    layer.load_state_dict({key: each / 2 for key, each in network[4].state_dict().items()})
    network[4] = layer
    return network


def printed(summary) -> str:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as capture:
        console.print(verdict(summary))
    return capture.get()


def test_layers_that_cannot_be_filtered_are_named_wherever_the_others_are_told_of(
    memoriser, tmp_path
):
    p, network = memoriser.problem, adapted(memoriser.network)
    fix = tailcut.repair(network, p.train.loader(), views=["rotate"], depth="all", progress=False)
    why = "it gives something else than weight x input + bias"
    assert fix.verdict == "cut"
    assert fix.summary["layers"] == {"filtered": 1, "of": 2, "skipped": {"4": why}}
    assert ", 1 of 2 layers truncated at 3000: " in fix.reason
    changed = {name for name in fix.undo_tensors if name.endswith("weight")}
    assert changed == {"2.weight", "6.weight"}
    assert "1 of 2 layers truncated at 3000" in printed(fix.summary)
    assert f"4: {why}" in printed(fix.summary)
    assert why in page(fix.summary)
    fix.save(tmp_path)
    assert json.loads((tmp_path / "result.json").read_text())["layers"] == fix.summary["layers"]


def test_all_layers_are_said_to_be_filtered_where_they_are(memoriser):
    p = memoriser.problem
    told = tailcut.diagnose(
        memoriser.network, p.train.loader(), views=["rotate"], depth="all", progress=False
    )
    assert str(told.layers) == "all layers"
    assert (told.layers.filtered, told.layers.of, told.layers.skipped) == (2, 2, {})
    assert "all layers truncated at 3000" in told.reason


def test_where_no_layer_was_to_be_filtered_nothing_is_said_of_them(memoriser):
    p = memoriser.problem
    told = tailcut.diagnose(
        memoriser.network, p.train.loader(), views=[], depth="head", progress=False
    )
    assert told.layers is None


def test_a_network_without_a_layer_to_filter_is_cut_at_its_head_alone(memoriser):
    inputs = torch.randn(90, 6, generator=seeded())
    batches = [(inputs, torch.arange(90) % 3)]
    torch.manual_seed(0)
    model = nn.Sequential(Adapted(6, 6), nn.Linear(6, 3)).eval()
    told = tailcut.diagnose(model, batches, batches_of_others(), force=True, progress=False)
    assert (told.layers.filtered, told.layers.of) == (0, 1)
    assert set(told.candidates["strength"]) == {float("inf")}
    assert not told.candidates["denoising"].any()
    with pytest.raises(tailcut.DataError) as error:
        tailcut.diagnose(model, batches, depth="all", force=True, progress=False)
    assert str(error.value) == (
        "a network of which no layer but the head can be filtered (0: it gives something else than "
        'weight x input + bias); wanted for depth="all" one layer or more that gives weight x '
        'input + bias. Use depth="head", which cuts the features alone.'
    )


def batches_of_others():
    return [(torch.randn(60, 6, generator=seeded(1)), torch.arange(60) % 3)]


def evaluated(done):
    """All candidates, as `repair` has them."""
    p = done.problem
    found = survey(
        done.network,
        p.train.loader(),
        p.holdout.loader(),
        device=None,
        seed=0,
        step=lambda _: None,
    )
    preparation = prepare(found, "auto", "auto", seed=0, step=lambda _: None)
    return evaluate(preparation, p.train.loader(), Options(), step=lambda _: None)


def test_the_network_that_is_evaluated_is_the_one_delivered(convolutions):
    """Own heads behind every filter, and readouts behind some, with BatchNorm in between."""
    evaluation = evaluated(convolutions)
    preparation, candidates = evaluation.preparation, evaluation.candidates
    inputs = torch.cat([batch.inputs for batch in preparation.holdout.batches])
    own = [each for each in candidates if each.readout.name == "own head"]
    assert len(own) == len(preparation.tried) > 2
    for each in own[1:]:
        temperature = evaluation.temperature(each)
        delivered_NK = temperature * logits_of(fold(evaluation, each).model, inputs)
        evaluated_NK = each.readout.logits(preparation.held_out_features(each.filter), each.rank)
        torch.testing.assert_close(delivered_NK.double(), evaluated_NK, rtol=1e-4, atol=1e-4)
    accuracy_C = evaluation.choice.accuracy_C
    for place in (len(own) + 3, len(candidates) - 1):
        said_N = logits_of(fold(evaluation, candidates[place]).model, inputs).argmax(1)
        hits = float((said_N == preparation.holdout.labels_N).double().mean())
        assert hits == pytest.approx(float(accuracy_C[place]), abs=0.0051)
