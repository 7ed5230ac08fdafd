"""Which candidates there are, and which of them is taken unless another leads."""

import pytest
import torch

import tailcut
from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.verbs.candidates import _default
from tailcut.verbs.inference import Material
from tailcut.verbs.readouts import Candidate

GENTLE, OTHER = Filter(3000.0), Filter(1000.0)


def test_the_default_is_lda_in_all_directions_on_labels_inferred_in_one_round():
    default = Candidate(GENTLE, "lda", 12, Material(1))
    candidates = [
        Candidate(UNTOUCHED, "own head", None),
        Candidate(GENTLE, "own head", None),
        Candidate(UNTOUCHED, "project", 16, views=False),
        Candidate(OTHER, "lda", 16, Material(1)),
        Candidate(GENTLE, "lda", 16),
        Candidate(GENTLE, "lda", 8, Material(1)),
        default,
        Candidate(GENTLE, "lda", 12, Material(4)),
        Candidate(GENTLE, "centroid", 20, Material(1)),
    ]
    assert candidates[_default(candidates, GENTLE)] is default
    rest = [each for each in candidates if each.material != Material(1)]
    assert rest[_default(rest, GENTLE)] == Candidate(GENTLE, "lda", 16)
    assert _default(candidates[:1], GENTLE) == 0


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
    assert set(tables["rank"]["rank"].dropna()) == {5}
    assert tables["rank"]["chosen"].to_numpy().nonzero()[0].tolist() != [0]


def test_few_labels_are_judged_like_many_whatever_is_judged_at_once(memoriser, monkeypatch):
    p = memoriser.problem
    whole = tailcut.repair(
        memoriser.network, p.train.loader(), p.holdout.loader(), depth="head", progress=False
    )
    monkeypatch.setattr("tailcut.verbs.candidates._CELLS", 1)
    single = tailcut.repair(
        memoriser.network, p.train.loader(), p.holdout.loader(), depth="head", progress=False
    )
    ours, theirs = (torch.tensor(fix.candidates["log_loss"].to_numpy()) for fix in (whole, single))
    torch.testing.assert_close(ours, theirs)
