"""The claims of the theory, each with its statistic and threshold, read off finished studies."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from tailcut.lab.claims.findings import Finding, Test, slope
from tailcut.lab.claims.measures import (
    best_cut,
    change_of_segregation,
    cost_of_epoch,
    cost_of_rank,
    cut_by_holdout,
    first_index,
    first_probe,
    last_accuracy,
    last_segregation,
    repaired,
    share_of,
    still_repeated,
    tail_minus_leading,
    true_probe,
    used_width,
)
from tailcut.lab.claims.record import Record
from tailcut.lab.claims.results import Results, difference


def findings(results: Results) -> list[Finding]:
    """Those that the preset asks for, in its order."""
    return [CLAIMS[name](results) for name in results.preset.claims]


def gathering(results: Results) -> Finding:
    """C1."""
    base = results.preset.base
    place = results.each(base, lambda r: last_segregation(r, "index") - last_segregation(r, "null"))
    return Finding(
        "C1",
        "Signal gathers in a few leading components, stochastic label noise in the tail",
        (
            Test(
                "signal lies before the noise: segregation index",
                results.each(base, lambda r: last_segregation(r, "index")),
            ),
            Test("noise lies further out than the same noise permuted: index minus null", place),
            Test(
                "wrong labels repeated by a probe on the tail, minus by one on as many leading "
                "directions as there are classes",
                results.each(base, tail_minus_leading),
            ),
        ),
    )


def systematic(results: Results) -> Finding:
    """C2."""
    preset = results.preset
    tests = []
    for noise, rate in preset.systematic:
        other = preset.of_noise(noise, rate)
        depth = results.minus(preset.base, other, lambda r: last_segregation(r, "noise_depth"))
        kept = results.minus(other, preset.base, still_repeated)
        tests += [
            Test(f"symmetric noise lies deeper than {noise} noise: depth of the noise", depth),
            Test(f"more {noise} than symmetric wrong labels survive the paper's cut", kept),
        ]
    return Finding("C2", "Stochastic noise lies elsewhere than systematic noise does", tuple(tests))


def outward(results: Results) -> Finding:
    """C3."""
    base = results.preset.base
    return Finding(
        "C3",
        "SGD does not suppress the noise but moves it outward while it trains",
        (
            Test(
                "noise explained by the features: last minus first trained epoch",
                results.each(base, lambda r: change_of_segregation(r, "noise_explained")),
            ),
            Test(
                "depth of the noise: last minus first trained epoch",
                results.each(base, lambda r: change_of_segregation(r, "noise_depth")),
            ),
        ),
    )


def untrained(results: Results) -> Finding:
    """C4."""
    base = results.preset.base
    return Finding(
        "C4",
        "Untrained networks reduce the variance to few directions but segregate nothing",
        (
            Test(
                "effective rank of the untrained features, as a share of the width",
                results.each(base, lambda r: used_width(first_probe(r))),
                0.25,
                below=True,
            ),
            Test(
                "segregation index of the untrained features",
                results.each(base, first_index),
                0.1,
                below=True,
            ),
            Test(
                "segregation index: last epoch minus untrained",
                results.each(base, lambda r: last_segregation(r, "index") - first_index(r)),
            ),
            Test(
                "segregation index: untrained features minus raw inputs",
                results.minus(base, results.preset.pixels(), first_index),
                counts=False,
            ),
        ),
    )


def recovery(results: Results) -> Finding:
    """C5."""
    base = results.preset.base
    return Finding(
        "C5",
        "Truncation recovers the generalisation that is latent in the converged network",
        (
            Test(
                "share of the gap from the last to the best epoch closed by the paper's cut, rank "
                "by the noisy holdout",
                results.each(base, lambda r: share_of(r, cut_by_holdout(r), r.best_epoch)),
                0.5,
            ),
            Test(
                "share of the gap from the last epoch to a probe fitted on true labels closed so",
                results.each(base, lambda r: share_of(r, cut_by_holdout(r), true_probe(r))),
                0.5,
            ),
            Test(
                "the first share with the best rank by test, which nobody knows",
                results.each(base, lambda r: share_of(r, best_cut(r), r.best_epoch)),
                0.5,
                counts=False,
            ),
            *((_repaired(results),) if base.repair else ()),
        ),
    )


def _repaired(results: Results) -> Test:
    def share(record: Record) -> float:
        return share_of(record, repaired(record), record.best_epoch)

    name = "the first share for tailcut's repair: all layers, inferred labels"
    return Test(name, results.each(results.preset.base, share), 0.5, counts=False)


def stability(results: Results) -> Finding:
    """C6."""
    base = results.preset.base
    cuts = results.each(base, cut_by_holdout)
    stops = results.each(base, lambda r: r.noisy_epoch)
    cut_mean, stop_mean = statistics.fmean(cuts), statistics.fmean(stops)
    spreads = tuple(
        abs(stop - stop_mean) - abs(cut - cut_mean) for cut, stop in zip(cuts, stops, strict=True)
    )
    return Finding(
        "C6",
        "Truncation is more stable than early stopping",
        (
            Test(
                "distance from the mean over seeds: early stopping minus the paper's cut", spreads
            ),
            Test(
                "cost of missing the best point by 20 %: of the epoch minus of the rank",
                results.each(base, lambda r: cost_of_epoch(r) - cost_of_rank(r)),
            ),
        ),
    )


def capacity(results: Results) -> Finding:
    """C7."""
    preset = results.preset
    octaves = [float(np.log2(width)) for _, width in preset.widths]
    accuracies = zip(
        *(results.each(preset.of_network(name), last_accuracy) for name, _ in preset.widths),
        strict=True,
    )
    held = (
        Test(
            f"last epoch: {name} minus {preset.base.network}",
            results.minus(preset.of_network(name), preset.base, last_accuracy),
        )
        for name in preset.constrained
    )
    return Finding(
        "C7",
        "Capacity beyond what the signal needs is a liability under label noise",
        (
            Test(
                "accuracy gained at the last epoch by each doubling of the width",
                tuple(slope(octaves, each) for each in accuracies),
                below=True,
            ),
            *held,
        ),
    )


def threshold(results: Results) -> Finding:
    """C8."""
    preset = results.preset
    (narrow, _), (wide, _) = preset.widths[0], preset.widths[-1]

    def harm(rate: float, **changes: Any) -> tuple[float, ...]:
        noisy, clean = preset.of_rate(rate, **changes), preset.of_rate(0.0, **changes)
        return results.minus(clean, noisy, last_accuracy)

    rate = preset.base.rate
    return Finding(
        "C8",
        "Interpolated noise is benign below a ratio of noise to signal, and harmful above it",
        (
            Test(
                f"accuracy lost to {100 * preset.rates[1]:.0f} % noise",
                harm(preset.rates[1]),
                0.02,
                below=True,
            ),
            Test(
                f"accuracy lost to {100 * preset.rates[-1]:.0f} % noise",
                harm(preset.rates[-1]),
                0.05,
            ),
            Test(
                f"accuracy lost to 40 % noise: {preset.small} samples minus {preset.base.train}",
                difference(harm(rate, train=preset.small), harm(rate)),
            ),
            Test(
                f"accuracy lost to 40 % noise: {wide} minus {narrow}",
                difference(harm(rate, network=wide), harm(rate, network=narrow)),
            ),
        ),
    )


CLAIMS: dict[str, Callable[[Results], Finding]] = {
    "C1": gathering,
    "C2": systematic,
    "C3": outward,
    "C4": untrained,
    "C5": recovery,
    "C6": stability,
    "C7": capacity,
    "C8": threshold,
}
