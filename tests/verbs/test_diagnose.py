"""diagnose: the findings, with their controls."""

from io import StringIO

import pytest
import torch
from rich.console import Console

import tailcut
from tailcut.cli.tables import verdict
from tailcut.report.page import page


def diagnosed(done, **options):
    p = done.problem
    return tailcut.diagnose(
        done.network, p.train.loader(), p.holdout.loader(), progress=False, **options
    )


def test_memorised_noise_lies_behind_the_signal(memoriser):
    state = diagnosed(memoriser, clean=memoriser.problem.train.clean)
    assert state.segregation.index > 0
    assert state.clean.n == 1100
    assert state.clean.after > state.clean.before


def test_labels_without_noise_have_no_segregation(clean_network):
    state = diagnosed(clean_network, clean=clean_network.problem.train.given)
    assert state.segregation is None
    assert state.verdict == "leave"
    assert state.noise.rate < 0.1


def test_the_curve_holds_both_label_sets_at_their_own_size(memoriser):
    state = diagnosed(memoriser, clean=memoriser.problem.test.loader())
    assert state.curve.n == {"given": 200, "clean": 497}
    assert state.curve.accuracy("clean").max() > 0.9


def test_memorisation_is_full_on_the_images_and_gone_under_some_view(memoriser):
    state = diagnosed(memoriser)
    assert state.memorisation > 0.95
    assert min(each.memorisation for each in state.views if each.kept) < 0.2


def test_an_untrained_network_remembers_nothing(memoriser):
    from tailcut.lab.training.networks import build

    torch.manual_seed(0)
    p = memoriser.problem
    state = tailcut.diagnose(
        build("mlp", (1, 8, 8), 10), p.train.loader(), p.holdout.loader(), progress=False
    )
    assert abs(state.memorisation) < 0.1


def test_reference_ranks_are_reported_and_the_repr_tells_the_verdict(memoriser):
    state = diagnosed(memoriser)
    assert set(state.references) == {"Marchenko-Pastur", "Gavish-Donoho", "parallel analysis"}
    assert repr(state).startswith("Diagnosis(cut: ")
    assert "label noise about" in repr(state)


def test_noise_that_no_view_brings_to_light_is_told_by_held_out_labels_alone(memoriser):
    state = diagnosed(memoriser, views=[], depth="head")
    assert state.memorisation > 0.9
    train = memoriser.problem.train
    wrong = float((train.given != train.clean).double().mean())
    assert state.noise.rate == pytest.approx(wrong, abs=0.08)
    alone = tailcut.diagnose(
        memoriser.network, train.loader(), views=[], depth="head", progress=False
    )
    assert alone.noise is None
    assert "; label noise cannot be estimated" in repr(alone)
    summary = alone.to_dict()
    assert summary["noise"] is None
    console = Console(width=120, file=StringIO())
    console.print(verdict(summary))
    assert "cannot be estimated" in console.file.getvalue()
    assert '<dd class="big">cannot be estimated</dd>' in page(summary)


@pytest.mark.parametrize("form", ["list", "array", "tensor"])
def test_true_labels_come_in_any_form(memoriser, form):
    clean = memoriser.problem.train.clean
    given = {"list": clean.tolist(), "array": clean.numpy(), "tensor": clean}[form]
    assert diagnosed(memoriser, clean=given, depth="head", readout="project").clean.n == 1100
