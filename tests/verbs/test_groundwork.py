from __future__ import annotations

import pytest
import torch

import tailcut
from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.numerics.scores import Scores
from tailcut.verbs.groundwork import DENOISINGS, GENTLE, TRUNCATIONS, lay
from tailcut.verbs.screening import MEMORY_CEILING
from tailcut.verbs.survey import survey

STRONG = DENOISINGS[-1]


def groundwork(done, *, holdout=True, views="auto", depth="auto"):
    p = done.problem
    held = p.holdout.loader() if holdout else None
    found = survey(done.network, p.train.loader(), held, device=None, seed=0, step=lambda _: None)
    return lay(found, views, depth, seed=0, step=lambda _: None)


def test_filters_are_tried_gentle_first():
    assert [each.strength for each in TRUNCATIONS] == [10_000, 3_000, 1_000, 300]
    assert [each.denoising for each in DENOISINGS] == [1, 3]


def test_where_noise_makes_a_network_forget_its_layers_are_denoised(convolutions):
    """On a few seconds of training, so the margins are wide: 7 points were measured."""
    ground = groundwork(convolutions)
    assert ground.filters[0] == UNTOUCHED
    assert all(each.denoising for each in ground.filters[1:])
    assert groundwork(convolutions, holdout=False).filters == [Filter(denoising=2)]
    p = convolutions.problem
    loader, test = p.train.loader(), p.test.loader()
    for holdout in (p.holdout.loader(), None):
        fix = tailcut.repair(convolutions.network, loader, holdout, clean=test, progress=False)
        assert fix.verdict == "cut"
        assert fix.denoising > 0
        assert fix.strength == float("inf")
        assert "all layers denoised at" in fix.reason
        assert fix.summary["clean"]["after"] > fix.summary["clean"]["before"] + 0.15


def test_where_it_does_not_they_are_truncated(memoriser):
    ground = groundwork(memoriser)
    (shaken,) = (each for each in ground.screened if each.view.name == "noise/4")
    assert shaken.memorisation > MEMORY_CEILING
    assert not any(each.denoising for each in ground.tried)
    unseen = groundwork(memoriser, holdout=False, views=["rotate"])
    assert unseen.filters == [Filter(3_000)]


@pytest.mark.parametrize("holdout", [True, False])
def test_the_head_alone_is_cut_where_that_is_asked_for(memoriser, holdout):
    ground = groundwork(memoriser, holdout=holdout, depth="head")
    assert (ground.tried, ground.filters) == ((UNTOUCHED,), [UNTOUCHED])


def test_readouts_are_fitted_behind_the_best_filter_of_the_own_head_and_a_gentle_one(
    memoriser, convolutions
):
    for done, others in ((memoriser, TRUNCATIONS), (convolutions, DENOISINGS)):
        ground = groundwork(done)
        untouched, *found, gentle = ground.filters
        assert untouched == UNTOUCHED
        scores = Scores.of([ground.own_NCK], ground.jury.labels_N)
        best = ground.tried[int(scores.losses().mean(0).argmin())]
        wanted = best if others == TRUNCATIONS else STRONG
        assert best in others
        assert gentle == GENTLE[others]
        assert found == [wanted] * (wanted != gentle)


def test_labels_are_forgotten_as_far_as_no_view_remembers_them(memoriser):
    ground = groundwork(memoriser)
    least = [each.memorisation for each in ground.screened if each.kept]
    assert 1 < len(least) == len(ground.views)
    assert ground.forgotten == pytest.approx(1 - max(least))


def test_without_views_nothing_is_known_to_be_forgotten_or_not(memoriser):
    assert groundwork(memoriser, views=[]).forgotten == 1


def test_without_views_the_untouched_layers_are_tried_too(memoriser):
    assert UNTOUCHED in groundwork(memoriser, views=[]).filters
    assert UNTOUCHED not in groundwork(memoriser, views=[], depth="all").filters


def test_inputs_that_take_no_noise_are_truncated_only():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.EmbeddingBag(50, 8), torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    ).eval()
    tokens = torch.randint(0, 50, (60, 5), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 3
    found = survey(model, [(tokens, labels)], None, device=None, seed=0, step=lambda _: None)
    ground = lay(found, "auto", "auto", seed=0, step=lambda _: None)
    assert not ground.layers.noise_grams
    assert not any(each.denoising for each in ground.tried)
    assert ground.filters == [Filter(3_000)]
