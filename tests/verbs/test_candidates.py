"""Which candidates must lead clearly to be chosen."""

from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.verbs.inference import Material
from tailcut.verbs.penalties import handicaps
from tailcut.verbs.readouts import Candidate


def test_readouts_in_all_directions_behind_the_gentle_filter_need_no_lead():
    inferred, gentle = Material(4), Filter(3000.0)
    candidates = [
        Candidate(UNTOUCHED, "own head", None),
        Candidate(gentle, "own head", None),
        Candidate(gentle, "project", 8),
        Candidate(gentle, "project", 16),
        Candidate(gentle, "lda", 8),
        Candidate(gentle, "lda", 16),
        Candidate(gentle, "lda", 8, inferred),
        Candidate(gentle, "lda", 12, inferred),
        Candidate(Filter(1000.0), "lda", 8, inferred),
        Candidate(Filter(1000.0), "lda", 12, inferred),
    ]
    assert handicaps(candidates, gentle).tolist() == [0.5, 0.5, 2, 0.5, 2, 0, 2, 0, 2, 1]


def test_a_rank_that_was_asked_for_is_no_handicap():
    asked = [Candidate(UNTOUCHED, "own head", None), Candidate(UNTOUCHED, "lda", 5)]
    assert handicaps(asked, UNTOUCHED).tolist() == [0.5, 0]
