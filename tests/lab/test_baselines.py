"""Every rival does what its paper says on a network that memorised its labels."""

import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from tailcut.lab.baselines import refits
from tailcut.lab.baselines import rog as layers
from tailcut.lab.baselines.controls import of_inputs
from tailcut.lab.baselines.neighbours import nearest_neighbours
from tailcut.lab.baselines.papers_cut import papers_curve, papers_cut
from tailcut.lab.baselines.registry import BASELINES, CONTROLS, baseline
from tailcut.lab.baselines.subject import Subject
from tailcut.lab.data.problems import Problem
from tailcut.lab.samples import Samples
from tailcut.lab.training.networks import build
from tailcut.network.head import find_head
from tailcut.network.stream import accuracy
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.truncate import truncate


@pytest.fixture(scope="module")
def subject(memoriser):
    p = memoriser.problem
    return Subject(memoriser.network, p.train.loader(), p.holdout.loader(), p.test.loader())


@pytest.fixture(scope="module")
def untouched(memoriser):
    return memoriser.trained.epochs[-1].test


@pytest.mark.parametrize("name", ["paper's cut", "nearest mean", "SAP", "MASC, last layer"])
def test_what_its_paper_promises_is_seen(subject, untouched, name):
    assert BASELINES[name](subject) > untouched + 0.02


@pytest.mark.parametrize("name", BASELINES)
def test_every_rival_gives_an_accuracy_and_leaves_the_network_alone(subject, name):
    before = {key: value.clone() for key, value in subject.network.state_dict().items()}
    assert 0.2 < BASELINES[name](subject) <= 1
    after = subject.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_do_not_mend_the_network(subject, untouched, name):
    assert CONTROLS[name](subject) < untouched + 0.02


def test_tables_keep_their_order():
    assert list(BASELINES) == [
        "paper's cut",
        "ridge refit",
        "logistic refit",
        "LDA refit",
        "LDA on the holdout",
        "nearest mean",
        "5 nearest neighbours",
        "SAP",
        "RoG, last layer",
        "RoG, ensemble of layers",
        "MASC, last layer",
        "VeLPIC",
        "LIP / LASER head",
        "FINE + LDA",
        "SSD on the audit's suspects",
        "CUTS",
    ]
    assert list(CONTROLS) == [
        "random subspace",
        "top directions removed",
        "BatchNorm alone",
        "permuted labels",
    ]
    unfolded = [name for name, each in BASELINES.items() if not each.folds]
    assert unfolded == ["5 nearest neighbours", "RoG, ensemble of layers", "MASC, last layer"]


def test_a_baseline_is_added_by_registering_it(subject, untouched):
    @baseline("as it is", folds=True)
    def as_it_is(subject):
        return accuracy(subject.network, subject.test)

    try:
        assert list(BASELINES)[-1] == "as it is"
        assert BASELINES["as it is"](subject) == untouched
    finally:
        del BASELINES["as it is"]


def test_permuted_labels_are_at_chance(subject):
    assert CONTROLS["permuted labels"](subject) < 0.25


def test_neighbours_are_those_of_scikit_learn(subject):
    features_ND, given_N = subject.train_features
    peer = KNeighborsClassifier(5, metric="cosine").fit(features_ND.numpy(), given_N.numpy())
    theirs = peer.score(subject.test_features[0].numpy(), subject.test_features[1].numpy())
    assert nearest_neighbours(subject) == pytest.approx(theirs, abs=0.01)


def test_a_logistic_refit_tells_two_classes_apart():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 2
    inputs = torch.randn(300, 3, generator=generator)
    inputs[:, 0] += 6 * labels
    parts = Samples(inputs, labels)
    subject = of_inputs(Problem(parts, parts, parts))
    assert refits.logistic_refit(subject) > 0.98


def test_the_ridge_refit_is_scikit_learns(subject, monkeypatch):
    monkeypatch.setattr(refits, "_RIDGE_PENALTIES", (0.1,))
    features_ND, given_N = (part.double().numpy() for part in subject.train_features)
    onehot_NK = torch.eye(10)[subject.train_features[1]].numpy()
    mean_variance = features_ND.var(0).mean()
    peer = Ridge(alpha=0.1 * mean_variance * len(given_N)).fit(features_ND, onehot_NK)
    theirs = peer.predict(subject.test_features[0].double().numpy()).argmax(1)
    assert refits.ridge_refit(subject) == pytest.approx(
        (theirs == subject.test_features[1].numpy()).mean(), abs=0.005
    )


def test_a_ways_setting_is_chosen_by_the_noisy_holdout(subject):
    held_ND, given_N = subject.holdout_features
    asked_ND, true_N = subject.test_features

    def knowing_the_test(features_ND):
        ours = features_ND.shape == asked_ND.shape and torch.equal(features_ND, asked_ND)
        return torch.eye(10)[true_N] if ours else torch.zeros(len(features_ND), 10)

    def knowing_the_holdout(features_ND):
        ours = features_ND.shape == held_ND.shape and torch.equal(features_ND, held_ND)
        return torch.eye(10)[given_N] if ours else torch.zeros(len(features_ND), 10)

    assert subject.best([knowing_the_test, knowing_the_holdout]) < 0.2


def test_the_papers_cut_lies_between_the_last_and_the_best_epoch(subject, memoriser, untouched):
    best = memoriser.trained.oracle_epoch.test
    assert untouched < papers_cut(subject) < best + 0.05


def test_the_papers_curve_is_that_of_truncated_networks(subject):
    curve = papers_curve(subject)
    spectrum = Spectrum.of(subject.moments)
    for place in (3, 17, len(curve["rank"]) - 1):
        cut = truncate(subject.network, spectrum, curve["rank"][place])
        for name, batches in (("holdout", subject.holdout), ("test", subject.test)):
            assert accuracy(cut, batches) == pytest.approx(curve[name][place], abs=0.005)


def test_the_papers_rank_is_that_which_the_holdout_finds(subject):
    curve = papers_curve(subject)
    chosen = curve["holdout"].index(max(curve["holdout"]))
    assert papers_cut(subject) == curve["test"][chosen]


def test_raw_inputs_are_features_of_their_own(memoriser):
    train = memoriser.problem.train
    inputs = of_inputs(memoriser.problem)
    features_ND, given_N = inputs.train_features
    torch.testing.assert_close(features_ND, train.inputs.flatten(1) * 4 - 2)
    assert torch.equal(given_N, train.given)
    assert refits.lda_refit(inputs) > 0.9  # which is why digits are no evidence


def test_the_head_is_the_one_that_repair_finds(subject, memoriser):
    inputs = next(iter(memoriser.problem.train.loader()))[0]
    assert subject.head == find_head(memoriser.network, inputs)


def images_of_three_classes(samples: int, side: int = 8, seed: int = 0) -> Samples:
    """Noise, with a bright row that tells the class."""
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(samples) % 3
    inputs = 0.5 * torch.rand(samples, 1, side, side, generator=generator)
    inputs[torch.arange(samples), 0, labels_N] += 0.5
    return Samples(inputs, labels_N)


def untrained(name: str) -> Subject:
    torch.manual_seed(0)
    network = build(name, (1, 8, 8), 3).eval()
    return Subject(network, *(images_of_three_classes(n, seed=n).loader() for n in (150, 60, 90)))


LAYERS = {
    "linear": [64],
    "mlp-16": [16, 16],
    "cnn-2": [2, 4, 8, 16, 32],
    "resnet-4": [4, 4, 4, 8, 8, 16, 16, 32, 32],
    "vit-8": [8, 8, 8, 8],
    "mlp-16/bottleneck-5": [16, 5],
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_lab_network_shows_its_layers(name):
    subject = untrained(name)
    features = layers.layer_features(subject, subject.test)
    assert [tuple(features_ND.shape) for features_ND in features] == [(90, d) for d in LAYERS[name]]
    assert torch.equal(features[-1], subject.test_features[0])


def test_a_convolutions_layer_is_its_mean_over_positions():
    subject = untrained("cnn-2")
    inputs, *_ = next(iter(subject.test))
    with torch.no_grad():
        mean_ND = subject.network[:4](inputs).mean((2, 3))
    features_ND = layers.layer_features(subject, subject.test)[0]
    torch.testing.assert_close(features_ND[: len(mean_ND)], mean_ND)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_every_lab_network_are_mixed(name):
    assert layers.rog_ensemble(untrained(name)) > 0.6


def test_an_ensemble_of_the_last_layer_alone_is_rog(subject, monkeypatch):
    every = layers.layer_features
    monkeypatch.setattr(layers, "layer_features", lambda *about: every(*about)[-1:])
    assert layers.rog_ensemble(subject) == layers.rog(subject)


def test_a_mixture_forgets_a_layer_that_knows_nothing():
    generator = torch.Generator().manual_seed(0)
    good_N = 0.5 + 0.5 * torch.rand(50, generator=generator, dtype=torch.float64)
    weights_L = layers.mixture_weights(torch.stack([good_N, torch.full_like(good_N, 0.1)]))
    torch.testing.assert_close(weights_L, torch.tensor([1.0, 0.0]).double(), atol=1e-6, rtol=0)


def test_mixture_weights_are_the_best_on_a_grid():
    generator = torch.Generator().manual_seed(0)
    chances_LN = torch.rand(2, 40, generator=generator, dtype=torch.float64)
    grid_G = torch.linspace(0, 1, 1001, dtype=torch.float64)
    mixed_GN = grid_G[:, None] * chances_LN[0] + (1 - grid_G)[:, None] * chances_LN[1]
    best = grid_G[mixed_GN.log().sum(1).argmax()]
    assert layers.mixture_weights(chances_LN)[0] == pytest.approx(float(best), abs=2e-3)


def test_robust_gaussians_do_not_follow_outliers():
    generator = torch.Generator().manual_seed(0)
    clean_ND = torch.randn(400, 3, generator=generator)
    labels_N = torch.arange(400) % 2
    clean_ND[:, 0] += 6 * labels_N
    spoilt_ND = clean_ND.clone()
    spoilt_ND[1::10, 0] = -30

    def boundary(readout: Readout) -> float:
        """Where the first axis crosses from one class to the other."""
        weight_KD, bias_K = readout.fold(readout.max_rank)
        return float(-(bias_K[1] - bias_K[0]) / (weight_KD[1] - weight_KD[0])[0])

    assert boundary(layers.robust_gaussians(spoilt_ND, labels_N, 2)) == pytest.approx(3, abs=0.4)
    plain = Readout.lda(Moments(3, 2).update(spoilt_ND, given=labels_N))
    assert boundary(plain) != pytest.approx(3, abs=0.4)
