"""The public names, and that importing them is cheap."""

import importlib
import subprocess
import sys

import pytest

import tailcut

OPTIONAL = ("sklearn", "matplotlib", "jinja2", "torchvision", "timm", "transformers", "datasets")
OPTIONAL += ("lightning", "tailcut.sklearn", "tailcut.lightning", "tailcut.transformers")


@pytest.mark.parametrize("name", tailcut.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(tailcut, name).__doc__
    assert name in dir(tailcut)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tailcut' has no attribute 'retrain'"):
        _ = tailcut.retrain


def test_importing_the_verbs_imports_nothing_optional():
    script = (
        "import sys, tailcut; tailcut.repair; tailcut.diagnose; tailcut.find_label_issues\n"
        f"print([name for name in {OPTIONAL} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_module_can_be_imported_alone():
    for name in ("numerics.moments", "network.head", "report.page", "verbs.repair", "lab.data"):
        assert importlib.import_module(f"tailcut.{name}").__doc__
