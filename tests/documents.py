"""The Python of a page of the documentation, to be run as it stands there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(page):
    """Every block of Python on a page, named from the root of the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run(page, words, names):
    """Run the one block in which these words stand; the names after it."""
    (block,) = (each for each in blocks(page) if words in each)
    exec(block, names)
    return names
