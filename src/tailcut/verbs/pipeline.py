"""The pipeline behind `repair` and `diagnose`: from a network and its data to what was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import DataError
from tailcut.network.batches import Batch, read
from tailcut.network.head import Head
from tailcut.network.loaders import is_scalar
from tailcut.network.modules import inner, network_in
from tailcut.network.passes import Passes, opened
from tailcut.network.stream import logits_of
from tailcut.numerics.calibration import calibration_error
from tailcut.numerics.checks import checked_labels
from tailcut.numerics.curve import RankCurve, geometric_ranks, rank_curve
from tailcut.numerics.references import reference_ranks
from tailcut.numerics.segregation import Segregation, SegregationIndex
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics
from tailcut.verbs.class_names import require_same_names
from tailcut.verbs.cutting import Folded, fold
from tailcut.verbs.diagnosis import BeforeAfter, Diagnosis
from tailcut.verbs.evaluation import Evaluation, evaluate, unevaluated
from tailcut.verbs.options import Options
from tailcut.verbs.preparation import Holdout, nothing_to_cut, prepare
from tailcut.verbs.progress import Steps
from tailcut.verbs.result import versions
from tailcut.verbs.survey import PERMUTED, Survey, survey, with_clean
from tailcut.verbs.verdict import Decision, decide


@dataclass(frozen=True, eq=False)
class Examined:
    """What was found, and the network that it makes.

    Attributes:
        diagnosis: What was found.
        network: Our own copy, cut where the verdict says so.
    """

    diagnosis: Diagnosis
    network: nn.Module


def examine(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None,
    options: Options,
    *,
    clean: Any,
    device: torch.device | str | None,
    step: Steps,
) -> Examined:
    """Survey, prepare, evaluate, decide, fold, and measure what was made; see `repair`."""
    clean_N, clean_batches = _either(clean)
    for loader in () if options.force else (train, holdout, clean_batches):
        require_same_names(model, loader)
    train = Passes(train, ordered=clean_N is not None)
    holdout = opened(holdout, "held-out samples")
    clean_batches = opened(clean_batches, "samples with true labels")
    found = survey(
        model, train, holdout, clean_N=clean_N, device=device, seed=options.seed, step=step
    )
    evaluation, decision = _decided(found, train, options, step)
    step("folding and curves")
    made = fold(evaluation, decision.chosen)
    diagnosis = _diagnosis(evaluation, decision, made, clean_batches)
    true = _true_labels(train, clean_N, clean_batches, found.head.classes)
    measured = None if true is None else _on_true_labels(found.model, made.model, true)
    return Examined(replace(diagnosis, clean=measured, seconds=step.seconds), made.model)


def _diagnosis(
    evaluation: Evaluation,
    decision: Decision,
    made: Folded,
    clean: Batches | None,
) -> Diagnosis:
    """All that was found, but for the accuracy on true labels and the seconds."""
    found, preparation = evaluation.preparation.survey, evaluation.preparation
    return Diagnosis(
        verdict=decision.verdict,
        reason=decision.reason,
        chosen=decision.chosen.cut,
        gain=decision.gain,
        candidates=evaluation.table(decision.chosen, clean),
        curve=_curve(made, found.head, evaluation.holdout, clean),
        head=found.head,
        spectrum=found.spectrum,
        references=reference_ranks(found.moments, found.spectrum),
        memorisation=found.memorisation,
        agreement=found.agreement,
        views=preparation.screened,
        layers=preparation.coverage,
        noise=evaluation.noise,
        segregation=_segregation(found.moments, found.spectrum),
        holdout=_held_out(evaluation, decision),
        clean=None,
        versions=versions(),
        moments=found.moments,
    )


def _decided(
    found: Survey, train: Batches, options: Options, step: Steps
) -> tuple[Evaluation, Decision]:
    """All candidates and the verdict; nothing is fitted where the labels are not the network's."""
    if not (options.force or found.agreement.fits):
        alone = unevaluated(nothing_to_cut(found))
        return alone, Decision("unknown", alone.untouched, found.agreement.doubt)
    if options.fits_labels:
        found.moments.require_classes()
    pretrained = None if options.backbone is None else inner(network_in(options.backbone))
    preparation = prepare(
        found,
        options.views,
        options.depth,
        pretrained=pretrained,
        seed=options.seed,
        step=step,
    )
    evaluation = evaluate(preparation, train, options, step=step)
    decision = decide(evaluation, options)
    if not found.agreement.fits:
        decision = replace(decision, reason=f"{decision.reason}; {found.agreement.probed}")
    return evaluation, decision


def _either(clean: Any) -> tuple[Tensor | None, Batches | None]:
    """True training labels (a vector of numbers), or batches of other samples."""
    if clean is None:
        return None, None
    if isinstance(clean, Tensor) or getattr(clean, "ndim", 0) == 1:
        return checked_labels(clean, None, "clean"), None
    if isinstance(clean, (list, tuple)) and clean and all(map(is_scalar, clean)):
        return checked_labels(clean, None, "clean"), None
    return None, clean


def _held_out(evaluation: Evaluation, decision: Decision) -> BeforeAfter | None:
    holdout, choice, gain = evaluation.holdout, evaluation.choice, decision.gain
    if holdout is None or choice is None or gain is None:
        return None
    before = float(choice.accuracy_C[evaluation.column(evaluation.untouched)])
    after = before + (gain.given if decision.verdict == "cut" else 0)
    return BeforeAfter(len(holdout.labels_N), before, after)


def _true_labels(
    train: Batches, clean_N: Tensor | None, clean: Batches | None, classes: int
) -> Iterator[tuple[Batch, Tensor]] | None:
    """Batches with their true labels: other samples, or the training inputs; None without any."""
    if clean is not None:
        return ((batch, batch.labels) for batch in read(clean, classes))
    if clean_N is None:
        return None
    pairs = with_clean(train, clean_N, classes)
    return ((batch, true_N) for batch, true_N in pairs if true_N is not None)


def _on_true_labels(
    before: nn.Module, after: nn.Module, true: Iterator[tuple[Batch, Tensor]]
) -> BeforeAfter:
    """Accuracy and calibration of the untouched and the cut network."""
    labels, logits = [], ([], [])
    for batch, true_N in true:
        labels.append(true_N.cpu())
        for model, parts in zip((before, after), logits, strict=True):
            parts.append(logits_of(model, batch.inputs).float().cpu())
    labels_N = torch.cat(labels)
    before_NK, after_NK = (torch.cat(parts) for parts in logits)
    accuracy, accuracy_after = (
        float((logits_NK.argmax(1) == labels_N).double().mean())
        for logits_NK in (before_NK, after_NK)
    )
    errors = (calibration_error(each.softmax(1), labels_N) for each in (before_NK, after_NK))
    calibration = tuple[float, float](errors)
    return BeforeAfter(len(labels_N), accuracy, accuracy_after, calibration)


def _curve(
    made: Folded, head: Head, holdout: Holdout | None, clean: Batches | None
) -> RankCurve | None:
    ranks = geometric_ranks(made.probe.max_rank, per_octave=8)
    curves: list[RankCurve] = []
    if holdout is not None:
        features_ND = head.features_of(made.before, holdout.batches)
        curves.append(rank_curve(made.probe, [(features_ND, {"given": holdout.labels_N})], ranks))
    if clean is not None:
        batches = (
            (head.features_and_logits(made.before, batch.inputs)[0], {"clean": batch.labels})
            for batch in read(clean, head.classes)
        )
        curves.append(rank_curve(made.probe, batches, ranks))
    if not curves:
        return None
    return curves[0] if len(curves) == 1 else curves[0].with_labels(curves[1])


def _segregation(moments: Statistics, spectrum: Spectrum) -> SegregationIndex | None:
    """None where the true labels are unknown, or the given ones hold no random noise."""
    if "clean" not in moments.label_sets:
        return None
    try:
        return Segregation.of(moments, spectrum, permuted=PERMUTED).summary
    except DataError:
        return None
