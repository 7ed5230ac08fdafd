"""docs/trust.md: every test that it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def named() -> list[tuple[str, str]]:
    """(file, function) of every test on the page; one without a file is of the file before it."""
    file, found = "", []
    for path, name in re.findall(r"`([\w/.]*)::(\w+)`", (ROOT / "docs/trust.md").read_text()):
        file = path or file
        found.append((file, name))
    return found


def test_every_test_on_the_page_is_there():
    assert len(named()) > 100
    missing = [
        f"{file}::{name}"
        for file, name in named()
        if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []
