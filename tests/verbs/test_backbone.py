"""find_label_issues by a pretrained network that never saw the labels."""

import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import tailcut
from parts import fitted

CLASSES = 5


@pytest.fixture(scope="module")
def digits():
    """Inputs and labels of the digits 0 to 4, and of the digits 5 to 9 as classes 0 to 4."""
    from tailcut.lab.data.digits import digits as images

    found = images()
    inputs, labels = found.inputs.flatten(1), found.given
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    inputs, labels = inputs[order], labels[order]
    low = labels < CLASSES
    return (inputs[low], labels[low]), (inputs[~low], labels[~low] - CLASSES)


@pytest.fixture(scope="module")
def backbone(digits):
    """Trained on other classes, with true labels."""
    return fitted(*digits[0], width=64, steps=100, rate=0.01)


@pytest.fixture(scope="module")
def noisy(digits):
    """600 training samples and the rest held out, 40 % of the labels wrong; and true labels."""
    inputs, clean = digits[1]
    draw = torch.Generator().manual_seed(1)
    moved = torch.randint(1, CLASSES, clean.shape, generator=draw)
    wrong = torch.rand(clean.shape, generator=draw) < 0.4
    given = torch.where(wrong, (clean + moved) % CLASSES, clean)
    return [(inputs[:600], given[:600])], [(inputs[600:], given[600:])], wrong[:600].numpy()


@pytest.fixture(scope="module")
def memorised(noisy):
    """A network that knows every wrong label."""
    (inputs, given), *_ = noisy[0]
    return fitted(inputs, given, width=512, steps=300, rate=0.01)


@pytest.fixture(scope="module")
def issues(memorised, noisy, backbone):
    return tailcut.find_label_issues(
        memorised, noisy[0], noisy[1], backbone=backbone, progress=False
    )


def found(wrong, table):
    """AUROC of the suspicion, and how many wrong labels are flagged."""
    return roc_auc_score(wrong, table["p_wrong"]), table["is_label_issue"][wrong].mean()


def test_what_the_network_hides_the_backbone_shows(memorised, noisy, issues):
    train, holdout, wrong = noisy
    plain = tailcut.find_label_issues(
        memorised, train, holdout, views=[], depth="head", progress=False
    )
    (hidden, few), (shown, many) = found(wrong, plain), found(wrong, issues)
    assert hidden < 0.9
    assert few < 0.4
    assert shown > 0.98
    assert many > 0.85
    assert wrong[issues["is_label_issue"]].mean() > 0.95
    assert (plain.attrs["backbone"], issues.attrs["backbone"]) == (None, "Sequential")


def test_a_backbone_that_saw_the_labels_shows_no_more_than_the_network(memorised, noisy):
    train, holdout, wrong = noisy
    seen = copy.deepcopy(memorised)
    table = tailcut.find_label_issues(memorised, train, holdout, backbone=seen, progress=False)
    assert found(wrong, table)[0] < 0.9


def test_its_features_say_how_many_labels_are_wrong_with_held_out_labels_and_without(
    memorised, noisy, backbone, issues
):
    train, _, wrong = noisy
    alone = tailcut.find_label_issues(memorised, train, backbone=backbone, progress=False)
    assert found(wrong, alone)[0] > 0.98
    for table in (issues, alone):
        low, high = table.attrs["noise_interval"]
        assert low < wrong.mean() < high
        assert table.attrs["noise_rate"] == pytest.approx(wrong.mean(), abs=0.05)


def test_its_own_classes_do_not_matter_nor_how_its_outputs_read_them(
    memorised, noisy, backbone, issues
):
    extractor = nn.Sequential(backbone[:2], nn.Linear(64, 2))
    table = tailcut.find_label_issues(
        memorised, noisy[0], noisy[1], backbone=extractor, progress=False
    )
    np.testing.assert_allclose(table["label_score"], issues["label_score"], atol=1e-6)


def test_it_is_left_as_it_is(memorised, noisy, backbone):
    before = copy.deepcopy(backbone.state_dict())
    backbone.train()
    tailcut.find_label_issues(memorised, noisy[0], backbone=backbone, progress=False)
    assert backbone.training
    assert all(torch.equal(each, before[name]) for name, each in backbone.state_dict().items())


def test_the_trained_network_must_fit_the_labels_all_the_same(noisy, backbone):
    torch.manual_seed(0)
    other = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    with pytest.raises(tailcut.DataError, match="was trained on these labels"):
        tailcut.find_label_issues(other, noisy[0], backbone=backbone, progress=False)


def refused(memorised, noisy, backbone):
    with pytest.raises(tailcut.TailcutError) as error:
        tailcut.find_label_issues(memorised, noisy[0], backbone=backbone, progress=False)
    return str(error.value)


def test_a_backbone_without_a_head(memorised, noisy, backbone):
    advice = (
        "wanted a network whose outputs come from a linear layer, however many they are: what that "
        "layer receives are the features. Wrap a feature extractor as "
        "torch.nn.Sequential(extractor, torch.nn.Linear(width, 2)): the weights of that layer do "
        "not matter."
    )
    assert refused(memorised, noisy, nn.Flatten()) == (
        f"the backbone: no linear layer runs in Flatten; {advice}"
    )
    message = refused(memorised, noisy, backbone[:2])
    assert message.startswith("the backbone: the logits of Sequential do not come from its linear")
    assert message.endswith(advice)


def test_a_backbone_that_reads_other_inputs(memorised, noisy):
    assert refused(memorised, noisy, nn.Sequential(nn.Flatten(), nn.Linear(32, 5))) == (
        "the backbone: Sequential cannot run on inputs of shape (8, 64) and type torch.float32 "
        "(RuntimeError: mat1 and mat2 shapes cannot be multiplied (8x64 and 32x5)); wanted inputs "
        "of the shape and type that the network was trained on. Check what the loader yields; "
        "calling the network on one batch shows where."
    )


def test_a_backbone_that_is_no_network(memorised, noisy):
    assert refused(memorised, noisy, "bert").startswith("the backbone: the path 'bert' instead")


def test_the_trained_network_as_its_own_backbone(memorised, noisy):
    assert refused(memorised, noisy, memorised) == (
        "the backbone is the trained network itself, which has seen the labels; wanted a network "
        "as it was before it was trained on these labels. Load the pretrained weights again, or "
        "leave the backbone out."
    )
