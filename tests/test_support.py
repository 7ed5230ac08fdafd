"""The table of networks that are supported is measured again, row by row."""

import warnings

import pytest
import support
from families import FAMILIES

PAGE = support.PAGE.read_text(encoding="utf-8")
ROWS = support.rows_of(PAGE)
CURRENT = support.releases() in PAGE.replace("\n", " ")
"""With other releases layers may be others; that every row can be measured must hold then, too."""

_ABSENT = (ImportError, AttributeError, TypeError)
"""What older releases raise for families and options that they do not have."""


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_family_is_what_its_row_says(family):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = support.measured(family)
    except _ABSENT:
        if CURRENT:
            raise
        pytest.skip("not in this release")
    assert not CURRENT or str(row) in ROWS


def test_the_page_is_written_from_its_rows():
    names = [f"{family.library} | {family.name} " for family in FAMILIES]
    assert [row.startswith(f"| {name}") for row, name in zip(ROWS, names, strict=True)]
    if CURRENT:
        assert support.page(ROWS) == PAGE, "run `python benchmarks/support.py`"


def test_there_are_a_hundred_families_of_every_library():
    assert len(ROWS) == len(set(ROWS)) > 200
    for library in ("torch", "wrapper", "torchvision", "timm", "transformers"):
        assert sum(row.startswith(f"| {library} |") for row in ROWS) > 10


def test_what_is_refused_says_what_was_seen_and_wanted_and_what_to_do():
    refused = [row for row in ROWS if "| refused |" in row]
    assert refused
    for row in refused:
        seen, _, rest = row.split(" | ")[-1].removesuffix(" |").partition("; wanted ")
        wanted, _, advice = rest.partition(". ")
        assert seen, row
        assert wanted, row
        assert advice.endswith("."), row
        assert "cannot run on" not in row  # that would be about our inputs
