"""Which candidates there are."""

import pytest
import torch

import tailcut


@pytest.fixture(scope="module")
def tables(memoriser):
    p = memoriser.problem

    def repaired(**dials):
        parts = p.train.loader(), p.holdout.loader()
        return tailcut.repair(memoriser.network, *parts, progress=False, **dials).candidates

    return {
        "auto": repaired(),
        "head": repaired(depth="head"),
        "all": repaired(depth="all"),
        "lda": repaired(readout="lda", depth="head"),
        "rank": repaired(readout="project", rank=5, depth="head"),
    }


def test_the_papers_cut_at_every_rank_and_no_filter_are_always_among_them(tables):
    for name in ("auto", "head"):
        table = tables[name]
        own = table[(table["readout"] == "project") & (table["strength"] == float("inf"))]
        assert len(own) > 8
        assert not own["views"].any()
        untouched = table[(table["strength"] == float("inf")) & (table["denoising"] == 0)]
        assert {"own head", "project", "lda", "centroid"} == set(untouched["readout"])
    filtered = tables["all"].iloc[1:]
    assert (filtered["strength"] < float("inf")).all()


def test_fitted_readouts_keep_all_directions_unless_they_are_named(tables):
    behind = ["strength", "denoising", "readout", "rounds", "self_training", "views"]
    fitted = tables["auto"][tables["auto"]["readout"].isin(["lda", "centroid"])]
    assert fitted.groupby(behind).size().max() == 1
    named = tables["lda"][tables["lda"]["readout"] == "lda"]
    assert named.groupby(behind).size().min() > 4


def test_a_rank_that_is_asked_for_is_the_only_one(tables):
    assert set(tables["rank"]["rank"][1:]) == {5}
    assert tables["rank"]["chosen"].to_numpy().nonzero()[0].tolist() != [0]


def test_the_scores_do_not_depend_on_how_many_candidates_are_scored_at_once(memoriser, monkeypatch):
    p = memoriser.problem
    whole = tailcut.repair(
        memoriser.network, p.train.loader(), p.holdout.loader(), depth="head", progress=False
    )
    monkeypatch.setattr("tailcut.verbs.evaluation._CELLS", 1)
    single = tailcut.repair(
        memoriser.network, p.train.loader(), p.holdout.loader(), depth="head", progress=False
    )
    ours, theirs = (torch.tensor(fix.candidates["log_loss"].to_numpy()) for fix in (whole, single))
    torch.testing.assert_close(ours, theirs)
