"""A classifier of feature matrices: labels inferred, a rank chosen, one linear map that is left."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tailcut.errors import DataError
from tailcut.network.sample import fingerprints
from tailcut.numerics import fits
from tailcut.numerics.choice import unless_another_leads
from tailcut.numerics.crossfit import FoldMoments, Folds
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.latent import Latent, Noise
from tailcut.numerics.readout import Readout
from tailcut.numerics.scores import Scores
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.inference import half_rank
from tailcut.verbs.survey import SAMPLE


@dataclass(frozen=True, eq=False)
class MatrixFit:
    """What is learned from features and their noisy labels.

    Attributes:
        weight_KD: Of the logits of the true classes, float64; softmax of logits is calibrated.
        bias_K: Theirs.
        spectrum: Of the features.
        rank: Directions kept, 1..D.
        rounds: Of inferring the true labels that were made: 0 where some class is too rare.
        noise: Estimated label noise; None where some class is too rare to tell.
    """

    weight_KD: Tensor
    bias_K: Tensor
    spectrum: Spectrum
    rank: int
    rounds: int
    noise: Noise | None


def fit_matrix(
    features_ND: Tensor,
    given_N: Tensor,
    classes: int,
    *,
    readout: str,
    rank: int | Literal["auto"],
    rounds: int,
) -> MatrixFit:
    """Fit a readout to the true labels, as far as features and given labels tell of them.

    The labels are inferred by `Folds.latents` in half of the directions. Among ranks, four to an
    octave, all directions are kept unless another rank leads by a standard error in out-of-fold
    log loss of the given labels, each under the noise that it explains them best by
    (`Scores.explained`). Folds are drawn by the content of rows: order has no part.

    Args:
        features_ND: Finite, float64.
        given_N: Labels 0..K-1, noisy; every class has a sample.
        classes: K, at least 2.
        readout: A name in `numerics.fits.FITS`.
        rank: Directions to keep, or "auto".
        rounds: Of inference; 0 takes the labels as they are given.

    Raises:
        DataError: Constant features, too few samples, an unknown readout, or a rank too high.
    """
    numbers_N = torch.from_numpy(fingerprints(features_ND).view("int64"))
    folds = FoldMoments(features_ND.shape[1], classes)
    whole = folds.update(features_ND[None], given_N, numbers_N).whole()
    spectrum = Spectrum.of(whole)
    state = _inferred(folds, spectrum, rounds)
    soft_NK = torch.nn.functional.one_hot(given_N, classes) if state is None else state.labels()
    made = fits.fitted(readout, folds.relabelled(whole, soft_NK.double()), "latent", spectrum)
    ranks = geometric_ranks(made.max_rank) if rank == "auto" else made.ranks([rank])
    scores = _scored(folds, spectrum, soft_NK.double(), readout, ranks)
    best, heat, noise = _chosen(scores, len(ranks) - 1)
    weight_KD, bias_K = made.scaled(1 / heat).fold(ranks[best])
    noise = state.estimate.noise if state else noise
    return MatrixFit(weight_KD, bias_K, spectrum, ranks[best], rounds if state else 0, noise)


def _inferred(folds: FoldMoments, spectrum: Spectrum, rounds: int) -> Latent | None:
    """The true labels; None where none are to be inferred, or a class is too rare for it."""
    if not rounds:
        return None
    with suppress(DataError):
        half = folds.along(spectrum, half_rank(spectrum))
        *_, state = half.latents(rounds)
        if half.every_class_in(state.labels()):
            return state
    return None


def _scored(
    folds: FoldMoments, spectrum: Spectrum, soft_NK: Tensor, readout: str, ranks: Sequence[int]
) -> Scores | None:
    """Of each rank, out of fold; None where some class is too rare for folds."""
    with suppress(DataError):
        along = folds.along(spectrum, spectrum.rank)
        step = -(-len(soft_NK) // SAMPLE)
        logits_nCK = _out_of_fold(along, spectrum, soft_NK, readout, ranks, step)
        return Scores.explained(logits_nCK, along.given_N[::step])
    return None


def _out_of_fold(
    folds: Folds,
    spectrum: Spectrum,
    soft_NK: Tensor,
    readout: str,
    ranks: Sequence[int],
    step: int,
) -> Tensor:
    """Logits of every `step`-th sample at each rank (n x C x K), by readouts of other folds.

    Args:
        folds: In all directions of the spectrum.
        spectrum: Of the features.
        soft_NK: Probabilities of the classes, to fit to.
        readout: See `fit_matrix`.
        ranks: Ascending.
        step: 1 for all samples.
    """
    width = folds.means_NR.shape[1]
    values_R, axes_RR = spectrum.eigenvalues_D[:width], torch.eye(width, dtype=torch.float64)
    axes = Spectrum(values_R, axes_RR, torch.zeros_like(values_R), spectrum.n)
    means_nR, fold_n = folds.means_NR[::step], folds.fold_N[::step]
    logits_nCK = torch.empty(len(fold_n), len(ranks), folds.classes, dtype=torch.float64)
    for fold, others in enumerate(folds.others):
        mine_n, outside_N = fold_n == fold, folds.fold_N != fold
        if not mine_n.any():
            continue
        soft_mK = soft_NK[outside_N]
        sums_KR = soft_mK.T @ folds.means_NR[outside_N]
        made: Readout = fits.fitted(
            readout, others.labelled("latent", soft_mK.sum(0), sums_KR), "latent", axes
        )
        logits_nCK[mine_n] = torch.cat(list(made.prefix_logits(means_nR[mine_n], ranks)))
    return logits_nCK


def _chosen(scores: Scores | None, default: int) -> tuple[int, float, Noise | None]:
    """Place of the rank, temperature of its logits, and the noise by it."""
    if scores is None or scores.transition_CKK is None or scores.wrong_C is None:
        return default, 1.0, None
    best = unless_another_leads(scores.losses(), default)
    noise = Noise(float(scores.wrong_C[best]), scores.transition_CKK[best].double())
    return best, scores.temperature(best), noise
