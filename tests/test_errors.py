"""Errors on their way from one process to another."""

import copy
import pickle

import pytest

from tailcut.errors import DataError, HeadError, SpecError, StoreError, TailcutError


@pytest.mark.parametrize("kind", [TailcutError, DataError, HeadError, StoreError, SpecError])
@pytest.mark.parametrize("send", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_an_error_survives_pickling_with_its_three_texts(kind, send):
    error = kind("two heads", wanted="one", advice="Cut one off")
    again = send(error)
    assert type(again) is kind
    assert str(again) == "two heads; wanted one. Cut one off."
    assert (again.seen, again.wanted, again.advice) == ("two heads", "one", "Cut one off")


def test_an_error_keeps_its_kind_and_its_words_when_all_that_arrives_is_a_traceback():
    """As a DataLoader passes on what a worker raised."""
    text = (
        "Caught DataError in worker 0.\nOriginal Traceback:\n  ...\ntailcut.errors.DataError: x\n"
    )
    assert str(DataError(text)) == "x"
    assert str(DataError("no traceback")) == "no traceback"


def test_a_note_that_was_added_travels_with_it():
    error = DataError("nothing", wanted="something", advice="Look")
    error.where = "batch 3"
    assert pickle.loads(pickle.dumps(error)).where == "batch 3"
