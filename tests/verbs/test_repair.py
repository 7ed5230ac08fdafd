"""repair on a digits network that has memorised its wrong labels."""

import copy
import errno
import json
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import tailcut
from tailcut.cli.tables import verdict
from tailcut.files import store
from tailcut.lab.data.digits import digits_problem
from tailcut.lab.training.networks import build
from tailcut.network.stream import accuracy
from tailcut.numerics.calibration import calibration_error
from tailcut.report.page import page


@pytest.fixture(scope="module")
def fix(memoriser):
    p = memoriser.problem
    return tailcut.repair(
        memoriser.network,
        p.train.loader(),
        p.holdout.loader(),
        clean=p.test.loader(),
        progress=False,
    )


def test_the_cut_beats_the_best_epoch_without_clean_labels(fix, memoriser):
    assert memoriser.fit >= 0.995
    after = accuracy(fix.model, memoriser.problem.test.loader())
    assert fix.verdict == "cut"
    assert after >= memoriser.trained.oracle_epoch.test
    assert after >= memoriser.trained.epochs[-1].test + 0.1
    assert fix.summary["clean"]["after"] == after


def test_the_repaired_state_loads_strictly_into_a_fresh_network_of_the_class(fix, memoriser):
    fresh = build("mlp", (1, 8, 8), 10)
    fresh.load_state_dict(fix.model.state_dict(), strict=True)
    before = memoriser.network.state_dict()
    for name, tensor in fix.model.state_dict().items():
        assert (tensor.shape, tensor.dtype) == (before[name].shape, before[name].dtype)
    inputs = memoriser.problem.test.loader(64).__iter__().__next__()[0]
    assert torch.equal(fresh.eval()(inputs), fix.model(inputs))
    assert not any(module._forward_hooks for module in fix.model.modules())


def test_the_caller_keeps_the_model_as_it_was(memoriser):
    model = memoriser.network
    before, model.training = copy.deepcopy(model.state_dict()), True
    p = memoriser.problem
    tailcut.repair(model, p.train.loader(), p.holdout.loader(), progress=False)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.eval()


def test_undo_gives_back_the_network_bit_for_bit(fix, memoriser):
    undone = fix.undo().state_dict()
    assert all(torch.equal(undone[k], v) for k, v in memoriser.network.state_dict().items())


def test_the_gain_is_reported_with_its_interval_and_by_samples_that_did_not_choose(fix):
    holdout = fix.summary["holdout"]
    assert holdout["n"] == 200
    assert holdout["interval"][0] > 0
    assert holdout["interval"][0] < holdout["gain"] < holdout["interval"][1]
    assert 0 < holdout["after"] - holdout["before"] < holdout["gain"]


def test_one_seed_gives_one_result(fix, memoriser):
    p = memoriser.problem
    again = tailcut.repair(memoriser.network, p.train.loader(), p.holdout.loader(), progress=False)
    assert again.reason == fix.reason
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            again.model.state_dict().values(), fix.model.state_dict().values(), strict=True
        )
    )


def test_probabilities_are_the_softmax_of_the_repaired_network(fix, memoriser):
    inputs = next(iter(memoriser.problem.test.loader(32)))[0]
    told = fix.predict_proba(inputs.numpy())
    assert told.shape == (32, 10)
    np.testing.assert_allclose(told, torch.softmax(fix.model(inputs).detach(), 1), atol=1e-6)


def test_features_are_what_the_head_reads(fix, memoriser):
    features_ND = fix.features(memoriser.problem.test.loader())
    assert features_ND.shape == (497, 512)
    logits_NK = fix.model[-1](features_ND)
    assert float((logits_NK.argmax(1) == memoriser.problem.test.given).double().mean()) == (
        pytest.approx(fix.summary["clean"]["after"])
    )


def test_a_saved_repair_comes_back_whole(fix, memoriser, tmp_path):
    fix.save(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "candidates.csv",
        "curve.csv",
        "repaired.safetensors",
        "report.html",
        "result.json",
        "spectrum.safetensors",
        "undo.safetensors",
    ]
    back = tailcut.load(tmp_path / "run", memoriser.network)
    assert repr(back) == repr(fix)
    assert (back.rank, back.readout, back.strength) == (fix.rank, fix.readout, fix.strength)
    assert torch.equal(back.curve.hits["clean"], fix.curve.hits["clean"])
    assert back.candidates.equals(fix.candidates)
    assert torch.equal(back.spectrum.basis_DD, fix.spectrum.basis_DD)
    inputs = next(iter(memoriser.problem.test.loader(32)))[0]
    assert torch.equal(back.model(inputs), fix.model(inputs))
    assert torch.equal(back.undo()(inputs), memoriser.network(inputs))


def test_a_repair_loaded_without_its_network_says_what_it_needs(fix, tmp_path):
    back = tailcut.load(fix.save(tmp_path))
    with pytest.raises(tailcut.StoreError) as error:
        _ = back.model
    assert str(error.value) == (
        "a repair loaded without its network; wanted the network whose weights these are. "
        "Pass it: tailcut.load(directory, model)."
    )


def test_the_result_holds_what_the_contract_lists(fix, tmp_path):
    result = json.loads((fix.save(tmp_path) / "result.json").read_text())
    wanted = "schema verdict reason readout rank width strength memorisation noise holdout clean"
    assert set(wanted.split()) | {"curve", "seconds", "versions"} <= set(result)
    assert set(result["noise"]) == {"rate", "transition"}
    assert set(result["memorisation"]) == {"train", "views"}
    assert result["memorisation"]["train"] > 0.95
    assert 0.25 < result["noise"]["rate"] < 0.5
    assert len(result["curve"]["ranks"]) == len(result["curve"]["clean"])


def test_a_full_disk_leaves_the_files_that_were_there_whole(fix, tmp_path, monkeypatch):
    fix.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        fix.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_network_trained_on_clean_labels_is_left_alone(clean_network):
    p = clean_network.problem
    fix = tailcut.repair(
        clean_network.network, p.train.loader(), p.holdout.loader(), progress=False
    )
    assert fix.verdict == "leave"
    assert (fix.readout, fix.rank, fix.strength) == ("own head", 512, float("inf"))
    assert fix.reason.startswith("no cut gains for sure (")
    assert " on 200 held-out labels, corrected for label noise; their log loss " in fix.reason
    assert fix.reason.endswith("); nothing is changed")
    assert fix.undo_tensors == {}
    assert accuracy(fix.model, p.test.loader()) == clean_network.trained.epochs[-1].test


def test_a_holdout_too_small_to_be_sure_of_the_gain_can_be_sure_of_the_noise(memoriser):
    p = memoriser.problem
    few = p.holdout.rows(slice(25)).loader()
    fix = tailcut.repair(
        memoriser.network, p.train.loader(), few, clean=p.test.loader(), progress=False
    )
    assert fix.verdict == "cut"
    assert fix.reason.endswith("% of them look wrong")
    assert fix.summary["clean"]["after"] > fix.summary["clean"]["before"] + 0.1


def test_a_shuffled_holdout_cannot_talk_the_clean_network_into_a_cut(clean_network):
    p = clean_network.problem
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    shuffled = [(p.holdout.inputs, p.holdout.given[order])]
    fix = tailcut.repair(clean_network.network, p.train.loader(), shuffled, progress=False)
    assert fix.verdict == "leave"


def test_without_a_holdout_the_verdict_is_never_leave_and_nothing_gets_worse(
    memoriser, clean_network
):
    for done in (memoriser, clean_network):
        p = done.problem
        fix = tailcut.repair(done.network, p.train.loader(), clean=p.test.loader(), progress=False)
        assert fix.verdict in {"cut", "unknown"}
        assert fix.summary["clean"]["after"] >= fix.summary["clean"]["before"] - 0.005


def test_without_a_holdout_wrong_labels_are_inferred_and_cut(memoriser):
    p = memoriser.problem
    fix = tailcut.repair(memoriser.network, p.train.loader(), clean=p.test.loader(), progress=False)
    assert (fix.verdict, fix.readout) == ("cut", "lda")
    assert (fix.strength, fix.denoising) == (float("inf"), 0)
    assert fix.summary["noise"]["rate"] == pytest.approx(0.375, abs=0.08)
    assert ": not checked on held-out labels; " in fix.reason
    assert fix.reason.endswith(" % of the training labels look wrong")
    console = Console(width=120, file=StringIO())
    console.print(verdict(fix.summary))
    assert "not checked: there are no held-out labels" in console.file.getvalue()
    assert '<dd class="big">unchecked</dd>' in page(fix.summary)
    assert fix.summary["holdout"] is None
    assert fix.summary["clean"]["after"] > memoriser.trained.oracle_epoch.test + 0.01


def test_labels_that_are_all_remembered_say_what_to_bring(memoriser):
    fix = tailcut.repair(
        memoriser.network,
        memoriser.problem.train.loader(),
        views=[],
        depth="head",
        progress=False,
    )
    assert fix.verdict == "unknown"
    assert fix.reason == (
        "how many labels are wrong is unknown, as the network remembers them so well; bring "
        "500 held-out samples, noisy labels will do"
    )
    assert fix.undo_tensors == {}


@pytest.mark.parametrize("readout", ["auto", "lda"])
def test_labels_without_any_sense_are_not_repaired(readout):
    random = digits_problem(rate=0.9, seed=0).train
    torch.manual_seed(0)
    fix = tailcut.repair(
        build("mlp", (1, 8, 8), 10),
        random.loader(),
        readout=readout,
        views=["rotate"],
        force=True,
        progress=False,
    )
    assert fix.verdict == "unknown"
    assert fix.reason.startswith(
        "the features say too little about the training labels to cut by them; bring 500 "
        "held-out samples, noisy labels will do; a linear probe rather than a repair, because the "
        "network predicts 10.5 % of its 1100 training labels"
    )


def test_probabilities_are_those_of_the_true_labels(fix, memoriser):
    before, after = fix.summary["clean"]["calibration_error"]
    assert after < before
    inputs, true_N, _ = next(iter(memoriser.problem.test.loader(497)))
    said = torch.from_numpy(fix.predict_proba(inputs))
    assert calibration_error(said, true_N) == pytest.approx(after, abs=1e-6)


def test_the_true_labels_report_on_every_candidate_and_choose_none(fix, memoriser):
    told = tailcut.repair(
        memoriser.network,
        memoriser.problem.train.loader(),
        memoriser.problem.holdout.loader(),
        progress=False,
    )
    assert "clean" not in told.candidates
    assert told.reason == fix.reason
    chosen = fix.candidates[fix.candidates["chosen"]]
    assert chosen["clean"].item() == pytest.approx(fix.summary["clean"]["after"], abs=1e-9)
    assert fix.candidates["clean"][0] == pytest.approx(fix.summary["clean"]["before"], abs=1e-9)


@pytest.mark.parametrize("readout", ["project", "ridge", "centroid", "lda"])
def test_a_cut_asked_for_is_made(memoriser, readout):
    fix = tailcut.repair(
        memoriser.network,
        memoriser.problem.train.loader(),
        readout=readout,
        rank=9,
        depth="head",
        progress=False,
    )
    assert (fix.verdict, fix.readout, fix.rank, fix.strength) == ("cut", readout, 9, float("inf"))
    inferred = " on labels inferred in 4 rounds"
    labels = "" if readout == "project" else inferred
    unchecked = "not checked on held-out labels"
    assert fix.reason == f"{readout} at rank 9{labels}, as asked for: {unchecked}"


def test_fewer_samples_than_features_work_and_an_impossible_rank_names_the_limit(memoriser):
    few = memoriser.problem.train.rows(slice(200)).loader()
    fix = tailcut.repair(
        memoriser.network, few, readout="lda", rank=20, views=[], depth="head", progress=False
    )
    assert fix.spectrum.rank <= 199
    with pytest.raises(tailcut.DataError) as error:
        tailcut.repair(
            memoriser.network, few, readout="lda", rank=400, views=[], depth="head", progress=False
        )
    limit = fix.spectrum.rank
    assert str(error.value) == (
        f"rank 400; wanted 1..{limit}, the directions in which the features vary. Choose a rank "
        "in that range; more samples than features give all of them."
    )


def test_own_views_are_used_as_given(memoriser):
    def blank(inputs, _):
        return torch.zeros_like(inputs)

    fix = tailcut.repair(
        memoriser.network, memoriser.problem.train.loader(), views=[blank, "shift"], progress=False
    )
    assert list(fix.summary["memorisation"]["views"]) == ["blank", "shift"]


def test_truncate_is_the_projection_of_the_features(fix, memoriser):
    model = memoriser.network
    cut = tailcut.truncate(model, fix.spectrum, 9)
    inputs = next(iter(memoriser.problem.test.loader(32)))[0]
    features_ND = model[:-1](inputs).detach().double()
    kept_DR = fix.spectrum.basis_DD[:, :9]
    mean_D = fix.spectrum.mean_D
    projected_ND = (features_ND - mean_D) @ kept_DR @ kept_DR.T + mean_D
    expected_NK = model[-1].double()(projected_ND).detach()
    model.float()
    assert (cut(inputs) - expected_NK).abs().max() <= 1e-5 * expected_NK.abs().max()


def test_truncate_says_which_heads_there_are(fix):
    with pytest.raises(tailcut.HeadError) as error:
        tailcut.truncate(
            nn.Sequential(nn.Linear(4, 512), nn.Linear(512, 3)), fix.spectrum, 9, head="0"
        )
    assert str(error.value) == (
        "Sequential has no linear layer called '0' that reads 512 features; wanted the head whose "
        "input features the spectrum describes. Name it with head=...; of this width it has 1."
    )
