"""diagnose: what is in this network, and would a cut help? Nothing is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.network.batches import read
from tailcut.network.head import Head
from tailcut.network.loaders import is_scalar
from tailcut.network.passes import Passes, opened
from tailcut.network.stream import logits_of
from tailcut.network.views import Views
from tailcut.numerics.calibration import calibration_error
from tailcut.numerics.checks import checked_labels
from tailcut.numerics.choice import Gain
from tailcut.numerics.curve import RankCurve, geometric_ranks, rank_curve
from tailcut.numerics.moments import Moments
from tailcut.numerics.segregation import Segregation
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.candidates import untouched, weigh
from tailcut.verbs.class_names import require_same_names
from tailcut.verbs.cutting import Cut, cut
from tailcut.verbs.decision import Decision, decide
from tailcut.verbs.diagnosis import Diagnosis, Judged
from tailcut.verbs.groundwork import Jury, bare, lay
from tailcut.verbs.options import Options
from tailcut.verbs.progress import Steps, steps
from tailcut.verbs.readouts import features_of
from tailcut.verbs.survey import PERMUTED, Survey, survey, with_clean
from tailcut.verbs.weighed import Weighed


def diagnose(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    clean: Any = None,
    views: Views = "auto",
    depth: str = "auto",
    readout: str = "auto",
    rank: int | str = "auto",
    force: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Diagnosis:
    """Look at the spectrum, measure the memory and the noise, and judge every cut.

    Args:
        model: A trained classifier; it is never changed.
        train: The batches it was trained on, with the labels it was trained on.
        holdout: Batches it was not trained on; noisy labels will do, 500 samples are enough.
        clean: True labels where they are known, used to report and never to choose: a vector
            of one for each training sample, or batches of other samples with true labels.
        views: "auto", or names or callables: perturbations that keep the label.
        depth: "head" (cut the penultimate features only), "all" (every layer) or "auto".
        readout: "project", "ridge", "centroid", "lda" or "auto".
        rank: Directions to keep, or "auto".
        force: Go on although the network does not predict its training labels: a linear probe
            of its features rather than a diagnosis of what it has learned.
        seed: Of samples, views and halves; one seed gives one result.
        device: To work on; the model's own if not given.
        progress: Show the running step on a terminal.

    Raises:
        HeadError: No linear head that gives the network's logits.
        DataError: Data that cannot be used.
    """
    with steps(shown=progress) as step:
        return examine(
            model,
            train,
            holdout,
            Options(views, depth, readout, rank, force, seed),
            clean=clean,
            device=device,
            step=step,
        )[0]


def examine(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None,
    options: Options,
    *,
    clean: Any,
    device: torch.device | str | None,
    step: Steps,
) -> tuple[Diagnosis, Cut, Head]:
    """The work behind `diagnose` and `repair`: the findings, the cut network and its head."""
    clean_N, clean_batches = _told_apart(clean)
    for loader in () if options.force else (train, holdout, clean_batches):
        require_same_names(model, loader)
    train = Passes(train, ordered=clean_N is not None)
    holdout = opened(holdout, "held-out samples")
    clean_batches = opened(clean_batches, "samples with true labels")
    found = survey(
        model, train, holdout, clean_N=clean_N, device=device, seed=options.seed, step=step
    )
    if options.force or found.agreement.fits:
        weighed, decision = _decided(found, train, options, step)
    else:
        weighed = untouched(bare(found))
        decision = Decision("unknown", 0, found.agreement.doubt, None)
    step("folding and curves")
    made = cut(weighed, decision.index)
    diagnosis = Diagnosis(
        verdict=decision.verdict,
        reason=decision.reason,
        chosen=weighed.candidates[decision.index],
        gain=decision.gain,
        judges=None if weighed.jury is None else weighed.jury.described,
        candidates=weighed.table(decision.index, clean_batches),
        curve=_curve(made, found.head, weighed.jury, clean_batches),
        spectrum=found.spectrum,
        moments=found.moments,
        memorisation=found.memorisation,
        agreement=found.agreement,
        views=weighed.groundwork.screened,
        layers=weighed.groundwork.coverage,
        noise=weighed.noise,
        segregation=_segregation(found.moments, found.spectrum),
        holdout=_held_out(weighed.jury, weighed.accuracy_of(0), decision.gain, decision.index),
        clean=_on_true_labels(found, made, train, clean_N, clean_batches),
        seconds=step.seconds,
    )
    return diagnosis, made, found.head


def _decided(
    found: Survey, train: Batches, options: Options, step: Steps
) -> tuple[Weighed, Decision]:
    """All candidates and the verdict."""
    seed = options.seed
    if options.readout != "project":
        found.moments.require_classes()
    ground = lay(found, options.views, options.depth, seed=seed, step=step)
    weighed = weigh(ground, train, options, step=step)
    decision = decide(weighed, asked=options.asked)
    if not found.agreement.fits:
        decision = replace(decision, reason=f"{decision.reason}; {found.agreement.probed}")
    return weighed, decision


def _told_apart(clean: Any) -> tuple[Tensor | None, Batches | None]:
    """True training labels (a vector of numbers), or batches of other samples."""
    if clean is None:
        return None, None
    if isinstance(clean, Tensor) or getattr(clean, "ndim", 0) == 1:
        return checked_labels(clean, None, "clean"), None
    if isinstance(clean, (list, tuple)) and clean and all(map(is_scalar, clean)):
        return checked_labels(clean, None, "clean"), None
    return None, clean


def _held_out(
    jury: Jury | None, before: float | None, gain: Gain | None, index: int
) -> Judged | None:
    if jury is None or before is None or gain is None:
        return None
    return Judged(len(jury.labels_N), before, before + (gain.given if index else 0))


def _on_true_labels(
    found: Survey,
    made: Cut,
    train: Batches,
    clean_N: Tensor | None,
    clean: Batches | None,
) -> Judged | None:
    """Untouched and cut network on the clean batches, or on the training inputs."""
    if clean is not None:
        known = ((batch, batch.labels) for batch in read(clean, found.head.classes))
    elif clean_N is not None:
        known = _with_known(train, clean_N, found.head.classes)
    else:
        return None
    labels, said = [], ([], [])
    for batch, true_N in known:
        labels.append(true_N.cpu())
        for model, logits in zip((found.model, made.model), said, strict=True):
            logits.append(logits_of(model, batch.inputs).float().cpu())
    labels_N = torch.cat(labels)
    before_NK, after_NK = (torch.cat(logits) for logits in said)
    before, after = (
        float((logits_NK.argmax(1) == labels_N).double().mean())
        for logits_NK in (before_NK, after_NK)
    )
    errors = (calibration_error(each.softmax(1), labels_N) for each in (before_NK, after_NK))
    return Judged(len(labels_N), before, after, tuple[float, float](errors))


def _with_known(train: Batches, clean_N: Tensor, classes: int) -> Any:
    return ((batch, true_N) for batch, true_N in with_clean(train, clean_N, classes))


def _curve(made: Cut, head: Head, jury: Jury | None, clean: Batches | None) -> RankCurve | None:
    ranks = geometric_ranks(made.probe.max_rank, per_octave=8)
    curves: list[RankCurve] = []
    if jury is not None:
        features_ND = features_of(head, made.before, jury.batches)
        curves.append(rank_curve(made.probe, [(features_ND, {"given": jury.labels_N})], ranks))
    if clean is not None:
        batches = (
            (head.features_and_logits(made.before, batch.inputs)[0], {"clean": batch.labels})
            for batch in read(clean, head.classes)
        )
        curves.append(rank_curve(made.probe, batches, ranks))
    if not curves:
        return None
    return curves[0] if len(curves) == 1 else curves[0].with_labels(curves[1])


def _segregation(moments: Moments, spectrum: Spectrum) -> Segregation | None:
    """None where the true labels are unknown, or the given ones hold no random noise."""
    if "clean" not in moments.label_sets:
        return None
    try:
        return Segregation.of(moments, spectrum, permuted=PERMUTED)
    except DataError:
        return None
