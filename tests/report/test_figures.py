"""The figures alone: valid SVG, their marks, and nothing where there is nothing to draw."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from tailcut.errors import StoreError
from tailcut.report.axes import spread
from tailcut.report.figures import comparison, rank_curve, spectrum, transition

FIGURES = [rank_curve, spectrum, transition, comparison]
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return ["".join(text.itertext()).strip() for text in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("figure", FIGURES)
def test_is_an_image_with_a_name_and_the_colours_of_the_page(figure, full):
    root = ET.fromstring(figure(full))
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert len(root.get("aria-label")) > 30
    assert "width" not in root.attrib
    assert set(re.findall(r"#[0-9a-f]{6}", figure(full))) <= set(
        re.findall(r"var\(--\w+, (#[0-9a-f]{6})\)", figure(full))
    )


@pytest.mark.parametrize("figure", FIGURES)
def test_is_empty_without_its_part(figure, bare):
    assert not figure(bare)
    nothing = dict.fromkeys(("curve", "spectrum", "noise", "baselines", "clean", "holdout"))
    assert not figure({**bare, **nothing})


@pytest.mark.parametrize("figure", FIGURES)
def test_leaves_the_settings_of_matplotlib_alone_and_is_not_moved_by_them(figure, full):
    import matplotlib as mpl

    plain = figure(full)
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        assert figure(full) == plain
        assert dict(mpl.rcParams) == before


def test_the_curve_names_its_lines_and_the_cut(full):
    told = texts(rank_curve(full))
    for text in ("cut: rank 23", "true labels", "given labels", "true, untouched", "kept rank"):
        assert text in told
    label = ET.fromstring(rank_curve(full)).get("aria-label")
    assert label == (
        "Accuracy over kept rank: on given labels best at rank 23 with 61.0 %, 61.0 % at the cut, "
        "48.0 % untouched; on true labels best at rank 23 with 94.0 %, 94.0 % at the cut, "
        "69.0 % untouched; cut at rank 23."
    )


@pytest.mark.parametrize("rank", [None, 512])
def test_no_cut_is_marked_where_all_directions_are_kept(full, rank):
    for figure in (rank_curve, spectrum):
        assert "cut" not in figure({**full, "rank": rank})


@pytest.mark.parametrize("rank", [1, 2, 400])
def test_a_cut_at_either_end_stays_inside_the_figure(full, rank):
    assert f"cut: rank {rank}" in texts(rank_curve({**full, "rank": rank}))
    assert f"cut: rank {rank}" in texts(spectrum({**full, "rank": rank}))


def test_a_curve_may_have_gaps_one_label_set_or_one_rank(full):
    gap = {"ranks": [1, 2, 4], "given": [0.1, None, math.nan], "clean": None}
    assert "true labels" not in texts(rank_curve({**full, "curve": gap}))
    assert rank_curve({**full, "curve": {"ranks": [1], "given": [0.5], "clean": [0.5]}})
    assert not rank_curve({**full, "curve": {"ranks": [1], "given": [None], "clean": []}})


def test_a_curve_whose_lengths_differ_is_refused(full):
    full["curve"] = {"ranks": [1, 2, 4], "given": [0.1, 0.2], "clean": None}
    with pytest.raises(StoreError) as error:
        rank_curve(full)
    assert str(error.value) == (
        "a curve of 3 ranks with 2 accuracies on given labels; wanted one accuracy for each rank. "
        "Take result.json as tailcut wrote it."
    )


@pytest.mark.parametrize("shares", [[1.0], [0.9, 0.1, 0.0, None], [1 / 4096] * 4096])
def test_spectra_of_any_length_are_drawn_small(full, shares):
    svg = spectrum({**full, "rank": 1, "spectrum": {"shares": shares}})
    assert ET.fromstring(svg) is not None
    assert len(svg) < 40_000


def test_bars_carry_their_values_and_ours(full):
    told = texts(comparison(full))
    assert told[:4] == ["last epoch", "69.0 %", "paper's cut", "82.0 %"]
    assert told[-2:] == ["tailcut", "94.0 %"]


def test_without_baselines_the_best_epoch_is_compared(full):
    full["baselines"] = None
    assert texts(comparison(full))[::2] == ["last epoch", "oracle early stopping", "tailcut"]
    del full["clean"]["best_epoch"]
    assert not comparison(full)


def test_names_are_neither_markup_nor_formulas_and_need_no_glyph(full):
    hostile = '</text><script id="x">$\\frac{1}{$ 語 ' + "w" * 80
    full["baselines"] = {hostile: 0.5}
    svg = comparison(full)
    assert "<script" not in svg
    assert hostile[:43] + "…" in texts(svg)
    assert hostile in ET.fromstring(svg).get("aria-label")


@pytest.mark.parametrize(("classes", "cells"), [(1, 1), (2, 4), (12, 144), (20, 0)])
def test_the_transition_is_written_out_up_to_12_classes(classes, cells):
    rows = [[1 / classes] * classes for _ in range(classes)]
    svg = transition({"noise": {"rate": 0.5, "transition": rows}})
    axis = 2 * classes + 2
    assert len(texts(svg)) == cells + axis


def test_more_than_20_classes_are_not_drawn():
    assert not transition({"noise": {"rate": 0.5, "transition": [[1.0] * 21] * 21}})


def test_labels_are_spread_in_order_and_far_ones_stay():
    assert spread([0.5, 0.1, 0.5, 0.9], 0.1) == pytest.approx([0.45, 0.1, 0.55, 0.9])
    moved = spread([0.3, 0.31, 0.32, 0.4], 0.1)
    assert all(after - before > 0.0999 for before, after in pairwise(moved))
