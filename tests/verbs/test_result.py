"""A diagnosis as plain data and back."""

import json

import pandas as pd
import pytest
import torch

import tailcut
from tailcut.verbs.result import from_dict, to_dict


@pytest.fixture(scope="module")
def fix(memoriser):
    p = memoriser.problem
    parts = p.train.loader(), p.holdout.loader()
    return tailcut.repair(memoriser.network, *parts, clean=p.test.loader(), progress=False)


@pytest.fixture(scope="module")
def alone(memoriser):
    train = memoriser.problem.train
    return tailcut.repair(
        memoriser.network, train.loader(), clean=train.clean, depth="head", progress=False
    )


@pytest.mark.parametrize("name", ["fix", "alone"])
def test_what_is_read_back_from_json_says_the_same(name, request):
    state = request.getfixturevalue(name).diagnosis
    known = json.loads(json.dumps(state.to_dict(), allow_nan=False))
    again = from_dict(known, state.spectrum, state.head)
    assert to_dict(again) == known
    assert again.chosen == state.chosen
    assert again.agreement == state.agreement
    assert again.layers == state.layers
    assert again.segregation == state.segregation
    assert again.clean == state.clean
    assert again.moments is None
    assert repr(again) == repr(state)


def test_a_repair_holds_what_was_found(fix, alone):
    assert fix.noise.rate == fix.diagnosis.noise.rate
    torch.testing.assert_close(fix.noise.transition_KK.sum(1), torch.ones(10).double())
    assert 0.9 < fix.memorisation <= 1
    assert fix.gain.low < fix.gain.mean < fix.gain.high
    assert fix.gain.n == 200
    assert (alone.gain, alone.memorisation) == (None, None)
    assert fix.summary == fix.diagnosis.to_dict()


def test_a_loaded_repair_holds_it_too(fix, memoriser, tmp_path):
    fix.save(tmp_path)
    again = tailcut.load(tmp_path, memoriser.network)
    assert again.summary == fix.summary
    assert again.noise.rate == fix.noise.rate
    assert again.gain.possible == fix.gain.possible
    assert again.diagnosis.chosen == fix.diagnosis.chosen
    pd.testing.assert_frame_equal(again.candidates, fix.candidates, check_dtype=False)


def test_a_diagnosis_is_saved_whole_and_reported(memoriser, tmp_path):
    p = memoriser.problem
    state = tailcut.diagnose(
        memoriser.network, p.train.loader(), p.holdout.loader(), depth="head", progress=False
    )
    state.save(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "candidates.csv",
        "curve.csv",
        "report.html",
        "result.json",
        "spectrum.safetensors",
    ]
    page = state.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert page == (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert state.verdict in page


def test_a_diagnosis_does_not_take_the_place_of_a_repair(fix, tmp_path):
    fix.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(tailcut.SpecError, match="holds a repair; wanted a new directory"):
        fix.diagnosis.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
