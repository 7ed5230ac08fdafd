"""What pyproject.toml promises: bounds that are tested, and archives that hold what they must."""

import re
import subprocess
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

ROOT = Path(__file__).parents[1]
CORE = ProjectMetadata(str(ROOT), PluginManager()).core


OPTIONAL = [line for lines in CORE.optional_dependencies.values() for line in lines]


def releases(lines: list[str], operator: str) -> dict[str, tuple[int, ...]]:
    """By package, of lines such as `rich>=13.7`; 13.7 and 13.7.0 are one release."""
    pattern = re.compile(rf"([\w-]+)(?:\[\w+\])?{operator}([\d.]+)")
    found = [match.groups() for line in lines if (match := pattern.fullmatch(line))]
    return {name.lower(): tuple(map(int, f"{number}.0.0".split(".")[:3])) for name, number in found}


def files(builder: type) -> set[str]:
    return {each.distribution_path for each in builder(str(ROOT)).recurse_included_files()}


def test_the_lowest_releases_are_those_that_are_tested():
    tested = (ROOT / "constraints-min.txt").read_text().splitlines()[1:]
    assert releases([*CORE.dependencies, *OPTIONAL], ">=") == releases(tested, "==")


def test_everything_has_a_lowest_release_or_one_alone():
    lines = {*CORE.dependencies, *OPTIONAL}
    assert lines == {line for line in lines if releases([line], "[>=]=")}


def test_every_python_that_is_promised_is_at_least_the_oldest():
    named = [line for line in CORE.classifiers if re.search(r":: 3\.\d+$", line)]
    assert [line.rpartition(" ")[2] for line in named] == ["3.10", "3.11", "3.12", "3.13"]
    assert CORE.requires_python == ">=3.10"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git tells what belongs to the project")
def test_the_sdist_holds_every_file_that_git_tracks():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = {line for line in done.stdout.splitlines() if (ROOT / line).exists()}
    assert tracked - files(SdistBuilder) == set()


def test_the_wheel_holds_the_package_alone_with_its_types_and_template():
    held = files(WheelBuilder)
    assert {path.partition("/")[0] for path in held} == {"tailcut"}
    assert {"tailcut/py.typed", "tailcut/report/template.html"} <= held
