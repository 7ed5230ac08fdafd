"""Studies: when they look, how they go on, and the networks that are held to few directions."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tailcut.errors import DataError, SpecError, StoreError
from tailcut.files.store import read_json
from tailcut.lab.claims.conduct import conduct, require_own
from tailcut.lab.claims.probe import probe
from tailcut.lab.claims.record import Record, rounded
from tailcut.lab.claims.study import Study
from tailcut.lab.claims.tables import tables
from tailcut.lab.grid.identity import identity
from tailcut.lab.training.networks import NestedDropout, build
from tailcut.network.head import find_head

TINY = Study(network="mlp-24", train=150, epochs=5, probes=4)


def told(kind, call, *args, **options):
    with pytest.raises(kind) as error:
        call(*args, **options)
    return str(error.value)


# --- what is studied


@given(st.integers(1, 300), st.integers(2, 20))
def test_epochs_are_probed_from_the_untrained_network_to_the_last(epochs, probes):
    numbers = Study(epochs=epochs, probes=probes).probed_epochs()
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, epochs)
    assert len(numbers) <= probes
    assert probes == 2 or numbers[1] == 1


def test_epochs_are_probed_on_a_logarithmic_scale():
    assert Study(epochs=100, probes=6).probed_epochs() == [0, 1, 3, 10, 32, 100]
    assert Study(epochs=100, probes=2).probed_epochs() == [0, 100]
    assert Study(epochs=100, probes=0).probed_epochs() == []


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (
            SpecError,
            {"data": "mnist"},
            "no data 'mnist'; wanted one of cifar10, clutter, digits. Correct the name.",
        ),
        (
            SpecError,
            {"noise": "pears"},
            "no label noise 'pears'; wanted one of aligned, asymmetric, confusion, human, "
            "human:FILE, instance, matrix:FILE.npy, openset, pair, symmetric. Correct the name.",
        ),
        (
            SpecError,
            {"probes": 1},
            "1 probes; wanted 0, or at least 2: the untrained network and the last epoch. Choose "
            "another number.",
        ),
        (
            SpecError,
            {"probes": -3},
            "-3 probes; wanted 0, or at least 2: the untrained network and the last epoch. Choose "
            "another number.",
        ),
        (
            SpecError,
            {"probes": [0, 200]},
            "probes at the epochs [0, 200]; wanted some of 0..100. Choose other epochs; 0 is the "
            "untrained network.",
        ),
        (
            SpecError,
            {"test": 100},
            "100 test samples of digits; wanted no number: all that neither train nor are held "
            "out are tested on. Leave it out.",
        ),
        (
            DataError,
            {"epochs": 0},
            "0 epochs of batches of 64; wanted at least 1 of each. Correct the recipe.",
        ),
    ],
)
def test_what_cannot_be_studied_is_refused_before_anything_is_trained(kind, wrong, message):
    assert told(kind, Study, **wrong) == message


def test_no_training_samples_are_not_taken_for_the_usual_number():
    assert told(DataError, Study(train=0).problem) == (
        "0 training, 200 held-out and 1597 test samples; wanted at least 1, 2 and 1. Correct the "
        "sizes."
    )


# --- conducted, stopped and gone on with


class StopError(Exception):
    """A power cut."""


def stopped_after(number):
    def stop(epoch):
        if epoch.epoch == number:
            raise StopError

    return stop


def timeless(record):
    return replace(record, epochs=tuple(replace(each, seconds=0) for each in record.epochs))


@pytest.fixture(scope="module")
def whole():
    return conduct(TINY)


def test_a_record_tells_of_the_training_and_of_every_probe(whole):
    epochs = whole.epochs
    assert [each.epoch for each in epochs] == [1, 2, 3, 4, 5]
    assert [each["epoch"] for each in whole.probes] == TINY.probed_epochs() == [0, 1, 2, 5]
    assert whole.last == epochs[-1].test == whole.probes[-1]["test"]
    assert whole.best_epoch == max(each.test for each in epochs)
    assert whole.noisy_epoch == max(epochs, key=lambda each: each.holdout).test
    content = json.loads(json.dumps(whole.to_json(), allow_nan=False))
    assert list(content) == ["epochs", "probes", "last", "best_epoch", "noisy_epoch"]
    assert Record.from_json(content) == whole


def test_the_first_probe_is_of_the_untrained_network(whole):
    torch.manual_seed(TINY.seed)
    network = build(TINY.network, (1, 8, 8), 10).eval()
    assert whole.probes[0] == {"epoch": 0, **rounded(probe(network, TINY.problem()))}


def test_a_seed_gives_the_same_study_again_and_another_one_another(whole):
    assert timeless(conduct(TINY)) == timeless(whole)
    assert conduct(replace(TINY, seed=1)).epochs[0].loss != whole.epochs[0].loss


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_a_study_that_was_killed_ends_as_if_it_had_not_been(tmp_path, whole, number):
    """Epochs 1, 2 and 5 have just been probed then, and their checkpoint is not yet written."""
    with pytest.raises(StopError):
        conduct(TINY, tmp_path, on_epoch=stopped_after(number))
    kept = read_json(tmp_path / "probes.json")["probes"]
    assert [each["epoch"] for each in kept] == [e for e in TINY.probed_epochs() if e <= number]
    seen = []
    again = conduct(TINY, tmp_path, on_epoch=seen.append)
    assert [epoch.epoch for epoch in seen] == list(range(number, 6))
    assert timeless(again) == timeless(whole)
    done = []
    assert conduct(TINY, tmp_path, on_epoch=done.append) == again
    assert done == []


def test_a_network_that_draws_by_chance_goes_on_as_if_it_had_not_been_stopped(tmp_path):
    study = replace(TINY, network="mlp-24/nested-5", epochs=3, probes=2)
    before = torch.get_rng_state()
    uninterrupted = conduct(study)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    with pytest.raises(StopError):
        conduct(study, tmp_path, on_epoch=stopped_after(2))
    assert timeless(conduct(study, tmp_path)) == timeless(uninterrupted)


def test_chosen_epochs_are_probed_and_gone_on_with(tmp_path):
    study = replace(TINY, probes=(4, 2))
    with pytest.raises(StopError):
        conduct(study, tmp_path, on_epoch=stopped_after(2))
    (tmp_path / "probes.json").unlink()  # its epoch is not over for the checkpoint
    with pytest.raises(StopError):
        conduct(study, tmp_path, on_epoch=stopped_after(3))
    record = conduct(study, tmp_path)
    assert [each["epoch"] for each in record.probes] == [2, 4]
    assert timeless(conduct(study)) == timeless(record)


def test_the_probes_of_another_study_are_refused(tmp_path):
    other = replace(TINY, epochs=1, probes=2)
    conduct(other, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for call in (lambda: conduct(TINY, tmp_path), lambda: require_own(tmp_path, TINY)):
        assert told(StoreError, call) == (
            f"{tmp_path}/probes.json is of another study: {asdict(other)}; wanted probes of "
            f"{asdict(TINY)}. Delete its directory, or choose another one."
        )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_training_that_was_not_probed_cannot_be_probed_afterwards(tmp_path):
    bare = replace(TINY, epochs=1, probes=0)
    conduct(bare, tmp_path)
    assert told(StoreError, conduct, replace(bare, probes=2), tmp_path) == (
        f"{tmp_path}/checkpoint.pt is 1 epochs on, and no probe is there of [0, 1]; wanted a "
        "training whose probes lie beside it in probes.json. Delete the checkpoint, or choose "
        "another directory."
    )
    assert conduct(bare, tmp_path).probes == ()


def test_the_repair_is_told_and_chooses_by_the_holdout_alone(monkeypatch):
    import tailcut

    asked = {}

    told_of = {"verdict": "cut", "readout": "lda", "rank": 8, "strength": 3.0}
    summary = {"clean": {"before": 0.51234567, "after": 0.75}, **told_of}

    def repair(network, train, holdout, **options):
        asked.update(options, training=network.training, sizes=(len(train), len(holdout)))
        return SimpleNamespace(summary=summary)

    monkeypatch.setattr(tailcut, "repair", repair)
    record = conduct(replace(TINY, epochs=1, probes=0, repair=True))
    assert record.repair == {**told_of, "before": 0.5123, "after": 0.75}
    assert asked.pop("clean") is not None
    assert asked == {"progress": False, "training": False, "sizes": (1, 1)}


# --- told as tables


def test_tables_hold_every_number_of_a_record_once(whole):
    found = tables(whole)
    probes, scalars = found["probes"], found["scalars"]
    columns = ["epoch", "fitted to", "band", "first", "last", "labels", "accuracy"]
    assert list(probes.columns) == columns
    assert not probes.duplicated(columns[:-1]).any()
    assert sorted(probes["epoch"].unique()) == TINY.probed_epochs()
    last = whole.probes[-1]
    rows = probes[probes["epoch"] == 5].set_index(columns[1:-1])["accuracy"]
    rank, top = last["rank"], last["ranks"][2]
    for fit, words in (("given", "given labels"), ("true", "true labels")):
        for kind in ("given", "true", "test", "flipped given", "flipped true"):
            accuracies = {group: last[fit][group][kind] for group in last[fit]}
            assert rows[words, "leading", 1, top, kind] == accuracies["leading"][2]
            assert rows[words, "tail", top + 1, rank, kind] == accuracies["tail"][2]
            assert rows[words, "octave", 5, 8, kind] == accuracies["octave"][3]
    assert rows["own head", "leading", 1, rank, "flipped true"] == last["own"]["flipped true"][-1]
    assert rows["permuted labels", "leading", 1, top, "test"] == last["permuted"][2]
    words = "given labels, random directions"
    assert rows[words, "leading", 1, top, "test"] == last["random subspace"][2]
    row = scalars[scalars["epoch"] == 5].iloc[0]
    assert row["effective_rank"] == last["effective_rank"]
    assert row["noise_depth"] == last["segregation"]["noise_depth"]
    assert "segregation" not in scalars


def test_tables_of_true_labels_have_no_segregation():
    found = tables(conduct(replace(TINY, rate=0.0, epochs=1, probes=2)))
    assert set(found["probes"]["labels"]) == {"given", "true", "test"}
    assert not {"index", "segregation", "memorised"} & set(found["scalars"])


def test_rounding_keeps_what_is_no_fraction():
    content = {"a": [0.123456, 3, True, None, "0.123456"], "b": {"c": float("nan")}}
    assert rounded(content) == {"a": [0.1235, 3, True, None, "0.123456"], "b": {"c": None}}
    assert rounded([float("inf"), -float("inf")]) == [None, None]


# --- networks


@pytest.mark.parametrize(
    ("name", "width"), [("linear", 64), ("mlp-64/bottleneck-9", 9), ("mlp-64/nested-9", 64)]
)
def test_networks_of_studies_are_trained_and_probed(name, width):
    changes = {"network": name, "train": 300, "epochs": 10, "learning_rate": 0.1, "rate": 0.0}
    record = conduct(replace(TINY, probes=2, **changes))
    assert [each["width"] for each in record.probes] == [width, width]
    assert record.probes[-1]["rank"] <= width
    assert record.last > 0.5
    head = find_head(build(name, (1, 8, 8), 10).eval(), torch.rand(8, 1, 8, 8))
    assert head.width == width


def test_the_features_of_softmax_regression_are_the_inputs():
    inputs = torch.rand(8, 1, 8, 8)
    network = build("linear", (1, 8, 8), 10).eval()
    features, _ = find_head(network, inputs).features_and_logits(network, inputs)
    assert torch.equal(features, inputs.flatten(1) * 4 - 2)


def test_nested_dropout_is_the_identity_in_evaluation():
    features_ND = torch.randn(20, 30)
    assert torch.equal(NestedDropout(30, 4).eval()(features_ND), features_ND)


@given(st.integers(1, 40), st.integers(2, 20), st.integers(0, 999))
def test_nested_dropout_keeps_a_prefix_of_every_sample(width, mean, seed):
    torch.manual_seed(seed)
    features_ND = torch.rand(10, width) + 1
    kept_ND = NestedDropout(width, mean)(features_ND)
    places_D = torch.arange(width)
    prefix_ND = places_D < (kept_ND != 0).sum(1, keepdim=True)
    assert torch.equal(kept_ND, features_ND * prefix_ND)
    assert bool((kept_ND[:, 0] != 0).all())


@pytest.mark.parametrize("mean", [2, 9])
def test_nested_dropout_keeps_so_many_features_on_average(mean):
    torch.manual_seed(0)
    kept_N = NestedDropout(400, mean)(torch.ones(20_000, 400)).sum(1)
    assert float(kept_N.mean()) == pytest.approx(mean, rel=0.03)
    assert float((kept_N == 1).double().mean()) == pytest.approx(1 / mean, rel=0.05)


def test_nested_dropout_orders_features_and_the_free_network_does_not():
    record, free = (
        conduct(replace(TINY, network=name, train=300, epochs=20, probes=2, rate=0.0))
        for name in ("mlp-24/nested-4", "mlp-24")
    )
    assert record.probes[-1]["effective_rank"] < free.probes[-1]["effective_rank"] - 1


@pytest.mark.parametrize(
    "constraint", ["nested", "nested-0", "nested-1", "bottleneck-0", "narrow-4", "bottleneck-x"]
)
def test_constraints_that_do_not_exist_are_named(constraint):
    assert told(SpecError, build, f"mlp/{constraint}", (1, 8, 8), 10) == (
        f"no constraint {constraint!r}; wanted bottleneck-R, or nested-R with R above 1, as in "
        "mlp/bottleneck-9. Correct the name."
    )


def test_a_bottleneck_of_one_is_a_network():
    network = build("mlp-8/bottleneck-1", (1, 8, 8), 10)
    assert [layer.out_features for layer in network if isinstance(layer, nn.Linear)][-2:] == [1, 10]


def test_committed_records_are_what_they_give_again():
    folder = Path(__file__).parents[2] / "benchmarks" / "results" / "claims"
    paths = sorted(folder.rglob("*.json"))[::20]
    assert len(paths) > 3
    for path in paths:
        content = read_json(path)
        again = Record.from_json(content["result"]).to_json()
        assert json.dumps(again, sort_keys=True) == json.dumps(content["result"], sort_keys=True)
        assert identity(Study(**content["config"])) == content["id"] == path.stem
