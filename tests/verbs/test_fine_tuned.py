"""repair and diagnose with the network as it was before it was fine-tuned."""

import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import tailcut
from parts import fitted
from tailcut.errors import DataError
from tailcut.network.filters import Filter
from tailcut.network.fine_tuning import matrices
from tailcut.network.passes import Passes
from tailcut.verbs.backbone import Backbone
from tailcut.verbs.survey import survey

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
        [(inputs[700:], labels[700:])],
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
    assert fix.fine_tuning in (1, 2, 4, 8)
    assert "fine-tuning kept to rank" in fix.reason
    assert fix.summary["clean"]["after"] > fix.summary["clean"]["before"] + 0.02
    undone = fix.undo().state_dict()
    assert all(torch.equal(undone[name], each) for name, each in state.items())
    kept = matrices(fix.model)["0"].matrix_GOP - matrices(before)["0"].matrix_GOP
    values = torch.linalg.svdvals(kept[0])
    assert float(values[fix.fine_tuning]) < 1e-5 * float(values[0])


def test_the_result_is_saved_and_loaded_with_what_was_kept(networks, parts, tmp_path):
    before, after = networks
    train, holdout, _ = parts
    fix = tailcut.repair(after, train, holdout, readout="project", backbone=before, progress=False)
    fix.save(tmp_path / "run")
    again = tailcut.load(tmp_path / "run", after)
    assert again.diagnosis.chosen.filter == fix.diagnosis.chosen.filter
    assert again.candidates["fine_tuning"].dropna().unique().tolist() == [1, 2, 4, 8, 16, 32]
    assert f"fine-tuning kept to rank {fix.fine_tuning}" in (
        (tmp_path / "run" / "report.html").read_text()
    )
    inputs = holdout[0][0]
    assert np.array_equal(fix.predict_proba(inputs), again.predict_proba(inputs))


def test_without_a_holdout_nobody_can_choose_a_rank(networks, parts):
    before, after = networks
    found = tailcut.diagnose(after, parts[0], backbone=before, progress=False)
    assert found.chosen.filter == Filter()


def test_a_backbone_of_another_architecture_and_one_that_is_no_network_are_refused(networks, parts):
    _, after = networks
    with pytest.raises(DataError, match="0 of the network's 1 matrices"):
        tailcut.diagnose(
            after, parts[0], parts[1], backbone=nn.Sequential(nn.Linear(9, 9)), progress=False
        )
    with pytest.raises(DataError, match=r"the backbone: .* instead of a network"):
        tailcut.repair(after, parts[0], parts[1], backbone={"0.weight": 1}, progress=False)


@pytest.fixture(scope="module")
def noisy():
    """A network trained on the digits 0 to 4 and fine-tuned on 500 of the others, 20 % wrong."""
    from tailcut.lab.data.digits import digits as images

    found = images()
    order = torch.randperm(len(found.given), generator=torch.Generator().manual_seed(0))
    inputs, labels = found.inputs.flatten(1)[order], found.given[order]
    low, draw = labels < CLASSES, torch.Generator().manual_seed(1)
    before = trained(deep(), inputs[low], labels[low], steps=100)
    inputs, clean = inputs[~low], labels[~low] - CLASSES
    moved = torch.randint(1, CLASSES, clean.shape, generator=draw)
    wrong = torch.rand(clean.shape, generator=draw) < 0.2
    given = torch.where(wrong, (clean + moved) % CLASSES, clean)
    after = copy.deepcopy(before)
    after[4].reset_parameters()
    after = trained(after, inputs[:500], given[:500], steps=300)
    batches = [(inputs[:500], given[:500])], [(inputs[500:], given[500:])]
    return before, after, *batches, wrong[:500].numpy()


def deep():
    """A perceptron with two hidden layers, always with the same weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES)
    )


def trained(model, inputs, labels, *, steps):
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    return model.eval()


def test_an_audit_by_the_backbone_is_joined_by_what_the_network_learned_first(noisy, monkeypatch):
    before, after, train, holdout, wrong = noisy

    def found():
        table, probabilities, _ = tailcut.find_label_issues(
            after, train, holdout, backbone=before, return_probabilities=True, progress=False
        )
        np.testing.assert_allclose(probabilities.sum(1), 1)
        return roc_auc_score(wrong, table["p_wrong"])

    both = found()
    monkeypatch.setattr(Backbone, "fine_tuned", lambda *_: None)
    assert found() + 0.002 < both > 0.995


def test_it_does_not_join_without_a_holdout_or_where_the_backbone_is_another_network(noisy):
    before, after, train, holdout, _ = noisy
    found = survey(after, train, holdout, device=None, seed=0, step=lambda _: None)
    other = Backbone.of(before, after, Passes(train), None)
    assert other.fine_tuned(found, Passes(train), lambda _: None) is not None
    alone = survey(after, train, None, device=None, seed=0, step=lambda _: None)
    assert other.fine_tuned(alone, Passes(train), lambda _: None) is None
    narrow = Backbone.of(
        nn.Sequential(nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 2)), after, Passes(train), None
    )
    assert narrow.fine_tuned(found, Passes(train), lambda _: None) is None
