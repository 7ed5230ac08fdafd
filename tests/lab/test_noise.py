"""Every kind of label noise by its own definition, and the files that it may come from."""

import io
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from tailcut.cli.main import main
from tailcut.errors import DataError, SpecError
from tailcut.lab.data.cifar10 import cifar10_problem
from tailcut.lab.data.digits import digits, digits_problem
from tailcut.lab.data.problems import Problem
from tailcut.lab.noise import aligned, by_input, human, transitions
from tailcut.lab.noise.drawing import corrupt
from tailcut.lab.noise.human import annotation, of_word
from tailcut.lab.noise.kinds import KINDS, Noise, noise_of
from tailcut.lab.noise.openset import openset
from tailcut.lab.samples import OUTSIDE, Samples


@given(classes=st.integers(2, 12), rate=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_symmetric_noise_is_exclusive(classes, rate):
    transition_KK = transitions.symmetric(classes, rate)
    assert torch.allclose(transition_KK.sum(1), torch.ones(classes, dtype=torch.float64))
    assert torch.allclose(1 - transition_KK.diagonal(), torch.tensor(rate, dtype=torch.float64))
    others = transition_KK[~torch.eye(classes, dtype=torch.bool)]
    assert float(others.max() - others.min()) < 1e-12


def test_the_drawn_labels_follow_the_transition_matrix():
    clean_N = torch.arange(60_000) % 3
    transition_KK = torch.tensor([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]])
    given_N = corrupt(clean_N, transition_KK, seed=0)
    cells = torch.bincount(clean_N * 3 + given_N, minlength=9).reshape(3, 3) / 20_000
    assert torch.allclose(cells.double(), transition_KK.double(), atol=0.012)
    assert torch.equal(given_N, corrupt(clean_N, transition_KK, seed=0))
    assert not torch.equal(given_N, corrupt(clean_N, transition_KK, seed=1))


@pytest.mark.parametrize("kind", ["symmetric", "instance", "aligned", "openset"])
def test_a_rate_in_percent_is_refused(kind):
    with pytest.raises(DataError) as error:
        digits_problem(rate=40, seed=0, kind=kind)
    classes = {"openset": 2}.get(kind, 10)
    assert str(error.value) == (
        f"{kind} noise of rate 40 among {classes} classes; wanted a rate from 0 to 1 and at least "
        "2 classes. Rates are fractions of wrong labels: 0.4, not 40."
    )


@pytest.mark.parametrize("rows", [torch.ones(2, 2), torch.tensor([[math.nan, 1], [0, 1]])])
def test_rows_that_are_no_probabilities_are_refused(rows):
    with pytest.raises(DataError) as error:
        corrupt(torch.tensor([0, 1]), rows, seed=0)
    assert str(error.value) == (
        "a transition matrix whose rows are not probabilities; wanted entries of at least 0 and "
        "rows that sum to 1. Divide each row by its sum."
    )


@pytest.mark.parametrize("kind", [transitions.pair, transitions.symmetric])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_a_share_of_rate_is_wrong(kind, rate):
    transition_KK = kind(10, rate)
    assert torch.allclose(transition_KK.sum(1), torch.ones(10, dtype=torch.float64))
    assert float(1 - transition_KK.diagonal().mean()) == pytest.approx(rate)


def test_pair_noise_gives_the_next_class():
    clean_N = torch.arange(4).repeat(50)
    given_N = corrupt(clean_N, transitions.pair(4, 1.0), seed=0)
    assert torch.equal(given_N, (clean_N + 1) % 4)


def test_confusion_swaps_two_classes_and_nothing_else():
    transition_KK = transitions.confusion(10, 0.4)
    torch.testing.assert_close(transition_KK.sum(1), torch.ones(10).double())
    assert torch.equal(transition_KK, transition_KK.T)
    assert transition_KK[3, 5] == 0.4
    assert transition_KK.diagonal().tolist() == [1, 1, 1, 0.6, 1, 0.6, 1, 1, 1, 1]


def test_of_few_classes_the_first_two_are_confused():
    assert transitions.confused_classes(6) == (3, 5)
    assert transitions.confused_classes(5) == (0, 1)
    assert transitions.confusion(2, 1.0).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(DataError, match="confusion noise of rate 40 among 10 classes"):
        transitions.confusion(10, 40)


def test_at_a_half_the_labels_of_confused_classes_tell_nothing():
    labels = torch.arange(10).repeat(400)
    given = corrupt(labels, transitions.confusion(10, 0.5), seed=0)
    both = torch.isin(labels, torch.tensor([3, 5]))
    assert torch.equal(given[~both], labels[~both])
    assert (given == labels)[both].double().mean() == pytest.approx(0.5, abs=0.06)


def test_asymmetric_noise_confuses_what_is_alike_and_nothing_else():
    names = ["airplane", "automobile", "bird", "cat", "deer"]
    names += ["dog", "frog", "horse", "ship", "truck"]
    given = transitions.asymmetric(10, 1.0).argmax(1).tolist()
    told = {name: names[label] for name, label in zip(names, given, strict=True)}
    assert {name: other for name, other in told.items() if name != other} == {
        "truck": "automobile",
        "bird": "airplane",
        "deer": "horse",
        "cat": "dog",
        "dog": "cat",
    }
    with pytest.raises(DataError, match="asymmetric noise among 3 classes; wanted the ten classes"):
        transitions.asymmetric(3, 0.4)


@pytest.mark.parametrize("kind", ["rare", "matrix", "matrix:", "human:", "pair:file", "human:FILE"])
def test_a_kind_of_noise_that_does_not_exist_is_named(kind):
    with pytest.raises(SpecError) as error:
        digits_problem(rate=0.4, seed=0, kind=kind)
    if kind == "human:FILE":
        assert str(error.value) == (
            "the noise 'human:FILE'; wanted human:FILE or human:FILE:KEY, where FILE ends in .npy, "
            ".pt or .pth. Correct the word, as in human:CIFAR-10_human.pt:worse_label."
        )
    else:
        assert str(error.value) == (
            f"no label noise {kind!r}; wanted one of aligned, asymmetric, confusion, human, "
            "human:FILE, instance, matrix:FILE.npy, openset, pair, symmetric. Correct the name."
        )


def test_a_class_that_no_sample_was_drawn_of_is_still_given_wrongly():
    few = digits().rows(digits().given < 2)
    assert noise_of("symmetric", 1.0).corrupt(few, 0, classes=10).given.max() == 9
    pair = noise_of("pair", 1.0)
    whole = Problem.of(digits(), digits(), train=3, holdout=2, noise=pair, seed=0)
    assert torch.equal(whole.train.given, (whole.train.clean + 1) % 10)


# -- the registry ----------------------------------------------------------------------------


class Next(Noise):
    """Every third label is that of the sample before it."""

    def corrupt(self, samples, seed, *, classes, outside=None):  # noqa: ARG002
        given_N = samples.true_N.clone()
        given_N[::3] = given_N.roll(1)[::3]
        return samples.annotated(given_N)


def test_a_kind_is_added_by_registering_it(monkeypatch):
    monkeypatch.setitem(KINDS, "next", Next)
    sizes = {"train": 60, "holdout": 30, "seed": 0}
    made = Problem.of(digits(), digits(), noise=noise_of("next", 0.3), **sizes)
    both = made.train | made.holdout
    assert torch.equal(both.given[::3], both.clean.roll(1)[::3])
    assert torch.equal(both.given[1::3], both.clean[1::3])
    with pytest.raises(SpecError, match=r"matrix:FILE\.npy, next, openset, pair"):
        noise_of("pears", 0.3)


def test_a_registered_kind_is_a_word_of_the_command_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(KINDS, "next", Next)
    words = ["--noise", "next", "--network", "mlp-8", "--train", "90", "--epochs", "1"]
    assert main(["lab", "train", *words, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    with np.load(tmp_path / "run" / "train.npz") as arrays:
        wrong_N = arrays["labels"] != arrays["clean"]
    assert 10 < wrong_N.sum() <= 30
    assert not wrong_N[1::3].any()


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"human", "matrix"}))
def test_every_kind_reports_the_share_that_is_wrong(name):
    labels_N = torch.arange(20_000) % 10
    inputs = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))
    samples, noise = Samples(inputs, labels_N), noise_of(name, 0.4)
    noisy = noise.corrupt(samples, 0, classes=10, outside=samples)
    wrong_N = noisy.given != noisy.clean
    assert float(wrong_N.double().mean()) == pytest.approx(noise.wrong_share(10), abs=0.01)
    control = noise_of(name, 0.0).corrupt(samples, 0, classes=10, outside=samples)
    assert torch.equal(control.given, control.clean)


def test_of_labels_in_a_file_the_file_tells_what_is_wrong(tmp_path):
    np.save(tmp_path / "t.npy", transitions.symmetric(10, 0.3).numpy())
    assert noise_of(f"matrix:{tmp_path}/t.npy", 0.9).wrong_share(10) == pytest.approx(0.3)
    assert noise_of("human", 0.9).wrong_share(10) is None


# -- any transition matrix -------------------------------------------------------------------


def test_a_matrix_in_a_file_gives_what_it_gives_directly(tmp_path):
    transition_KK = transitions.symmetric(10, 0.3).roll(1, 0)
    np.save(tmp_path / "t.npy", transition_KK.numpy())
    problem = digits_problem(rate=0.9, seed=4, kind=f"matrix:{tmp_path}/t.npy")
    both = (problem.train | problem.holdout).true()
    expected_N = corrupt(both.given, transition_KK, 4)
    assert torch.equal(expected_N, (problem.train | problem.holdout).given)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.permutations(range(7)))
@settings(max_examples=30, deadline=None)
def test_a_permutation_as_a_matrix_renames_the_labels(labels, order):
    labels_N, order_K = torch.tensor(labels), torch.tensor(order)
    drawn_N = corrupt(labels_N, torch.eye(7)[order_K], seed=0)
    assert torch.equal(drawn_N, order_K[labels_N])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.eye(3),
            "t.npy has float64 values of shape (3, 3); wanted real numbers of shape (10, 10), a "
            "row for each true class. Take the matrix of these classes.",
        ),
        (
            np.full((10, 10), "x"),
            "t.npy has <U1 values of shape (10, 10); wanted real numbers of shape (10, 10), a "
            "row for each true class. Take the matrix of these classes.",
        ),
        (
            np.ones((10, 10)),
            "a transition matrix whose rows are not probabilities; wanted entries of at least 0 "
            "and rows that sum to 1. Divide each row by its sum.",
        ),
    ],
)
def test_a_file_that_holds_no_transition_matrix_is_refused(tmp_path, values, message):
    np.save(tmp_path / "t.npy", values)
    with pytest.raises(DataError) as error:
        digits_problem(rate=0.4, seed=0, kind=f"matrix:{tmp_path}/t.npy")
    assert str(error.value) == message


def test_a_matrix_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError) as error:
        transitions.matrix(tmp_path / "t.npy", 10)
    assert str(error.value) == (
        f"no transition matrix in {tmp_path}/t.npy ([Errno 2] No such file or directory: "
        f"'{tmp_path}/t.npy'); wanted a .npy file of K x K numbers, a row for each true class. "
        "Write it with numpy.save, and check the path."
    )


def test_a_matrix_needs_a_row_for_each_label_and_no_less():
    with pytest.raises(DataError, match=r"label noise has the label 2; wanted integers 0\.\.1"):
        corrupt(torch.tensor([0, 2]), torch.eye(2), seed=0)
    with pytest.raises(DataError) as error:
        corrupt(torch.tensor([0, 2]), torch.ones(2, 3) / 3, seed=0)
    assert str(error.value) == (
        "a transition matrix of shape (2, 3); wanted a row and a column for each class. Take rows "
        "for the true classes, columns for the given ones."
    )


# -- by instance -----------------------------------------------------------------------------


def slow_instance_rows(inputs, labels, classes, rate, seed):
    """Algorithm 2 of Xia et al. (2020), one sample after the other."""
    random = np.random.default_rng((seed, 1))
    low, high = (0 - rate) / 0.1, (1 - rate) / 0.1
    rates = stats.truncnorm.ppf(random.random(len(inputs)), low, high, loc=rate, scale=0.1)
    projections = random.standard_normal((classes, inputs[0].size, classes), np.float32)
    axes = (0, *range(2, inputs.ndim))
    mean, deviation = (f(axis=axes, keepdims=True) for f in (inputs.mean, inputs.std))
    inputs = (inputs - mean) / np.where(deviation > 0, deviation, 1)
    rows = []
    for x, y, q in zip(inputs, labels, rates, strict=True):
        logits = x.ravel() @ projections[y]
        logits[y] = -np.inf
        row = q * np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        row[y] = 1 - q
        rows.append(row)
    return np.stack(rows)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 3)])
@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_instance_noise_is_the_published_algorithm(shape, rate):
    inputs = 3 + 2 * torch.randn(40, *shape, generator=torch.Generator().manual_seed(0))
    inputs[:, 0] = 1  # constant: 0 after standardisation
    labels_N = torch.arange(40) % 4
    rows_NK = by_input.instance_rows(inputs, labels_N, 4, rate, seed=7)
    slow = slow_instance_rows(inputs.double().numpy(), labels_N.numpy(), 4, rate, seed=7)
    assert torch.allclose(rows_NK, torch.from_numpy(slow), atol=1e-4)


def test_a_share_of_rate_is_wrong_by_instance_and_none_at_rate_0():
    whole = digits()
    for rate in (0.3, 0.5):
        rows_NK = by_input.instance_rows(whole.inputs, whole.given, 10, rate, seed=0)
        assert torch.allclose(rows_NK.sum(1), torch.ones(1, dtype=torch.float64))
        wrong_N = 1 - rows_NK.gather(1, whole.given[:, None]).squeeze(1)
        assert float(wrong_N.mean()) == pytest.approx(rate, abs=0.01)
        assert float(wrong_N.std()) == pytest.approx(0.1, abs=0.01)
        noisy = noise_of("instance", rate).corrupt(whole, 0, classes=10)
        assert float((noisy.given != noisy.clean).double().mean()) == pytest.approx(rate, abs=0.04)
        assert torch.equal(
            noisy.given, noise_of("instance", rate).corrupt(whole, 0, classes=10).given
        )
        assert not torch.equal(
            noisy.given, noise_of("instance", rate).corrupt(whole, 1, classes=10).given
        )
    assert torch.equal(noise_of("instance", 0).corrupt(whole, 0, classes=10).given, whole.given)


def test_the_wrong_label_follows_from_the_input_and_not_so_under_symmetric_noise():
    """Two samples of the same image get the same wrong label far more often than by chance."""
    whole = digits()
    twins = whole | whole
    agreement = {}
    for kind in ("instance", "symmetric"):
        noisy = noise_of(kind, 0.6).corrupt(twins, 0, classes=10)
        first, second = noisy.given[: len(whole)], noisy.given[len(whole) :]
        wrong = (first != whole.given) & (second != whole.given)
        agreement[kind] = float((first == second)[wrong].double().mean())
    assert agreement["instance"] > 0.7
    assert agreement["symmetric"] == pytest.approx(1 / 9, abs=0.05)


# -- aligned with a mark ---------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("shape", [(1, 8, 8), (16,)])
def test_a_mark_and_a_wrong_label_are_one(rate, shape):
    inputs = torch.rand(100, *shape, generator=torch.Generator().manual_seed(0))
    samples = Samples(inputs, torch.arange(100) % 5)
    noisy = noise_of("aligned", rate).corrupt(samples, 3, classes=5)
    changed_N = (noisy.inputs != samples.inputs).flatten(1).any(1)
    assert torch.equal(changed_N, noisy.given != noisy.clean)
    assert torch.equal(noisy.given[changed_N], (noisy.clean[changed_N] + 1) % 5)
    assert noisy.clean[changed_N].bincount(minlength=5).tolist() == [int(20 * rate)] * 5


def test_the_mark_is_a_chequered_corner_of_an_image():
    images = torch.full((2, 3, 32, 32), 7, dtype=torch.uint8)
    images = aligned.marked(images, torch.tensor([True, False]))
    assert images[0, 0, :5, :5].tolist() == [
        [255, 0, 255, 0, 7],
        [0, 255, 0, 255, 7],
        [255, 0, 255, 0, 7],
        [0, 255, 0, 255, 7],
        [7, 7, 7, 7, 7],
    ]
    assert (images[0, 0] == images[0, 1]).all()
    assert (images[1] == 7).all()


def test_the_mark_of_a_vector_is_an_offset_of_fixed_coordinates():
    vectors = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    offset = aligned.marked(vectors, torch.arange(50) < 10) - vectors
    assert torch.allclose(offset[:10, :2], 3 * vectors.std(correction=0))
    assert (offset[:10, 2:] == 0).all()
    assert (offset[10:] == 0).all()


def test_words_cannot_be_marked():
    with pytest.raises(DataError) as error:
        aligned.marked(torch.zeros(4, 9, dtype=torch.long), torch.ones(4, dtype=torch.bool))
    assert str(error.value) == (
        "inputs of shape (4, 9) and type torch.int64 to mark; wanted images (samples x channels x "
        "height x width) or vectors of floats. Convert them with .float(), or choose another noise."
    )


def test_a_problem_has_marks_in_train_and_holdout_and_none_in_its_test():
    problem = digits_problem(rate=0.4, seed=0, kind="aligned")
    mark = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    for part in (problem.train, problem.holdout):
        wrong_N = part.given != part.clean
        assert float(wrong_N.double().mean()) == pytest.approx(0.4, abs=0.06)
        assert torch.equal((part.inputs[:, 0, :2, :2] == mark).flatten(1).all(1), wrong_N)
    assert not (problem.test.inputs[:, 0, :2, :2] == mark).flatten(1).all(1).any()
    assert float((digits().inputs.flatten(1).sum(1)).min()) > 0


# -- from outside the classes ----------------------------------------------------------------


@given(st.integers(0, 40), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_open_set_noise_replaces_inputs_once_and_keeps_labels(n, rate):
    inputs, labels_N = torch.arange(n), torch.arange(n) % 3
    mixed, clean_N = openset(inputs, labels_N, 1000 + torch.arange(40), rate, seed=0)
    replaced_N = mixed >= 1000
    assert int(replaced_N.sum()) == math.floor(rate * n + 0.5)
    assert torch.equal(clean_N, torch.where(replaced_N, OUTSIDE, labels_N))
    assert torch.equal(mixed[~replaced_N], inputs[~replaced_N])
    assert len(mixed.unique()) == n


def test_the_last_digits_leave_an_open_set_problem():
    problem = digits_problem(rate=0.4, seed=0, kind="openset")
    parts = (problem.train, problem.holdout, problem.test)
    assert [len(part) for part in parts] == [800, 200, 264]
    assert problem.classes == 7
    assert [part.classes for part in parts] == [7] * 3
    outside = problem.train.clean == OUTSIDE
    assert int(outside.sum()) + int((problem.holdout.clean == -1).sum()) == 400
    assert torch.equal(outside, problem.train.given != problem.train.clean)
    others = digits().apart(3)[1].inputs.flatten(1).tolist()
    images = problem.train.inputs.flatten(1).tolist()
    assert [image in others for image in images] == outside.tolist()
    true = problem.train.true()
    assert len(true) == int((~outside).sum())
    assert torch.equal(true.given, problem.train.given[~outside])


def test_labels_of_no_class_are_not_made_noisy_again():
    noisy = digits_problem(rate=0.4, seed=0, kind="openset").train
    with pytest.raises(DataError, match=r"label noise has the label -1; wanted integers 0\.\.6"):
        noise_of("symmetric", 0.2).corrupt(noisy, 0, classes=7)


def test_too_few_samples_from_outside_are_refused():
    with pytest.raises(DataError) as error:
        digits_problem(rate=0.6, seed=0, kind="openset")
    assert str(error.value) == (
        "533 outside inputs for 600 of 1000 samples; wanted at least one for each sample to be "
        "replaced. Lower the rate or the number of samples."
    )


def test_open_set_noise_wants_an_outside_of_the_same_kind():
    noise = noise_of("openset", 0.4)
    with pytest.raises(DataError) as error:
        Problem.of(digits(), digits(), train=9, holdout=9, noise=noise, seed=0)
    assert str(error.value) == (
        "open-set noise without samples from outside the classes; wanted some that are put in the "
        "place of others. Pass outside=, such as the second part of Samples.apart."
    )
    others = Samples(torch.zeros(9, 3, 8, 8), torch.zeros(9).long())
    with pytest.raises(DataError) as error:
        noise_of("openset", 0.1).corrupt(digits(), 0, classes=10, outside=others)
    assert str(error.value) == (
        "outside inputs of shape (3, 8, 8) and type torch.float32; wanted (1, 8, 8) and "
        "torch.float32 as those that they replace. Resize and convert them first."
    )


# -- by people -------------------------------------------------------------------------------


def test_human_labels_take_the_place_of_the_given_ones(tmp_path):
    pool = digits()
    np.save(tmp_path / "human.npy", (pool.given.numpy() + 1) % 10)
    labels_N = annotation(tmp_path / "human.npy").given_N
    annotated = pool.annotated(labels_N)
    assert torch.equal(annotated.given, (pool.given + 1) % 10)
    assert torch.equal(annotated.clean, pool.given)
    noise = noise_of("human", 0)
    problem = Problem.of(annotated, pool, train=100, holdout=20, noise=noise, seed=0)
    assert (problem.train.given == (problem.train.clean + 1) % 10).all()
    problem = digits_problem(rate=0, seed=0, kind=f"human:{tmp_path}/human.npy")
    assert (problem.holdout.given == (problem.holdout.clean + 1) % 10).all()
    assert (problem.test.given.bincount() > 30).all()
    with pytest.raises(DataError) as error:
        pool.annotated(labels_N[:5])
    assert str(error.value) == (
        "5 labels for 1797 samples; wanted one for each sample, in the same order. Take the file "
        "that belongs to these samples."
    )


def cifar_n(path, form=np.asarray):
    """A file as CIFAR-10N is published, of other labels."""
    labels = {"clean_label": [0, 1, 2], "worse_label": [2, 1, 0], "aggre_label": [0, 1, 0]}
    torch.save({name: form(values) for name, values in labels.items()}, path)
    return path


@pytest.mark.parametrize("form", [np.asarray, torch.tensor, list, np.int32, np.uint8])
def test_a_published_dict_is_read_whatever_its_values_are(tmp_path, form):
    path = cifar_n(tmp_path / "c.pt", form)
    found = annotation(path, "worse_label")
    assert found.given_N.tolist() == [2, 1, 0]
    assert found.clean_N.tolist() == [0, 1, 2]
    assert of_word(f"human:{path}:aggre_label").given_N.tolist() == [0, 1, 0]
    assert of_word("human:c.pt:aggre_label", tmp_path).given_N.tolist() == [0, 1, 0]


def test_a_file_of_an_older_numpy_is_read(tmp_path):
    """As numpy 1 and the published files name the function that makes an array."""
    path, labels = tmp_path / "c.pt", {"noisy_label": np.array([1, 0])}
    torch.save(labels, path, _use_new_zipfile_serialization=False)
    older = path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert b"cnumpy.core.multiarray" in older
    path.write_bytes(older)
    assert annotation(path).given_N.tolist() == [1, 0]


def test_the_noisy_labels_of_cifar_100_need_no_key(tmp_path):
    names = ("clean_label", "noisy_label", "noisy_coarse_label")
    torch.save({name: np.arange(3) for name in names}, tmp_path / "c.pt")
    assert annotation(tmp_path / "c.pt").given_N.tolist() == [0, 1, 2]
    torch.save({"clean_label": np.zeros(2, int), "mine": np.ones(2, int)}, tmp_path / "m.pt")
    assert annotation(tmp_path / "m.pt").given_N.tolist() == [1, 1]


def test_a_key_that_is_missing_or_was_not_given_is_told(tmp_path):
    path = cifar_n(tmp_path / "c.pt")
    with pytest.raises(DataError) as error:
        annotation(path, "worst")
    assert str(error.value) == (
        "c.pt has no 'worst' among clean_label, worse_label, aggre_label; wanted the name of the "
        "labels to take. Add it to the word: human:c.pt:KEY."
    )
    with pytest.raises(DataError, match=r"c\.pt has no 'noisy_label' among clean_label"):
        annotation(path)


def test_a_plain_array_has_no_keys(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(DataError) as error:
        of_word(f"human:{tmp_path}/a.npy:worse_label")
    assert str(error.value) == (
        "the labels 'worse_label' of a.npy; wanted no name, because a .npy file holds one array. "
        "Write human:FILE without :worse_label, or take a .pt file."
    )


def test_annotations_in_another_order_are_refused(tmp_path):
    cifar_n(tmp_path / "c.pt")
    found = annotation(tmp_path / "c.pt", "worse_label")
    samples = Samples(torch.zeros(3, 2), torch.tensor([0, 2, 1]))
    with pytest.raises(DataError) as error:
        samples.annotated(found.given_N, found.clean_N)
    assert str(error.value) == (
        "2 of 3 true labels of the annotation are not those of the samples; wanted an annotation "
        "in the order of the samples. Take the file of the same order: TensorFlow's CIFAR has "
        "another one."
    )


class Touch:
    """Unpickled without care, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["h.pt", "h.npy"])
def test_a_file_that_would_run_code_runs_none(tmp_path, name):
    content = {"noisy_label": [Touch(tmp_path / "touched")]}
    if name == "h.pt":
        torch.save(content, tmp_path / name)
    else:
        np.save(tmp_path / name, np.array(content), allow_pickle=True)
    with pytest.raises(DataError) as error:
        annotation(tmp_path / name)
    assert not (tmp_path / "touched").exists()
    messages = {
        "h.pt": f"{tmp_path}/h.pt cannot be read safely (UnpicklingError); wanted a torch file "
        "with a dict of label arrays, as CIFAR-N is published. Check the path, or save the labels "
        "alone: numpy.save('labels.npy', labels).",
        "h.npy": f"no labels in {tmp_path}/h.npy (Object arrays cannot be loaded when "
        "allow_pickle=False); wanted a .npy file with one integer for each sample, without "
        "pickled objects. For CIFAR-10N put cifar10n_random1.npy beside the images, or name the "
        ".pt file of CIFAR-N, which can be read safely, unlike its .npy files.",
    }
    assert str(error.value) == messages[name]


def test_a_torch_file_of_something_else_is_told(tmp_path):
    torch.save(torch.arange(3), tmp_path / "h.pt")
    with pytest.raises(DataError) as error:
        annotation(tmp_path / "h.pt")
    assert str(error.value) == (
        "h.pt holds a Tensor; wanted a dict of label arrays. Save a plain array with numpy.save, "
        "and name the .npy file."
    )
    with pytest.raises(DataError, match=r"none\.pt cannot be read safely \(no such file\)"):
        annotation(tmp_path / "none.pt")


# -- CIFAR-10 --------------------------------------------------------------------------------


def png(row):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (int(row), 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def like_cifar(tmp_path):
    """Small images of ten classes in the layout of CIFAR-10, where the real ones are not."""
    rows = np.arange(60)
    for name in ("train", "test"):
        cells = [{"bytes": png(row), "path": None} for row in rows]
        pd.DataFrame({"img": cells, "label": rows % 10}).to_parquet(tmp_path / f"{name}.parquet")
    np.save(tmp_path / human.CIFAR10N, (rows + 1) % 10)
    return {"train": 24, "holdout": 6, "folder": tmp_path}


def test_a_folder_laid_out_like_cifar_gives_true_and_human_labels(like_cifar):
    made = cifar10_problem(rate=0, seed=0, kind="human", **like_cifar)
    assert torch.equal(made.train.given, (made.train.clean + 1) % 10)
    assert torch.equal(made.train.inputs[:, 0, 0, 0].long() % 10, made.train.clean)
    asymmetric = cifar10_problem(rate=1.0, seed=0, kind="asymmetric", **like_cifar)
    expected = transitions.asymmetric(10, 1.0).argmax(1)[asymmetric.train.clean]
    assert torch.equal(asymmetric.train.given, expected)
    assert torch.equal(asymmetric.test.given, torch.arange(60) % 10)


def test_a_folder_laid_out_like_cifar_gives_every_other_noise(like_cifar):
    labels = {"clean_label": np.arange(60) % 10, "worse_label": (np.arange(60) + 2) % 10}
    torch.save(labels, like_cifar["folder"] / "c.pt")
    named = cifar10_problem(rate=0, seed=0, kind="human:c.pt:worse_label", **like_cifar)
    assert torch.equal(named.train.given, (named.train.clean + 2) % 10)
    opened = cifar10_problem(rate=0.5, seed=0, kind="openset", **like_cifar)
    assert int(((opened.train | opened.holdout).clean == -1).sum()) == 15
    assert (opened.classes, len(opened.test)) == (7, 42)
    seven = opened.train.inputs[:, 0, 0, 0].long() % 10 >= 7
    assert torch.equal(seven, opened.train.clean == -1)
    for kind in ("instance", "aligned"):
        made = cifar10_problem(rate=0.5, seed=0, kind=kind, **like_cifar)
        assert 0 < int((made.train.given != made.train.clean).sum()) < 24
