"""repair and diagnose with the network as it was before it was fine-tuned."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import tailcut
from parts import fitted
from tailcut.errors import DataError, HeadError
from tailcut.network.filters import Filter
from tailcut.network.fine_tuning import matrices

CLASSES, WIDTH, RANK = 5, 256, 2


@pytest.fixture(scope="module")
def digits():
    """Inputs and true labels of the digits 0 to 4."""
    from tailcut.lab.data.digits import digits as images

    found = images()
    order = torch.randperm(len(found.given), generator=torch.Generator().manual_seed(0))
    inputs, labels = found.inputs.flatten(1)[order], found.given[order]
    return inputs[labels < CLASSES], labels[labels < CLASSES]


@pytest.fixture(scope="module")
def networks(digits):
    """A planted answer: a network that knows the digits, before and after what it learned.

    Taken from it is a change of its hidden layer of rank 2 that its head relies upon; added is a
    change in all directions, such as learning labels by heart leaves.
    """
    after = fitted(*digits, width=WIDTH, steps=100, rate=0.01).eval()
    draw = torch.Generator().manual_seed(3)
    before = copy.deepcopy(after)
    with torch.no_grad():
        hidden = before[0].weight
        left, values, right = torch.linalg.svd(hidden, full_matrices=False)
        hidden -= (left[:, :RANK] * values[:RANK]) @ right[:RANK]
        noise = torch.randn(hidden.shape, generator=draw) * (digits[0].std(0) > 0.15)
        after[0].weight += 0.9 * values[RANK - 1] * noise / torch.linalg.matrix_norm(noise, 2)
    return before, after


@pytest.fixture(scope="module")
def parts(digits, networks):
    """Training samples with the labels that the network gives, held-out and true ones."""
    inputs, labels = digits
    with torch.no_grad():
        given = networks[1](inputs).argmax(1)
    return (
        [(inputs[:500], given[:500])],
        [(inputs[500:700], labels[500:700])],
        ([(inputs[700:], labels[700:])]),
    )


def test_leading_directions_of_the_change_are_cut_to_where_the_held_out_labels_want_it(
    networks, parts
):
    before, after = networks
    train, holdout, clean = parts
    state = copy.deepcopy(after.state_dict())
    fix = tailcut.repair(
        after, train, holdout, clean=clean, readout="project", backbone=before, progress=False
    )
    assert fix.verdict == "cut"
    assert fix.diagnosis.chosen.filter.fine_tuning in (1, 2, 4, 8)
    assert "fine-tuning kept to rank" in fix.reason
    assert fix.summary["clean"]["after"] > fix.summary["clean"]["before"] + 0.02
    undone = fix.undo().state_dict()
    assert all(torch.equal(undone[name], each) for name, each in state.items())
    kept = matrices(fix.model)["0"].matrix_GOP - matrices(before)["0"].matrix_GOP
    values = torch.linalg.svdvals(kept[0])
    assert float(values[fix.diagnosis.chosen.filter.fine_tuning]) < 1e-5 * float(values[0])


def test_the_result_is_saved_and_loaded_with_what_was_kept(networks, parts, tmp_path):
    before, after = networks
    train, holdout, _ = parts
    fix = tailcut.repair(after, train, holdout, readout="project", backbone=before, progress=False)
    fix.save(tmp_path / "run")
    again = tailcut.load(tmp_path / "run", after)
    assert again.diagnosis.chosen.filter == fix.diagnosis.chosen.filter
    assert again.candidates["fine_tuning"].dropna().unique().tolist() == [1, 2, 4, 8, 16, 32]
    assert f"fine-tuning kept to rank {fix.diagnosis.chosen.filter.fine_tuning}" in (
        (tmp_path / "run" / "report.html").read_text()
    )
    inputs = holdout[0][0]
    assert np.array_equal(fix.predict_proba(inputs), again.predict_proba(inputs))


def test_without_a_holdout_nobody_can_choose_a_rank(networks, parts):
    before, after = networks
    found = tailcut.diagnose(after, parts[0], backbone=before, progress=False)
    assert found.chosen.filter == Filter()


def test_a_backbone_of_another_architecture_is_refused_before_anything_is_measured(networks, parts):
    _, after = networks
    with pytest.raises(DataError, match="0 of the network's 1 matrices"):
        tailcut.diagnose(
            after, parts[0], parts[1], backbone=nn.Sequential(nn.Linear(9, 9)), progress=False
        )
    with pytest.raises((DataError, HeadError), match="instead of a network"):
        tailcut.repair(after, parts[0], parts[1], backbone={"0.weight": 1}, progress=False)
