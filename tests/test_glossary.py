"""One word for one concept: the glossary of CONTRIBUTING.md, and words that it has replaced."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| ([a-z ]+) \| ([a-z, ]+) \| [a-z]", re.MULTILINE)
GLOSSARY = dict(ROW.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
PAGES = [
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "src").rglob("*.html"),
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
]


@pytest.mark.parametrize("word", sorted({w for ws in GLOSSARY.values() for w in ws.split(", ")}))
def test_a_word_that_was_replaced_does_not_come_back(word):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in PAGES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(rf"(?<![a-z]){word}(?![a-z])", line, re.IGNORECASE)
    ]
    assert found == []


def test_the_glossary_is_there():
    assert len(GLOSSARY) >= 12
    assert GLOSSARY["holdout"] == "jury, juries, judges"
