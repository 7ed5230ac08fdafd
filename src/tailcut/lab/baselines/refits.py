"""What tailcut is compared with, on the same trained network: every method under its paper's name.

A baseline maps the features of a trained network to predictions, or changes its weights; none
trains the network again. A setting that a paper leaves open is chosen by the accuracy on the
noisy holdout.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tailcut.lab.baselines.rog import rog, rog_ensemble
from tailcut.lab.baselines.subject import Subject, Way, folded, linear
from tailcut.lab.baselines.unlearning import cuts, ssd
from tailcut.network.batches import read
from tailcut.network.filters import Filter, truncate_layers
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.stream import own_copy
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum

SAP_STRENGTHS = (1e4, 3e4, 1e5, 3e5, 1e6)
"""The paper's grid."""

_NEIGHBOURS = 5
_TRUSTED = 1000
_MASC_SHARES = (1, 0.75, 0.99)
_RIDGE_PENALTIES = (1e-6, 1e-3, 1e-1)


def papers_cut(subject: Subject) -> float:
    """The own head behind the leading directions of the penultimate features, nothing else.

    Explicit Spectral Truncation as the abstract of arXiv 2603.02293v1 (later withdrawn) has
    it. How the rank is to be chosen, it does not say: here by the holdout.
    """
    return papers_choice(papers_curve(subject))


def papers_choice(curve: dict[str, list[Any]]) -> float:
    """Test accuracy of a `papers_curve` at the rank that is best on the holdout."""
    return curve["test"][int(np.argmax(curve["holdout"]))]


def papers_curve(subject: Subject) -> dict[str, list[Any]]:
    """The paper's cut at eight ranks an octave.

    Returns:
        `rank`, `holdout` (accuracy on held-out given labels) and `test` (on true ones).
    """
    readout = Readout.project(Spectrum.of(subject.moments), *subject.parameters())
    ranks = geometric_ranks(readout.max_rank, per_octave=8)
    found: dict[str, list[Any]] = {"rank": list(ranks)}
    for name, (features_ND, labels_N) in (("holdout", subject.held), ("test", subject.asked)):
        predicted_NR = readout.predictions(features_ND, ranks)
        found[name] = (predicted_NR == labels_N[:, None]).double().mean(0).tolist()
    return found


def ridge_refit(subject: Subject) -> float:
    """Least squares on the given labels, all directions, penalty by the holdout."""
    return subject.best(
        [folded(Readout.ridge(subject.moments, penalty=penalty)) for penalty in _RIDGE_PENALTIES]
    )


def logistic_refit(subject: Subject) -> float:
    """scikit-learn's LogisticRegression on the given labels, C by the holdout."""
    return subject.best([linear(*head) for head in logistic_heads(*subject.known)])


def logistic_heads(features_ND: Tensor, given_N: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight (K x D) and bias (K,) of scikit-learn's LogisticRegression.

    Args:
        features_ND: Scaled by one number for all, their standard deviation.
        given_N: Labels 0..K-1, each of which is there.

    Yields:
        One head each for C = 0.0001, 0.01 and 1.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    scale = float(features_ND.std())
    for inverse in (1e-4, 1e-2, 1.0):
        fit = LogisticRegression(C=inverse, max_iter=200, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit.fit((features_ND / scale).numpy(), given_N.numpy())
        weight_KD, bias_K = torch.from_numpy(fit.coef_), torch.from_numpy(fit.intercept_)
        if len(bias_K) == 1:  # of two classes it holds the second alone, as against the first
            weight_KD, bias_K = (torch.cat([0 * each, each]) for each in (weight_KD, bias_K))
        yield weight_KD.double() / scale, bias_K.double()


def lda_refit(subject: Subject) -> float:
    """LDA on the given labels of the training samples as they are, all directions."""
    return subject.accuracy(folded(Readout.lda(subject.moments)))


def lda_on_holdout(subject: Subject) -> float:
    """LDA fitted on the holdout itself, which the network has not learned, all directions."""
    features_ND, given_N = subject.held
    moments = Moments(subject.head.width, subject.head.classes)
    readout = Readout.lda(moments.update(features_ND, given=given_N))
    return subject.accuracy(folded(readout))


def nearest_mean(subject: Subject) -> float:
    """Nearest class mean in all directions."""
    return subject.accuracy(folded(Readout.centroid(subject.moments)))


def nearest_neighbours(subject: Subject) -> float:
    """Majority of the 5 nearest training features by cosine (as in Ketha & Ramaswamy 2025)."""
    features_ND, given_N = subject.known
    unit_ND = torch.nn.functional.normalize(features_ND)
    asked_ND, true_N = subject.asked
    hits = 0
    for rows_n in torch.arange(len(asked_ND)).split(1000):
        near_nM = (asked_ND[rows_n] @ unit_ND.T).topk(_NEIGHBOURS).indices
        hits += int((given_N[near_nM].mode(1)[0] == true_N[rows_n]).sum())
    return hits / len(asked_ND)


def sap(subject: Subject) -> float:
    """SAP: scaled activation projection (Kodge et al., AAAI 2025).

    Every layer, the head too, is filtered by a s / ((a - 1) s + 1) in the directions of its
    inputs on the 1 000 training samples of least loss; no BatchNorm step. Deviation: patch
    moments come from a random draw of positions.
    """
    given = subject.known[1]
    weight_KD, bias_K = subject.parameters()
    logits_NK = subject.known[0] @ weight_KD.T + bias_K
    losses_N = torch.nn.functional.cross_entropy(logits_NK, given, reduction="none")
    trusted_N = torch.zeros(len(given), dtype=torch.bool)
    trusted_N[losses_N.argsort()[:_TRUSTED]] = True
    layers, place = LayerMoments(own_copy(subject.network), int(trusted_N.sum())), 0
    for batch in read(subject.train):
        trusted_n = trusted_N[place : place + len(batch)]
        place += len(batch)
        assert isinstance(batch.inputs, Tensor)
        if trusted_n.any():
            layers.update(batch.inputs[trusted_n])
    return subject.best_network(
        _truncated(subject.network, layers, strength) for strength in SAP_STRENGTHS
    )


def masc(subject: Subject) -> float:
    """MASC: nearest class subspace by angle (Ketha & Ramaswamy 2025).

    argmax_c |P_c h| / |h| with P_c the leading uncentred directions of class c; of rank 1, or
    of 75 or 99 % of the energy, by the holdout. Last hidden layer only.
    """
    features_ND, given_N = subject.known
    bases = [_directions(features_ND[given_N == k]) for k in range(subject.head.classes)]

    def way(share: float) -> Way:
        return lambda asked_ND: torch.stack(
            [
                (asked_ND.double() @ basis_DD[:, : _rank_of(energy_D, share)]).norm(dim=1)
                for energy_D, basis_DD in bases
            ],
            1,
        )

    return subject.best([way(share) for share in _MASC_SHARES])


def velpic(subject: Subject) -> float:
    """VeLPIC: MASC of rank 1 as a linear head (Ketha & Ramaswamy 2025).

    logits_c = <h, v_c> with v_c the first uncentred direction of class c, turned so that the
    training features lie on its positive side on average; no bias.
    """
    features_ND, given_N = subject.known
    mean_D = features_ND.double().mean(0)
    rows: list[Tensor] = []
    for k in range(subject.head.classes):
        first_D = _directions(features_ND[given_N == k])[1][:, 0]
        rows.append(first_D * (1 if first_D @ mean_D >= 0 else -1))
    return subject.accuracy(linear(torch.stack(rows), torch.zeros(len(rows))))


def head_svd(subject: Subject) -> float:
    """LIP / LASER: the head's weight cut to its leading singular triples (2505.16159, 2312.13558).

    The rank by the holdout. Deviation: LIP's second step, label ambiguity purification, is
    not part of it.
    """
    weight_KD, bias_K = subject.parameters()
    left_KR, values_R, right_RD = torch.linalg.svd(weight_KD.double(), full_matrices=False)
    return subject.best(
        [
            linear((left_KR[:, :rank] * values_R[:rank]) @ right_RD[:rank], bias_K)
            for rank in range(1, len(values_R) + 1)
        ]
    )


def fine_refit(subject: Subject) -> float:
    """FINE filter (Kim et al., NeurIPS 2021), then LDA on the labels it keeps.

    Of each class the squared alignment of the unit features with the first uncentred
    direction, split by a two-component Gaussian mixture; kept where the aligned component has
    more than half of the probability.
    """
    from sklearn.mixture import GaussianMixture

    features_ND, given_N = subject.known
    unit_ND = torch.nn.functional.normalize(features_ND.double())
    moments = Moments(subject.head.width, subject.head.classes)
    for k in range(subject.head.classes):
        inside_N = given_N == k
        first_D = _directions(unit_ND[inside_N])[1][:, 0]
        alignment_n1 = (unit_ND[inside_N] @ first_D).square()[:, None].numpy()
        mixture = GaussianMixture(2, random_state=0).fit(alignment_n1)
        means: Any = mixture.means_
        aligned = int(np.argmax(means[:, 0]))
        kept_n = torch.from_numpy(mixture.predict_proba(alignment_n1)[:, aligned] > 0.5)
        kept_n = kept_n if kept_n.any() else torch.ones_like(kept_n)
        moments.update(features_ND[inside_N][kept_n], given=given_N[inside_N][kept_n])
    return subject.accuracy(folded(Readout.lda(moments)))


COMPETITORS: dict[str, Callable[[Subject], float]] = {
    "paper's cut": papers_cut,
    "ridge refit": ridge_refit,
    "logistic refit": logistic_refit,
    "LDA refit": lda_refit,
    "LDA on the holdout": lda_on_holdout,
    "nearest mean": nearest_mean,
    "5 nearest neighbours": nearest_neighbours,
    "SAP": sap,
    "RoG, last layer": rog,
    "RoG, ensemble of layers": rog_ensemble,
    "MASC, last layer": masc,
    "VeLPIC": velpic,
    "LIP / LASER head": head_svd,
    "FINE + LDA": fine_refit,
    "SSD on the audit's suspects": ssd,
    "CUTS": cuts,
}
"""Accuracy on the test samples after the trained network was seen once, by name."""


def _directions(features_nD: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (D,), largest first, and uncentred directions (columns of D x D)."""
    features_nD = features_nD.double()
    energy_D, basis_DD = torch.linalg.eigh(features_nD.T @ features_nD)
    return energy_D.flip(0).clamp(min=0), basis_DD.flip(1)


def _rank_of(energy_D: Tensor, share: float) -> int:
    """1, or the fewest directions that hold a share of the energy."""
    if share == 1:
        return 1
    return 1 + int((energy_D.cumsum(0) < share * energy_D.sum()).sum())


def _truncated(network: nn.Module, moments: LayerMoments, strength: float) -> nn.Module:
    twin = own_copy(network)
    truncate_layers(twin, moments, Filter(strength))
    return twin
