"""Arrows never point up: numerics, files <- network <- verbs <- lab <- cli.

The readers of data files stand beside the network, and the lab reads through them too. The faces
are files of their own, one for each host package: on top, and imported by nobody.
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
FACES = {
    "sklearn": {"numerics", "readers", "verbs"},
    "lightning": {"readers", "verbs"},
    "transformers": {"readers", "verbs"},
}


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


@pytest.mark.parametrize("face", FACES)
def test_a_face_imports_verbs_and_is_imported_by_nobody(face):
    own = ROOT / f"{face}.py"
    assert imported(own) <= FACES[face] | FREE
    for path in set(ROOT.rglob("*.py")) - {own}:
        assert face not in imported(path), path


@pytest.mark.parametrize("room", ["numerics"])
def test_numerics_know_no_modules_and_no_files(room):
    for path in (ROOT / room).rglob("*.py"):
        text = path.read_text()
        assert "nn.Module" not in text
        assert "open(" not in text
        assert "print(" not in text


def test_no_file_is_longer_than_300_lines():
    long = {path: len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {path: length for path, length in long.items() if length > 300} == {}


PUBLIC = {"repair", "diagnose", "find_label_issues"}
"""Verbs, whose options are named one by one for the caller."""


def functions():
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                and node.name not in PUBLIC
            ):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def test_no_function_has_more_than_40_lines_of_code():
    long = {}
    for name, node in functions():
        said = ast.get_docstring(node, clean=False) or ""
        long[name] = node.end_lineno - node.lineno + 1 - len(said.splitlines())
    assert {name: length for name, length in long.items() if length > 40} == {}


def test_no_function_has_more_than_7_parameters():
    many = {}
    for name, node in functions():
        taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        many[name] = len([each for each in taken if each.arg not in {"self", "cls"}])
    assert {name: number for name, number in many.items() if number > 7} == {}
