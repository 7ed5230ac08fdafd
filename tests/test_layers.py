"""Arrows never point up: numerics, files <- network <- verbs <- lab <- cli.

The readers of data files stand beside the network, and the lab reads through them too.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "tailcut"

MAY_IMPORT = {
    "numerics": {"numerics"},
    "files": {"files"},
    "network": {"numerics", "files", "network"},
    "readers": {"numerics", "readers"},
    "report": {"report"},
    "verbs": {"numerics", "files", "network", "report", "verbs"},
    "lab": {"numerics", "files", "network", "readers", "verbs", "lab"},
}
FREE = {"_typing", "errors"}


def imported(path: Path) -> set[str]:
    """Rooms and files of tailcut that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tailcut"):
            parts = (node.module or "").split(".")
            names |= {parts[1]} if len(parts) > 1 else {each.name for each in node.names}
        elif isinstance(node, ast.Import):
            names |= {
                each.name.split(".")[1] for each in node.names if each.name.startswith("tailcut.")
            }
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room):
    for path in (ROOT / room).rglob("*.py"):
        assert imported(path) <= MAY_IMPORT[room] | FREE, path


@pytest.mark.parametrize("room", ["numerics"])
def test_numerics_know_no_modules_and_no_files(room):
    for path in (ROOT / room).rglob("*.py"):
        text = path.read_text()
        assert "nn.Module" not in text
        assert "open(" not in text
        assert "print(" not in text


def test_no_file_is_longer_than_400_lines():
    long = {path: len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {path: length for path, length in long.items() if length > 400} == {}
