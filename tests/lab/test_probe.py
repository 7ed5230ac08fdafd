"""The probe of a network against refits, and where it must find nothing."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tailcut
from reference import Refit, gaussian, moments_of, principal_basis, told_by_refits
from tailcut.lab.claims.features import Features
from tailcut.lab.claims.probe import octaves, probe
from tailcut.lab.data.digits import digits_problem
from tailcut.lab.data.problems import Problem
from tailcut.lab.training.experiment import conduct
from tailcut.lab.training.networks import build
from tailcut.lab.training.recipe import Recipe
from tailcut.network.head import find_head
from tailcut.network.stream import accuracy
from tailcut.numerics.spectrum import Spectrum

FITS = ("given", "true")


def trained(width, *, rate=0.4, train=200, epochs=100):
    """A digits MLP and its problem."""
    problem = digits_problem(rate=rate, seed=0, train=train)
    done = conduct(f"mlp-{width}", problem, Recipe(epochs, learning_rate=0.05), seed=0)
    return done.network, problem


def seen(network, samples):
    return Features.of(network, find_head(network, samples.inputs[:8]), samples)


def labels_of_fit(fit, train):
    return train.given_N if fit == "given" else train.clean_N


def share(right_N):
    return float(right_N.double().mean())


@pytest.fixture(scope="module")
def small():
    """Few samples, so that each can be left out by a refit: network, problem, probe."""
    network, problem = trained(12, train=60, epochs=40)
    return network, problem, probe(network, problem)


@pytest.fixture(scope="module")
def memoriser():
    network, problem = trained(64)
    return network, problem, probe(network, problem)


@pytest.fixture(scope="module")
def untrained():
    problem = digits_problem(rate=0.4, seed=0, train=600)
    torch.manual_seed(0)
    return probe(build("mlp-64", (1, 8, 8), 10).eval(), problem)


# --- against refits


def bands_of(record):
    """Every band that was probed, by its group and place."""
    ranks, last = record["ranks"], record["rank"]
    groups = {
        "leading": [(0, rank) for rank in ranks],
        "tail": [(rank, last) for rank in ranks[:-1]],
        "octave": [tuple(band) for band in record["bands"]],
    }
    return {(group, at): band for group, bands in groups.items() for at, band in enumerate(bands)}


@pytest.mark.parametrize("fit", FITS)
def test_accuracies_are_those_of_refits_without_the_sample(small, fit):
    network, problem, record = small
    train, test = seen(network, problem.train), seen(network, problem.test)
    features_ND, labels_N = train.features_ND.double(), labels_of_fit(fit, train)
    basis_DD = principal_basis(features_ND, features_ND.shape[1])
    flipped_N = train.flipped_N
    for (group, at), band in list(bands_of(record).items())[::2]:
        told_N = told_by_refits(features_ND, labels_N, band)
        whole = Refit(features_ND, labels_N, basis_DD[:, band[0] : band[1]])
        tested_N = whole.ridge(test.features_ND.double()).argmax(1)
        expected = {
            "given": share(told_N == train.given_N),
            "true": share(told_N == train.clean_N),
            "test": share(tested_N == test.clean_N),
            "flipped given": share((told_N == train.given_N)[flipped_N]),
            "flipped true": share((told_N == train.clean_N)[flipped_N]),
        }
        assert {kind: values[at] for kind, values in record[fit][group].items()} == expected


def test_every_group_has_an_accuracy_for_each_of_its_bands(memoriser):
    record = memoriser[2]
    lengths = {"leading": len(record["ranks"]), "tail": len(record["ranks"]) - 1}
    lengths["octave"] = len(record["bands"])
    for fit in FITS:
        assert record[fit].keys() == lengths.keys()
        for group, found in record[fit].items():
            assert {len(values) for values in found.values()} == {lengths[group]}


@given(st.integers(1, 5000))
def test_octaves_cover_every_direction_once_and_double(rank):
    bands = octaves(rank)
    assert [place for start, stop in bands for place in range(start, stop)] == list(range(rank))
    assert bands[0] == (0, 1)
    assert all(stop == 2 * start for start, stop in bands[1:-1])
    assert rank == 1 or bands[-1][1] <= 2 * bands[-1][0]


def test_the_random_subspace_is_a_refit_in_random_directions(small):
    network, problem, record = small
    train, test = seen(network, problem.train), seen(network, problem.test)
    width = train.features_ND.shape[1]
    basis_DD = torch.linalg.qr(gaussian(width, width, seed=0))[0]
    for rank, found in zip(record["ranks"], record["random subspace"], strict=True):
        refit = Refit(train.features_ND.double(), train.given_N, basis_DD[:, :rank])
        told_N = refit.ridge(test.features_ND.double(), penalty=1e-4).argmax(1)
        assert found == share(told_N == test.clean_N)


def test_the_own_head_is_the_network_truncated_at_every_rank(memoriser):
    network, problem, record = memoriser
    features_ND = seen(network, problem.train).features_ND
    spectrum = Spectrum.of(moments_of(features_ND, 10))
    wrong = problem.train.rows(problem.train.given != problem.train.clean)
    expected = {"holdout": [], "test": [], "flipped given": [], "flipped true": []}
    for rank in record["ranks"]:
        cut = tailcut.truncate(network, spectrum, rank)
        expected["holdout"].append(accuracy(cut, problem.holdout.loader()))
        expected["test"].append(accuracy(cut, problem.test.loader()))
        expected["flipped given"].append(accuracy(cut, wrong.loader()))
        expected["flipped true"].append(accuracy(cut, wrong.true().loader()))
    assert record["own"] == expected


def test_the_scalars_are_the_networks_own_accuracies(memoriser):
    network, problem, record = memoriser
    wrong = problem.train.rows(problem.train.given != problem.train.clean)
    assert record["fit"] == accuracy(network, problem.train.loader())
    assert record["memorised"] == accuracy(network, wrong.loader())
    assert record["holdout"] == accuracy(network, problem.holdout.loader())
    assert record["test"] == accuracy(network, problem.test.loader())
    assert record["own"]["test"][-1] == record["test"]
    assert record["width"] == 64
    assert record["ranks"][-1] == record["rank"] <= 64


# --- what it finds, and where it must find nothing


def test_noise_that_was_memorised_is_found_deeper_than_the_signal(memoriser):
    record = memoriser[2]
    assert record["memorised"] > 0.95
    found = record["segregation"]
    assert found["noise_explained"] > 1.5 * found["noise_by_chance"]
    assert found["noise_explained_permuted"] == pytest.approx(found["noise_by_chance"], rel=0.15)
    assert found["index"] > 0
    assert found["signal_depth"] < found["noise_depth"]
    repeated = record["given"]["tail"]["flipped given"]
    assert max(repeated) > 0.3


def test_an_untrained_network_repeats_no_wrong_label_that_is_left_out(untrained):
    """The control: the same probe, the same noise, and features that never saw a label."""
    for group in untrained["given"].values():
        assert max(group["flipped given"]) < 0.2
    assert max(untrained["given"]["leading"]["flipped true"]) > 0.6
    found = untrained["segregation"]
    assert found["p_value"] > 0.05
    assert found["noise_explained"] == pytest.approx(found["noise_by_chance"], rel=0.2)
    assert untrained["memorised"] < 0.2


def test_permuted_labels_are_at_chance(memoriser, untrained):
    for record in (memoriser[2], untrained):
        assert sum(record["permuted"]) / len(record["ranks"]) == pytest.approx(0.1, abs=0.06)
        assert max(record["permuted"]) < 0.25


def test_random_directions_are_no_substitute_for_the_leading_ones(untrained):
    at = untrained["ranks"].index(8)
    leading = untrained["given"]["leading"]["test"][at]
    assert leading > untrained["random subspace"][at] + 0.05


def test_true_labels_have_no_flipped_ones_and_no_segregation():
    network, problem = trained(16, rate=0.0, epochs=5)
    record = probe(network, problem)
    for found in (*record["given"].values(), *record["true"].values()):
        assert found.keys() == {"given", "true", "test"}
        assert found["given"] == found["true"]
    assert record["given"] == record["true"]
    assert record["own"].keys() == {"holdout", "test"}
    assert "memorised" not in record
    assert record["segregation"] is None


def test_samples_of_no_class_are_left_out():
    problem = digits_problem(rate=0.3, seed=0, train=300, kind="openset")
    torch.manual_seed(0)
    network = build("mlp-24", (1, 8, 8), problem.classes).eval()
    inside = Problem(*(each.rows(each.clean >= 0) for each in parts_of(problem)))
    assert len(inside.train) < len(problem.train)
    assert len(seen(network, problem.train).given_N) == len(inside.train)
    assert probe(network, problem) == probe(network, inside)


def parts_of(problem):
    """Its samples, all with true labels beside the given ones."""
    test = replace(problem.test, clean=problem.test.given)
    return problem.train, problem.holdout, test


# --- what it leaves alone


def test_a_network_is_looked_at_and_not_touched(small):
    network, problem, record = small
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.get_rng_state()
    network.requires_grad_().zero_grad()
    again = probe(network, problem)
    assert again == record
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(before[name], each) for name, each in network.state_dict().items())
    assert all(each.requires_grad and each.grad is None for each in network.parameters())
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert json.loads(json.dumps(record)) == record


def test_the_seed_only_turns_the_controls(small):
    network, problem, record = small
    other = probe(network, problem, seed=1)
    differing = {name for name in record if record[name] != other[name]}
    assert {"permuted", "random subspace"} <= differing
    assert differing <= {"permuted", "random subspace", "segregation"}


def test_batch_statistics_stay_as_they_were():
    problem = digits_problem(rate=0.4, seed=0, train=100)
    torch.manual_seed(0)
    network = build("cnn-2", (1, 8, 8), 10).eval()
    norms = [module for module in network if isinstance(module, nn.BatchNorm2d)]
    probe(network, problem)
    assert [int(norm.num_batches_tracked) for norm in norms] == [0] * len(norms)
