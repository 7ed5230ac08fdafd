"""A registry finds what the files of a package register, whoever imported them first."""

import sys

import pytest

from tailcut.errors import SpecError
from tailcut.lab.registry import Registry

ENTRY = """
from pantry.shelf import THINGS

THINGS["{name}"] = {place}
"""


@pytest.fixture
def pantry(tmp_path, monkeypatch):
    """A package whose files each register a thing with its place."""
    folder = tmp_path / "pantry"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "shelf.py").write_text(
        "from tailcut.lab.registry import Registry\n"
        "THINGS = Registry('pantry', 'thing', lambda place: place)\n"
    )
    for file, name, place in (("a", "pear", 2), ("b", "fig", 1), ("c", "apple", 2)):
        (folder / f"{file}.py").write_text(ENTRY.format(name=name, place=place))
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "pantry"]:
        del sys.modules[name]


def test_one_file_more_is_one_entry_more(pantry):
    (pantry / "d.py").write_text(ENTRY.format(name="date", place=0))
    from pantry.shelf import THINGS

    assert dict(THINGS) == {"date": 0, "fig": 1, "apple": 2, "pear": 2}


def test_the_order_is_that_of_places_and_names_whatever_is_imported_first(pantry):
    import pantry.c  # noqa: F401
    from pantry.shelf import THINGS

    assert list(THINGS) == ["fig", "apple", "pear"]
    assert len(THINGS) == 3


def test_a_name_that_is_not_there_is_told_with_those_that_are(pantry):
    from pantry.shelf import THINGS

    assert THINGS.find("fig") == 1
    with pytest.raises(SpecError) as error:
        THINGS.find("plum")
    assert str(error.value) == (
        "no thing 'plum'; wanted one of fig, apple, pear. Correct the name."
    )


def test_a_decorator_gives_back_what_it_registers():
    things = Registry("tailcut.lab.theory", "thing")

    @things.register("one")
    def one():
        return 1

    assert things["one"] is one
    assert one() == 1
