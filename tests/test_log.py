"""The log: entries are dated and short, and there is one for each place in src that names it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOG, ARCHIVE = ROOT / "docs/LOG.md", ROOT / "docs/log/2026.md"

LINES, WIDTH = 10, 110
"""Of prose: tables do not count, nor does the line that says which code rests on an entry."""


def entries(page: Path) -> list[list[str]]:
    """The heading of each entry and its prose; headings of topics alone are left out."""
    _, *parts = re.split(r"^(?=##)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [[line for line in part.splitlines() if line] for part in parts]
    prose = [[line for line in part if not line.startswith(("|", "Code: "))] for part in found]
    return [part for part in prose if part[0].startswith("### ") or len(part) > 1]


def references() -> list[tuple[str, str]]:
    """(file, name of the function or constant) of every text in src that refers to the log."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        before, *others = path.read_text(encoding="utf-8").split("docs/LOG.md")
        for after in others:
            names = re.findall(r"^(?: *(?:def|class) )?(\w+)(?:[(:]| = )", before, re.MULTILINE)
            found.append((path.name, names[-1]))
            before += after
    return found


@pytest.mark.parametrize("page", [LOG, ARCHIVE], ids=lambda page: page.name)
def test_every_entry_is_dated_and_short(page):
    found = entries(page)
    assert len(found) > 10
    for heading, *lines in found:
        assert re.match(r"### 2026-\d\d-\d\d: \S", heading), heading
        assert 0 < len(lines) <= LINES, heading
        assert max(map(len, lines)) <= WIDTH, heading


def test_what_the_source_says_is_in_the_log_has_an_entry():
    rests = " ".join(re.findall(r"^Code: (.*)", LOG.read_text(encoding="utf-8"), re.MULTILINE))
    assert references()
    assert [each for each in references() if f"`{each[1]}`" not in rests] == []
