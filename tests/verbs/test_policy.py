"""The policy: each of its rules, on both sides of each of its numbers."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.verbs import policy
from tailcut.verbs.candidates import Cut
from tailcut.verbs.policy import (
    DEFAULT_FILTERS,
    DENOISINGS,
    FINE_TUNINGS,
    TRUNCATIONS,
    default_filter,
    default_of,
    filters_for_readouts,
    gains_unseen,
    kinds_of_filters,
    verdict_on,
    views_kept,
)
from tailcut.verbs.targets import GIVEN, Targets

DEFAULT, OTHER = Filter(3000.0), Filter(1000.0)


@pytest.mark.parametrize(("memory", "kept"), [(0.64, [0]), (0.66, [])])
def test_a_view_is_used_if_most_of_the_memory_is_gone_under_it(memory, kept):
    assert views_kept([(1.0, memory)]) == kept


@pytest.mark.parametrize(("content", "kept"), [(0.45, [0, 1]), (0.43, [0])])
def test_a_view_is_used_if_it_keeps_what_is_seen_beside_the_view_that_keeps_most(content, kept):
    assert views_kept([(0.8, 0.1), (content, 0.2)]) == kept


def test_the_four_views_of_least_memory_are_used_least_first():
    measured = [(1.0, memory) for memory in (0.5, 0.1, 0.4, 0.2, 0.3)]
    assert views_kept(measured) == [1, 3, 4, 2]
    assert views_kept([]) == []


def test_layers_are_denoised_first_where_noise_makes_the_network_forget_else_truncated():
    for pretrained, more in ((False, []), (True, [FINE_TUNINGS])):
        known = {"pretrained": pretrained}
        assert kinds_of_filters(forgets=True, **known) == [DENOISINGS, TRUNCATIONS, *more]
        assert kinds_of_filters(forgets=False, **known) == [TRUNCATIONS, *more]
        assert kinds_of_filters(forgets=None, **known) == [TRUNCATIONS, DENOISINGS, *more]
    assert [each.fine_tuning for each in FINE_TUNINGS] == [1, 2, 4, 8, 16, 32]
    assert [each.strength for each in TRUNCATIONS] == [10_000, 3_000, 1_000, 300]
    assert [each.denoising for each in DENOISINGS] == [1, 2, 4]
    assert {TRUNCATIONS: DEFAULT, DENOISINGS: Filter(denoising=2)} == DEFAULT_FILTERS


def test_readouts_are_fitted_behind_no_filter_the_best_of_the_own_head_and_the_default():
    filters = [UNTOUCHED, DEFAULT, OTHER]
    assert filters_for_readouts([3.0, 2.5, 2.0], filters, DEFAULT) == [UNTOUCHED, OTHER, DEFAULT]
    assert filters_for_readouts([3.0, 1.0, 2.0], filters, DEFAULT) == [UNTOUCHED, DEFAULT]
    assert filters_for_readouts([1.0, 2.0, 3.0], filters, UNTOUCHED) == [UNTOUCHED]
    assert filters_for_readouts([2.5, 2.0], filters[1:], DEFAULT) == [OTHER, DEFAULT]


@pytest.mark.parametrize(("errors", "found"), [(0.9, DEFAULT), (1.1, UNTOUCHED)])
def test_no_filter_is_the_default_where_the_own_head_does_better_by_a_standard_error(errors, found):
    spread_N = torch.tensor([-1.0, 1.0]).repeat(50)  # its mean has a standard error of 0.1
    losses_NF = torch.stack([torch.zeros(100), torch.ones(100), spread_N + 0.1 * errors], 1)
    filters = [UNTOUCHED, OTHER, DEFAULT]
    assert default_filter(losses_NF, filters, [DEFAULT]) == found
    assert default_filter(losses_NF[:, 1:], filters[1:], [DEFAULT]) == DEFAULT
    assert default_filter(losses_NF, [OTHER, UNTOUCHED, DEFAULT], [DEFAULT, OTHER]) == (
        DEFAULT if found == DEFAULT else OTHER
    )


def test_the_default_is_lda_in_all_directions_on_labels_inferred_in_one_round():
    one = Targets(1)
    default = Cut(DEFAULT, one, "lda", 12)
    candidates = [
        Cut(UNTOUCHED, GIVEN, "own head", 20),
        Cut(DEFAULT, GIVEN, "own head", 20),
        Cut(UNTOUCHED, Targets(views=False), "project", 16),
        Cut(OTHER, one, "lda", 16),
        Cut(DEFAULT, GIVEN, "lda", 16),
        Cut(DEFAULT, one, "lda", 8),
        default,
        Cut(DEFAULT, Targets(4), "lda", 12),
        Cut(DEFAULT, one, "centroid", 20),
    ]
    assert candidates[default_of(candidates, DEFAULT)] is default
    rest = [each for each in candidates if each.targets != one]
    assert rest[default_of(rest, DEFAULT)] == Cut(DEFAULT, GIVEN, "lda", 16)
    assert default_of(candidates[:1], DEFAULT) == 0


@pytest.mark.parametrize(("errors", "verdict"), [(2.5, "leave"), (2.6, "cut")])
def test_a_fall_of_the_loss_of_2_576_standard_errors_is_sure(errors, verdict):
    assert verdict_on(errors * 0.01, 0.01, -0.1, wrong=0.0, memorisation=0.0) == verdict
    assert verdict_on(0.0, 0.0, 0.1, wrong=0.0, memorisation=0.0) == "leave"


@pytest.mark.parametrize(
    ("wrong", "memorisation", "verdict"),
    [(0.11, 0.11, "cut"), (0.09, 0.9, "leave"), (0.9, 0.09, "leave")],
)
def test_a_tenth_of_wrong_labels_is_enough_if_the_network_remembers_its_own(
    wrong, memorisation, verdict
):
    for fall, gain in ((0.001, -0.05), (-0.001, 0.05)):
        assert verdict_on(fall, 1.0, gain, wrong=wrong, memorisation=memorisation) == verdict


def test_a_cut_that_loss_and_accuracy_speak_against_is_unknown_however_many_labels_are_wrong():
    assert verdict_on(-0.001, 1.0, -0.01, wrong=0.3, memorisation=1.0) == "unknown"
    assert verdict_on(0.0, 1.0, 0.0, wrong=0.3, memorisation=1.0) == "unknown"


@pytest.mark.parametrize(("wrong", "cut"), [(0.09, False), (0.11, True)])
def test_without_a_holdout_a_tenth_of_wrong_labels_is_enough(wrong, cut):
    assert gains_unseen(wrong) is cut


def test_the_policy_has_few_numbers_and_says_what_each_is_for():
    """Each constant is followed by its reason."""
    lines = Path(policy.__file__).read_text().splitlines()
    constants = [n for n, line in enumerate(lines) if re.match(r"[A-Z_, ]+ = ", line)]
    for start, end in pairwise([*constants, len(lines)]):
        assert any(line.startswith('"""') for line in lines[start + 1 : end]), lines[start]
    numbers = re.findall(r"(?<![\w\"])\d[\d_.]*", "\n".join(lines[constants[0] : constants[-1]]))
    assert len(numbers) <= 24
