from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference import (
    Refit,
    blobs,
    centred,
    features_with,
    gaussian,
    labels_of,
    moments_of,
    principal_basis,
    projected_logits,
)
from tailcut.errors import DataError
from tailcut.numerics import readout as readouts
from tailcut.numerics.covariance import oas_shrinkage
from tailcut.numerics.discriminant import discriminant
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum

CLASSES = 3
FITTED = ("ridge", "centroid", "lda")
DIALS = {"ridge": {"penalty": 0.01}, "centroid": {}, "lda": {"shrinkage": 0.2}}


@dataclass
class Problem:
    """Features and labels to fit, fresh features to ask about, and a head."""

    features_ND: Tensor
    labels_N: Tensor
    fresh_ND: Tensor
    weight_KD: Tensor
    bias_K: Tensor

    @classmethod
    def of(cls, n: int, width: int, seed: int = 0) -> Problem:
        labels_N = labels_of(n, CLASSES, seed)
        features_ND = blobs(labels_N, width, seed=seed)
        fresh_ND = blobs(labels_of(25, CLASSES), width, seed=seed + 1)
        head_KD = gaussian(CLASSES, width + 1, seed=seed + 2)
        return cls(features_ND, labels_N, fresh_ND, head_KD[:, 1:], head_KD[:, 0])

    @property
    def moments(self) -> Moments:
        return moments_of(self.features_ND, CLASSES, given=self.labels_N)

    def readout(self, name: str) -> Readout:
        if name == "project":
            return Readout.project(Spectrum.of(self.moments), self.weight_KD, self.bias_K)
        return getattr(Readout, name)(self.moments, **DIALS[name])

    def refit(self, name: str, rank: int, basis_DD: Tensor | None = None) -> Tensor:
        """Logits on the fresh features by refitting at one rank."""
        if basis_DD is None:
            basis_DD = principal_basis(self.features_ND, rank)
        basis_DR = basis_DD[:, :rank]
        if name == "project":
            mean_D = self.features_ND.mean(0)
            return projected_logits(self.fresh_ND, basis_DR, mean_D, self.weight_KD, self.bias_K)
        again = Refit(self.features_ND, self.labels_N, basis_DR)
        return getattr(again, name)(self.fresh_ND, **DIALS[name])


MANY, FEW = Problem.of(60, 7), Problem.of(10, 14)


@pytest.mark.parametrize("problem", [MANY, FEW], ids=["n over D", "n under D"])
@pytest.mark.parametrize("name", ["project", *FITTED])
def test_every_rank_is_a_refit_in_the_leading_directions(name, problem):
    readout = problem.readout(name)
    assert readout.max_rank == min(len(problem.features_ND) - 1, problem.features_ND.shape[1])
    for rank in readout.ranks():
        ours_NK, refit_NK = readout.logits(problem.fresh_ND, rank), problem.refit(name, rank)
        torch.testing.assert_close(centred(ours_NK), centred(refit_NK), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", ["project", "ridge", "lda"])
def test_logits_match_a_refit_in_their_common_part_too(name):
    torch.testing.assert_close(MANY.readout(name).logits(MANY.fresh_ND, 4), MANY.refit(name, 4))


@pytest.mark.parametrize("name", FITTED)
def test_directions_may_come_from_other_samples(name):
    others = Spectrum.of(moments_of(blobs(labels_of(40, 3), 7, seed=9), 3, given=labels_of(40, 3)))
    readout = getattr(Readout, name)(MANY.moments, spectrum=others, **DIALS[name])
    for rank in readout.ranks():
        refit_NK = MANY.refit(name, rank, others.basis_DD)
        ours_NK = readout.logits(MANY.fresh_ND, rank)
        torch.testing.assert_close(centred(ours_NK), centred(refit_NK), rtol=1e-7, atol=1e-8)


def test_full_rank_is_scikit_learn_on_the_features_as_they_are():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import NearestCentroid

    x, y, asked = (t.numpy() for t in (MANY.features_ND, MANY.labels_N, MANY.fresh_ND))
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(x, y)
    lda_NK = MANY.readout("lda").logits(MANY.fresh_ND, 7)
    expected_NK = torch.from_numpy(lda.decision_function(asked))
    torch.testing.assert_close(centred(lda_NK), centred(expected_NK))

    ridge = Ridge(60 * 0.01 * x.var(0).mean()).fit(x, torch.eye(3)[y].numpy())
    ridge_NK = MANY.readout("ridge").logits(MANY.fresh_ND, 7)
    torch.testing.assert_close(ridge_NK, torch.from_numpy(ridge.predict(asked)))

    nearest_N = NearestCentroid().fit(x, y).predict(asked)
    assert (
        MANY.readout("centroid").logits(MANY.fresh_ND, 7).argmax(1).tolist() == nearest_N.tolist()
    )


@pytest.mark.parametrize("name", ["project", *FITTED])
def test_a_rotation_of_the_features_changes_no_logit(name):
    turn_DD, _ = torch.linalg.qr(gaussian(7, 7, seed=4))
    turned = Problem(
        MANY.features_ND @ turn_DD,
        MANY.labels_N,
        MANY.fresh_ND @ turn_DD,
        MANY.weight_KD @ turn_DD,
        MANY.bias_K,
    )
    for rank in range(1, 8):
        here_NK = MANY.readout(name).logits(MANY.fresh_ND, rank)
        there_NK = turned.readout(name).logits(turned.fresh_ND, rank)
        torch.testing.assert_close(here_NK, there_NK, rtol=1e-8, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(4, 30), st.integers(1, 9), st.integers(0, 1000), st.data())
def test_a_fold_gives_the_logits_of_its_rank(n, width, seed, data):
    problem = Problem.of(n, width, seed)
    readout = problem.readout(data.draw(st.sampled_from(["project", *FITTED])))
    rank = data.draw(st.integers(1, readout.max_rank))
    weight_KD, bias_K = readout.fold(rank)
    assert weight_KD.shape == (CLASSES, width)
    folded_NK = problem.fresh_ND @ weight_KD.T + bias_K
    logits_NK = readout.logits(problem.fresh_ND, rank)
    assert (folded_NK - logits_NK).abs().max() <= 1e-10 * (1 + logits_NK.abs().max())


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["project", *FITTED]),
    st.lists(st.integers(1, 7), min_size=1, max_size=7),
    st.sampled_from([1, 20, 64, 2**19]),
)
def test_running_sums_are_the_logits_at_any_ranks_and_chunk(name, ranks, chunk):
    readout = MANY.readout(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readouts, "_CHUNK", chunk)
        parts = list(readout.prefix_logits(MANY.fresh_ND, ranks))
        predicted_NR = readout.predictions(MANY.fresh_ND, ranks)
    kept = sorted(set(ranks))
    expected_NRK = torch.stack([readout.logits(MANY.fresh_ND, rank) for rank in kept], 1)
    torch.testing.assert_close(torch.cat(parts), expected_NRK, rtol=1e-9, atol=1e-10)
    assert torch.equal(predicted_NR, expected_NRK.argmax(2))
    assert max(part.numel() for part in parts) <= max(chunk, len(kept) * CLASSES)


def test_all_ranks_are_the_default_and_no_features_give_no_predictions():
    readout = MANY.readout("lda")
    assert readout.ranks() == [1, 2, 3, 4, 5, 6, 7]
    assert readout.predictions(MANY.fresh_ND).shape == (25, 7)
    assert readout.predictions(MANY.fresh_ND[:0]).shape == (0, 7)


def test_float32_features_are_read_in_float64():
    low_ND = MANY.fresh_ND.float()
    readout = MANY.readout("ridge")
    assert torch.equal(readout.logits(low_ND, 3), readout.logits(low_ND.double(), 3))
    assert readout.logits(low_ND, 3).dtype == torch.float64


@pytest.mark.parametrize("shrinkage", [None, 0.2])
def test_the_discriminant_is_lda_at_full_rank(shrinkage):
    slow = Readout.lda(MANY.moments, shrinkage=shrinkage)
    found = discriminant(MANY.moments, shrinkage=shrinkage)
    for mine, theirs in zip(found, slow.fold(slow.max_rank), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", ["project", *FITTED])
def test_scaling_multiplies_logits_and_keeps_predictions(name):
    readout = MANY.readout(name)
    scaled = readout.scaled(0.25)
    torch.testing.assert_close(
        scaled.logits(MANY.fresh_ND, 5), 0.25 * readout.logits(MANY.fresh_ND, 5)
    )
    assert torch.equal(scaled.predictions(MANY.fresh_ND), readout.predictions(MANY.fresh_ND))


def test_projecting_twice_is_projecting_once():
    once = MANY.readout("project")
    for rank in range(1, 8):
        twice = Readout.project(Spectrum.of(MANY.moments), *once.fold(rank))
        torch.testing.assert_close(
            twice.logits(MANY.fresh_ND, rank), once.logits(MANY.fresh_ND, rank)
        )


def test_projecting_at_full_rank_is_the_head_itself():
    weight_KD, bias_K = MANY.readout("project").fold(7)
    torch.testing.assert_close(weight_KD, MANY.weight_KD, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(bias_K, MANY.bias_K, rtol=1e-12, atol=1e-12)


def test_projecting_all_that_varies_keeps_the_logits_of_the_samples_seen():
    readout = FEW.readout("project")
    head_NK = FEW.features_ND @ FEW.weight_KD.T + FEW.bias_K
    torch.testing.assert_close(readout.logits(FEW.features_ND, readout.max_rank), head_NK)


def test_projecting_keeps_the_logits_of_the_mean_and_leaves_a_weight_of_that_rank():
    readout, mean_1D = MANY.readout("project"), MANY.features_ND.mean(0, keepdim=True)
    for rank in (1, 2):
        head_1K = mean_1D @ MANY.weight_KD.T + MANY.bias_K
        torch.testing.assert_close(readout.logits(mean_1D, rank), head_1K)
        assert int(torch.linalg.matrix_rank(readout.fold(rank)[0])) == rank


def test_a_head_without_bias_is_projected_about_the_origin_and_keeps_none():
    readout = Readout.project(Spectrum.of(MANY.moments, centred=False), MANY.weight_KD, None)
    _, _, right_DD = torch.linalg.svd(MANY.features_ND, full_matrices=False)
    for rank in range(1, 8):
        weight_KD, bias_K = readout.fold(rank)
        assert not bias_K.any()
        projector_DD = right_DD[:rank].T @ right_DD[:rank]
        torch.testing.assert_close(weight_KD, MANY.weight_KD @ projector_DD)


def test_a_head_of_parameters_is_read_without_its_gradient():
    head = torch.nn.Linear(7, 3)
    readout = Readout.project(Spectrum.of(MANY.moments), head.weight, head.bias)
    assert not readout.logits(MANY.fresh_ND, 7).requires_grad


@pytest.mark.parametrize("name", FITTED)
def test_permuted_labels_teach_nothing(name):
    labels_N, fresh_N = labels_of(400, 4), labels_of(400, 4, seed=1)
    permuted = {f"permuted {k}": labels_N[gaussian(400, seed=k).argsort()] for k in range(40)}
    moments = moments_of(blobs(labels_N, 8), 4, given=labels_N, **permuted)
    fresh_ND = blobs(fresh_N, 8, seed=1)

    def accuracy(label_set):
        predicted_N = getattr(Readout, name)(moments, label_set).logits(fresh_ND, 8).argmax(1)
        return float((predicted_N == fresh_N).double().mean())

    assert accuracy("given") > 0.9
    assert sum(map(accuracy, permuted)) / 40 == pytest.approx(0.25, abs=0.08)


def test_oas_shrinkage_is_its_equation():
    features_ND = gaussian(30, 6) * torch.arange(1, 7)
    covariance_DD = torch.cov(features_ND.T, correction=0)
    square, trace = float((covariance_DD @ covariance_DD).trace()), float(covariance_DD.trace())
    expected = ((1 - 2 / 6) * square + trace**2) / ((30 + 1 - 2 / 6) * (square - trace**2 / 6))
    assert oas_shrinkage(covariance_DD, 30) == pytest.approx(expected)
    assert 0 < expected < 1


def test_oas_shrinkage_is_scikit_learn_in_many_dimensions():
    from sklearn.covariance import oas

    features_ND = gaussian(50, 200) * torch.linspace(1, 3, 200)
    theirs = oas(features_ND.numpy())[1]
    ours = oas_shrinkage(torch.cov(features_ND.T, correction=0), 50)
    assert ours == pytest.approx(theirs, rel=0.02)


def test_oas_shrinkage_vanishes_with_many_samples_and_is_whole_for_equal_variances():
    assert oas_shrinkage(torch.diag(torch.tensor([4.0, 1.0])).double(), 10**9) < 1e-6
    assert oas_shrinkage(3 * torch.eye(4).double(), 100) == 1
    assert oas_shrinkage(torch.ones(1, 1).double(), 100) == 1


def test_lda_shrinks_by_oas_unless_told():
    within_DD = MANY.moments.within_DD() / 60
    told = Readout.lda(MANY.moments, shrinkage=oas_shrinkage(within_DD, 60))
    assert torch.equal(Readout.lda(MANY.moments).gains_RK, told.gains_RK)


def message_of(call, *args, **kwargs):
    with pytest.raises(DataError) as error:
        call(*args, **kwargs)
    return str(error.value)


@pytest.mark.parametrize("rank", [0, -1, 10])
@pytest.mark.parametrize("method", ["fold", "ranks", "logits"])
def test_a_rank_beyond_the_samples_is_refused_with_the_limit(method, rank):
    readout = FEW.readout("lda")
    args = {"fold": (rank,), "ranks": ([1, rank],), "logits": (FEW.fresh_ND, rank)}[method]
    assert message_of(getattr(readout, method), *args) == (
        f"rank {rank}; wanted 1..9, the directions in which the features vary. "
        "Choose a rank in that range; more samples than features give all of them."
    )


def test_no_rank_at_all_is_refused():
    assert message_of(MANY.readout("lda").ranks, []) == (
        'no rank to look at; wanted at least one of 1..7. Name some ranks, or pass "all".'
    )


def test_a_head_without_bias_needs_an_uncentred_spectrum():
    spectrum = Spectrum.of(MANY.moments)
    assert message_of(Readout.project, spectrum, MANY.weight_KD, None) == (
        "a head without bias and a centred spectrum; "
        "wanted a bias, which takes up what the cut removes from the mean. "
        "Use Spectrum.of(moments, centred=False), which keeps the head without bias."
    )


def test_a_head_of_another_width_is_refused():
    spectrum = Spectrum.of(MANY.moments)
    assert message_of(Readout.project, spectrum, FEW.weight_KD, FEW.bias_K) == (
        "a head that reads 14 features and a spectrum of 7; "
        "wanted the spectrum of the features that the head receives. "
        "Take the moments at the input of this head."
    )


@pytest.mark.parametrize("name", FITTED)
def test_a_spectrum_of_another_width_is_refused(name):
    other = Spectrum.of(FEW.moments)
    assert message_of(getattr(Readout, name), MANY.moments, spectrum=other) == (
        "a spectrum of 14 and moments of 7 features; wanted one width. "
        "Take both from the same features."
    )


@pytest.mark.parametrize("name", FITTED)
def test_readouts_with_a_missing_class_are_refused(name):
    moments = moments_of(MANY.features_ND, CLASSES + 1, given=MANY.labels_N)
    assert message_of(getattr(Readout, name), moments) == (
        "label set 'given' has no sample of class 3 among 60 samples; "
        "wanted at least one sample of each of the 4 classes. "
        'Bring the missing classes, or use readout="project", which needs no labels.'
    )


@pytest.mark.parametrize("name", FITTED)
def test_readouts_of_an_unknown_label_set_are_refused(name):
    assert message_of(getattr(Readout, name), MANY.moments, "clean") == (
        "label set 'clean' is not among ['given']; wanted a label set that these moments hold. "
        "Name it in Moments(..., label_sets=...)."
    )


@pytest.mark.parametrize("name", ["project", *FITTED])
def test_readouts_of_constant_features_are_refused(name):
    same_ND = torch.full((9, 7), 0.1, dtype=torch.float64)
    constant = replace(MANY, features_ND=same_ND, labels_N=labels_of(9, 3))
    assert message_of(constant.readout, name) == (
        "features that are the same for all 9 samples; wanted features that vary. "
        "Check that the inputs differ and that the layer before the head is alive."
    )


def test_lda_of_classes_without_spread_is_refused():
    collapsed = moments_of(gaussian(3, 7)[MANY.labels_N], CLASSES, given=MANY.labels_N)
    assert message_of(Readout.lda, collapsed) == (
        "features that are the same for all samples of a class of 'given'; "
        "wanted features that vary within classes. "
        'Use readout="centroid", which needs no spread.'
    )
    assert Readout.centroid(collapsed).max_rank == 2


@pytest.mark.parametrize("penalty", [-0.5, float("nan")])
def test_a_penalty_below_zero_is_refused(penalty):
    assert message_of(Readout.ridge, MANY.moments, penalty=penalty) == (
        f"penalty {penalty}; wanted a number of at least 0. Leave penalty out for its default."
    )


@pytest.mark.parametrize("shrinkage", [-0.1, 1.5, float("nan")])
def test_a_shrinkage_outside_0_to_1_is_refused(shrinkage):
    assert message_of(Readout.lda, MANY.moments, shrinkage=shrinkage) == (
        f"shrinkage {shrinkage}; wanted a number from 0 to 1. "
        "Leave it out for the oracle approximating shrinkage."
    )


def test_a_singular_covariance_is_refused_with_its_rank():
    flat_ND = features_with(torch.tensor([4.0, 2.0, 0.0, 0.0]).double(), 30)
    flat = moments_of(flat_ND, 3, given=labels_of(30, 3))
    axes = Spectrum.of(flat).rebased(Spectrum.of(flat).basis_DD[:, [0, 2, 3, 1]])
    assert message_of(Readout.ridge, flat, spectrum=axes, penalty=0) == (
        "the covariance in the leading 4 directions is singular at rank 2; "
        "wanted a positive definite covariance. "
        "Leave the shrinkage or penalty at its default, or raise it above 0."
    )
    assert Readout.ridge(flat, spectrum=axes).max_rank == 4
