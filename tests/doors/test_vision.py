"""torchvision where its compiled operators do not load beside this torch, and where they do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tailcut import words
from tailcut.errors import SpecError
from tailcut.vision import make_importable

NOTE = (
    f"tailcut: torchvision's compiled operators do not load beside torch {torch.__version__};"
    " classifiers work without them, detectors do not\n"
)
EXPECTED = NOTE if make_importable() else ""
"""With a torchvision that fits, every case below is a control: nothing is said."""

FACTORIES = """
import torch
def data():
    return [(torch.rand(20, 3, 32, 32), torch.arange(20) % 4)]
def late():
    from torchvision.models import get_model
    return get_model("shufflenet_v2_x0_5", num_classes=4)
"""


def tailcut_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "shop.py").write_text(FACTORIES)
    (folder / "early.py").write_text("import torchvision\nfrom shop import late as model\n")
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_a_network_of_ones_own_that_imports_torchvision_is_diagnosed(tmp_path):
    words = "-m tailcut diagnose early:model --data shop:data --views none --quiet --out run"
    done = tailcut_in(tmp_path, *words.split())
    assert (done.returncode, done.stderr) == (0, EXPECTED)


def test_a_factory_may_import_torchvision_when_it_is_called(tmp_path):
    script = "from tailcut.words import factory; print(factory('shop:late').fc.out_features)"
    done = tailcut_in(tmp_path, "-c", script)
    assert (done.stdout, done.stderr) == ("4\n", EXPECTED)


@pytest.mark.parametrize("word", ["torchvision:resnet1", "timm:resnet1"])
def test_a_library_that_imports_torchvision_can_be_asked_for_its_models(tmp_path, word):
    done = tailcut_in(tmp_path, *f"-m tailcut diagnose {word} --data digits".split())
    library = word.partition(":")[0]
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"{EXPECTED}tailcut: error: {library} has no model 'resnet1'; wanted a name of "
    )


def test_a_detector_is_refused_by_torchvision_and_not_computed_wrongly():
    from torchvision.ops import nms

    if EXPECTED:
        with pytest.raises(RuntimeError, match="Couldn't load custom C"):
            nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5)
    else:
        assert nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5).tolist() == [0]


@pytest.mark.parametrize("raised", ["RuntimeError", "OSError", "AttributeError", "ImportError"])
def test_a_library_that_is_broken_is_not_called_absent(tmp_path, monkeypatch, raised):
    (tmp_path / "rendered.py").write_text(f"raise {raised}('built for CUDA 11.8.\\nMore.')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecError) as error:
        words.extra("rendered", "images")
    assert str(error.value) == (
        "rendered is installed and cannot be imported (built for CUDA 11.8); "
        f"wanted a rendered that fits torch {torch.__version__}. "
        "Install releases of torch, torchvision and rendered that belong together."
    )
