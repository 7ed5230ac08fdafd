from __future__ import annotations

import pytest
import torch

import tailcut
from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.numerics.own_head import OwnHead
from tailcut.numerics.scores import Scores
from tailcut.verbs.policy import DEFAULT_FILTERS, DENOISINGS, MEMORY_CEILING, TRUNCATIONS
from tailcut.verbs.preparation import prepare
from tailcut.verbs.survey import survey


def prepared(done, *, holdout=True, views="auto", depth="auto"):
    p = done.problem
    held = p.holdout.loader() if holdout else None
    found = survey(done.network, p.train.loader(), held, device=None, seed=0, step=lambda _: None)
    return prepare(found, views, depth, seed=0, step=lambda _: None)


def test_where_noise_makes_a_network_forget_its_layers_are_denoised(convolutions):
    """On a few seconds of training, so the margins are wide: 7 points were measured."""
    preparation = prepared(convolutions)
    assert preparation.filters[0] == UNTOUCHED
    assert all(each.denoising for each in preparation.filters[1:])
    alone = prepared(convolutions, holdout=False)
    assert (alone.filters, alone.default) == ([UNTOUCHED], Filter(denoising=2))
    assert prepared(convolutions, holdout=False, depth="all").filters == [Filter(denoising=2)]
    p = convolutions.problem
    loader, test = p.train.loader(), p.test.loader()
    holdout = p.holdout.loader()
    fix = tailcut.repair(convolutions.network, loader, holdout, clean=test, progress=False)
    assert fix.verdict == "cut"
    assert fix.denoising > 0
    assert fix.strength == float("inf")
    assert "all layers denoised at" in fix.reason
    assert fix.summary["clean"]["after"] > fix.summary["clean"]["before"] + 0.15


def test_without_a_holdout_no_filter_is_chosen_unless_all_layers_are_asked_for(convolutions):
    p = convolutions.problem
    loader, test = p.train.loader(), p.test.loader()
    fix = tailcut.repair(convolutions.network, loader, clean=test, progress=False)
    assert (fix.verdict, fix.strength, fix.denoising) == ("cut", float("inf"), 0)
    assert fix.summary["clean"]["after"] > fix.summary["clean"]["before"] + 0.1
    fix = tailcut.repair(convolutions.network, loader, depth="all", progress=False)
    assert (fix.verdict, fix.denoising) == ("cut", 2)


def test_where_it_does_not_they_are_truncated(memoriser):
    preparation = prepared(memoriser)
    (shaken,) = (each for each in preparation.screened if each.view.name == "noise/4")
    assert shaken.memorisation > MEMORY_CEILING
    assert not any(each.denoising for each in preparation.tried)
    unseen = prepared(memoriser, holdout=False, views=["rotate"])
    assert unseen.default == Filter(3_000)


@pytest.mark.parametrize("holdout", [True, False])
def test_the_head_alone_is_cut_where_that_is_asked_for(memoriser, holdout):
    preparation = prepared(memoriser, holdout=holdout, depth="head")
    assert (preparation.tried, preparation.filters) == ((UNTOUCHED,), [UNTOUCHED])


def test_the_filter_of_the_own_head_is_that_of_least_held_out_loss(memoriser, convolutions):
    for done, kinds in ((memoriser, [TRUNCATIONS]), (convolutions, [DENOISINGS, TRUNCATIONS])):
        tried = [each for kind in kinds for each in kind]
        preparation = prepared(done)
        own = OwnHead(*preparation.survey.head.parameters(preparation.survey.model))
        labels_N = preparation.holdout.labels_N
        losses = [
            float(
                Scores.of(own.prefix_logits(preparation.held_out_features(each)), labels_N)
                .losses()
                .mean()
            )
            for each in (UNTOUCHED, *tried)
        ]
        assert preparation.tried == (UNTOUCHED, *tried)
        best = preparation.tried[losses.index(min(losses))]
        default = DEFAULT_FILTERS[kinds[0]]
        assert set(preparation.filters) == {UNTOUCHED, best, default}


def test_labels_are_forgotten_as_far_as_no_view_remembers_them(memoriser):
    preparation = prepared(memoriser)
    least = [each.memorisation for each in preparation.screened if each.kept]
    assert 1 < len(least) == len(preparation.views)
    assert preparation.forgotten == pytest.approx(1 - max(least))


def test_without_views_nothing_is_known_to_be_forgotten_or_not(memoriser):
    assert prepared(memoriser, views=[]).forgotten == 1


def test_without_views_the_untouched_layers_are_tried_too(memoriser):
    assert UNTOUCHED in prepared(memoriser, views=[]).filters
    assert UNTOUCHED not in prepared(memoriser, views=[], depth="all").filters


class OneHot(torch.nn.Module):
    def forward(self, tokens_NT):
        return torch.nn.functional.one_hot(tokens_NT, 50).float().mean(1)


def of_tokens(first, width):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        first, torch.nn.Linear(width, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    ).eval()
    tokens = torch.randint(0, 50, (60, 5), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 3
    found = survey(model, [(tokens, labels)], None, device=None, seed=0, step=lambda _: None)
    return prepare(found, "auto", "auto", seed=0, step=lambda _: None)


def test_inputs_that_take_no_noise_are_truncated_only():
    preparation = of_tokens(OneHot(), 50)
    assert not preparation.screened
    assert not preparation.layers.noise_grams
    assert not any(each.denoising for each in preparation.tried)
    assert preparation.default == Filter(3_000)


def test_noise_on_an_embedding_tells_whether_layers_are_denoised():
    preparation = of_tokens(torch.nn.EmbeddingBag(50, 8), 8)
    assert set(preparation.layers.noise_grams) == set(preparation.layers.grams) != set()
    (shaken,) = (each for each in preparation.screened if each.name == "embedding*2")
    forgets = shaken.memorisation <= MEMORY_CEILING
    assert any(each.denoising for each in preparation.tried) == forgets
