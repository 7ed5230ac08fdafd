"""Single numbers that describe the features of a network."""

from __future__ import annotations

from tailcut.errors import DataError
from tailcut.lab.claims.features import Features, Probe
from tailcut.numerics.moments import Moments
from tailcut.numerics.segregation import Segregation
from tailcut.numerics.spectrum import Spectrum, coding_rate_reduction, nc1


def scalars(
    spectrum: Spectrum, moments: Moments, train: Features, holdout: Features, test: Features
) -> Probe:
    """Accuracies of the network as it is, its spectrum, and where signal and noise sit.

    `memorised`: share of wrongly labelled training samples whose wrong label is predicted.
    """
    flipped_N, predicted_N = train.flipped_N, train.logits_NK.argmax(1)
    classes = moments.classes
    per_class = [
        Moments(moments.width, classes).update(
            train.features_ND[rows_N], given=train.clean_N[rows_N]
        )
        for rows_N in (train.clean_N == k for k in range(classes))
        if rows_N.any()
    ]
    found: Probe = {
        "fit": float((predicted_N == train.given_N).double().mean()),
        "holdout": float((holdout.logits_NK.argmax(1) == holdout.given_N).double().mean()),
        "test": float((test.logits_NK.argmax(1) == test.clean_N).double().mean()),
        "width": spectrum.width,
        "rank": spectrum.rank,
        "effective_rank": spectrum.effective_rank,
        "participation_ratio": spectrum.participation_ratio,
        "tail_exponent": spectrum.tail_exponent(),
        "nc1_given": nc1(moments, "given"),
        "nc1_true": nc1(moments, "clean"),
        "coding_rate_reduction": coding_rate_reduction(per_class),
    }
    if flipped_N.any():
        found["memorised"] = float(
            (predicted_N[flipped_N] == train.given_N[flipped_N]).double().mean()
        )
    return found | {"segregation": _segregation(spectrum, moments)}


def _segregation(spectrum: Spectrum, moments: Moments) -> Probe | None:
    """None where there is no noise that the true labels do not decide, or no signal."""
    permuted = [name for name in moments.label_sets if name.startswith("permuted")]
    try:
        found = Segregation.of(moments, spectrum, permuted=permuted)
    except DataError:
        return None
    signal_depth, noise_depth = found.depth
    return {
        "index": found.index,
        "null": float(found.null_index.mean()),
        "p_value": found.p_value,
        "signal_depth": signal_depth,
        "noise_depth": noise_depth,
        "signal_explained": float(found.signal_R.sum()),
        "noise_explained": float(found.noise_R.sum()),
        "noise_by_chance": float(found.chance()[-1]),
        "noise_explained_permuted": float(found.null_QR.sum(1).mean()),
    }
