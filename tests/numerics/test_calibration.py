"""Calibration error by its definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import gaussian
from tailcut.numerics.calibration import calibration_error


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(2, 5), st.integers(1, 20), st.integers(0, 99))
def test_it_is_the_weighted_gap_of_every_bin(n, classes, bins, seed):
    probabilities_NK = (3 * gaussian(n, classes, seed=seed)).softmax(1)
    labels_N = gaussian(n, classes, seed=seed + 1).argmax(1)
    error = 0.0
    for b in range(bins):
        gaps = [
            float(row_K.argmax() == label) - float(row_K.max())
            for row_K, label in zip(probabilities_NK, labels_N, strict=True)
            if b / bins < float(row_K.max()) <= (b + 1) / bins
        ]
        error += abs(sum(gaps)) / n
    assert calibration_error(probabilities_NK, labels_N, bins=bins) == pytest.approx(error)


def test_labels_drawn_from_the_probabilities_are_calibrated_and_sharper_ones_are_not():
    logits_NK = gaussian(20_000, 4)
    generator = torch.Generator().manual_seed(7)
    labels_N = torch.multinomial(logits_NK.softmax(1), 1, generator=generator)[:, 0]
    assert calibration_error(logits_NK.softmax(1), labels_N) < 0.02
    assert calibration_error((5 * logits_NK).softmax(1), labels_N) > 0.2
