"""The harness itself: it finds what it is there to find."""

import pytest

from fuzz.harness import damaged, fuzz
from tailcut.errors import StoreError

VALID = {"a.txt": b"one\ntwo\n", "b.txt": b"three\n"}


def whole(path):
    content = path.read_bytes()
    if content not in VALID.values():
        raise StoreError("other bytes", wanted="these", advice="Write them again")
    return content


def anything(path, found):
    """No independent reader."""


def test_inputs_are_the_same_in_every_run_and_the_first_are_whole():
    made = [damaged(VALID, (), 0, number) for number in range(50)]
    assert made == [damaged(VALID, (), 0, number) for number in range(50)]
    assert dict(made[:2]) == VALID
    assert len({content for _, content in made}) > 40


def test_errors_of_ours_are_refusals_and_are_counted(tmp_path, capsys):
    tally = fuzz("any", VALID, whole, tmp_path, right=anything, inputs=40)
    assert tally.read + tally.refused == 40
    assert tally.read >= 2
    assert tally.refused >= 20
    assert str(tally) in capsys.readouterr().out


def test_another_exception_is_found_and_the_input_is_kept(tmp_path):
    with pytest.raises(AssertionError, match=r"any, input \d+, kept as .*\n(.|\n)*UnicodeDecode"):
        fuzz(
            "any",
            VALID,
            lambda path: path.read_text(encoding="utf-8"),
            tmp_path,
            right=anything,
            inputs=200,
        )
    assert any(each.name[0].isdigit() for each in tmp_path.iterdir())


def test_a_silent_change_is_found(tmp_path):
    def right(path, found):
        assert found == path.read_bytes()

    with pytest.raises(AssertionError, match="any, input"):
        fuzz("any", VALID, lambda path: path.read_bytes()[:7], tmp_path, right=right, inputs=50)
