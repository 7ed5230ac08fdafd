"""What a repaired network is saved as, the card beside it, and the line that loads it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import tailcut
from tailcut.cli.main import main
from tailcut.errors import TailcutWarning
from tailcut.files.whole import names_in
from tailcut.network import pretrained
from verbs.kills import INPUTS, LABELS, Hub, same

DIALS = {"readout": "lda", "rank": 2, "depth": "head", "views": [], "progress": False}
DIALS["force"] = True  # nobody has trained these networks


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def repaired(model):
    held = (INPUTS.flip(1), LABELS)
    return tailcut.repair(model, [(INPUTS, LABELS)], [held], **DIALS)


def executed(line, **names):
    """The network that a line of Python leaves behind as `model`."""
    exec(line, names)
    return names["model"]


@pytest.mark.parametrize(
    ("form", "name"), [("safetensors", "repaired.safetensors"), ("torch", "repaired.pth")]
)
def test_weights_are_saved_in_one_form_and_come_back_from_it(tmp_path, form, name):
    model = plain()
    fix = repaired(model)
    fix.save(tmp_path, file_format=form)
    assert {each for each in names_in(tmp_path) if each.startswith("repaired")} == {name}
    back = tailcut.load(tmp_path, model)
    assert same(back.model.state_dict(), fix.model.state_dict())
    assert same(back.undo().state_dict(), model.state_dict())
    line = json.loads((tmp_path / "result.json").read_text())["load"]
    assert name in line
    assert line in (tmp_path / "report.html").read_text().replace("&#39;", "'")


def test_a_torch_file_takes_the_place_of_safetensors_and_is_plain(tmp_path):
    fix = repaired(plain())
    fix.save(tmp_path)
    fix.save(tmp_path, file_format="torch")
    assert not (tmp_path / "repaired.safetensors").exists()
    state = torch.load(tmp_path / "repaired.pth", weights_only=True)
    assert same(state, fix.model.state_dict())


def test_the_line_loads_the_weights_into_a_network_of_that_class(tmp_path, monkeypatch):
    fix = repaired(plain())
    for form in ("safetensors", "torch"):
        fix.save(tmp_path / form, file_format=form)
        line = json.loads((tmp_path / form / "result.json").read_text())["load"]
        monkeypatch.chdir(tmp_path / form)
        assert same(executed(line, model=plain()).state_dict(), fix.model.state_dict())


def test_a_changed_torch_file_is_no_part_of_the_run(tmp_path):
    fix = repaired(plain())
    fix.save(tmp_path, file_format="torch")
    torch.save(plain().state_dict(), tmp_path / "repaired.pth")
    with pytest.raises(tailcut.StoreError, match=r"repaired\.pth is not the file of this run"):
        tailcut.load(tmp_path, plain())


def test_a_form_that_is_none_and_a_torch_file_of_a_folder_are_refused(tmp_path):
    with pytest.raises(tailcut.StoreError) as error:
        repaired(plain()).save(tmp_path / "a", file_format="onnx")
    assert str(error.value) == ("the format 'onnx'; wanted safetensors or torch. Correct the name.")
    with pytest.raises(tailcut.StoreError) as error:
        repaired(Hub()).save(tmp_path / "a", file_format="torch")
    assert str(error.value) == (
        "the format torch for Hub, which saves itself as a folder; wanted safetensors, which "
        "from_pretrained loads. Leave the format out, or call torch.save(fix.model.state_dict(), "
        "path)."
    )
    assert not (tmp_path / "a").exists()


def parts(card):
    """The header of a model card as YAML, and its text."""
    _, top, text = card.split("---\n", 2)
    return yaml.safe_load(top), text


def test_a_network_that_writes_its_own_card_keeps_the_header_of_it(tmp_path):
    fix = repaired(Hub())
    fix.save(tmp_path)
    top, text = parts((tmp_path / "repaired" / "README.md").read_text())
    assert "pytorch_model_hub_mixin" in top["tags"]
    assert f"* **Verdict**: {fix.verdict}: {fix.reason}\n" in text
    assert "verbs.kills.Hub.from_pretrained('repaired')" in text
    assert same(tailcut.load(tmp_path, Hub()).model.state_dict(), fix.model.state_dict())


@pytest.fixture
def vit(tmp_path):
    """A folder with a tiny ViT and its image processor."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    folder = tmp_path / "vit"
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder)
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=8,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=3,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    return folder


def images(folder, count=60, seed=0):
    """A folder of images, one colour for each class."""
    random = np.random.default_rng(seed)
    for number in range(count):
        label = number % 3
        pixels = random.integers(0, 80, (9, 9, 3))
        pixels[:, :, label] += 150
        place = folder / "abc"[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number:02}.png")
    return folder


def test_a_hugging_face_folder_is_complete_and_says_what_was_done(vit, tmp_path, capsys):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    data, held = images(tmp_path / "set"), images(tmp_path / "held", 21, seed=1)
    words = f"repair hf:{vit} --data imagefolder:{data} --holdout imagefolder:{held}"
    words += f" --views none --depth head --readout lda --rank 3 --force --out {tmp_path}/run"
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "run" / "repaired"
    AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForImageClassification.from_pretrained(folder)
    line = out.splitlines()[-1].removeprefix("to load it: ")
    assert line == (
        "import transformers; model = transformers.ViTForImageClassification.from_pretrained("
        f"'{folder}')"
    )
    assert same(executed(line).state_dict(), model.state_dict())
    top, text = parts((folder / "README.md").read_text())
    assert top == {
        "library_name": "transformers",
        "pipeline_tag": "image-classification",
        "tags": ["tailcut", "label-noise"],
    }
    found = json.loads((tmp_path / "run" / "result.json").read_text())
    plainly = text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"* **Verdict**: {found['verdict']}: {found['reason']}\n" in plainly
    for said in (
        "* **Head**: readout lda, at rank 3 of 16\n",
        "* **Layers**: untouched\n",
        "* **Labels**: the head was fitted to ",
        "* **Label noise in the training data, estimated**: ",
        f"* **Before the cut**: it predicted {100 * found['agreement']['train']:.1f} % of its 60 ",
        f"* **Held-out given labels**: accuracy {100 * found['holdout']['before']:.1f} % before, ",
        "* **Inputs**: 8 x 8 pixels, bilinear, the whole image squashed, mean 0.5, ",
        f"tailcut {tailcut.__version__}, torch {torch.__version__}, ",
        "ViTForImageClassification.from_pretrained('repaired')  # or OWNER/NAME, once it is on ",
    ):
        assert said in plainly
    assert str(tmp_path) not in text


def test_a_card_may_be_edited_and_the_repair_still_loads(vit, tmp_path):
    from transformers import ViTForImageClassification

    model = ViTForImageClassification.from_pretrained(vit).eval()
    pixels = torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batches = [{"pixel_values": pixels, "labels": torch.arange(30) % 3}]
    tailcut.repair(model, batches, **DIALS).save(tmp_path / "run")
    card = tmp_path / "run" / "repaired" / "README.md"
    card.write_text(card.read_text() + "\nMore about it.\n")
    with pytest.warns(TailcutWarning, match=r"README\.md is not as it was written"):
        tailcut.load(tmp_path / "run", model)


@pytest.mark.parametrize(
    ("name", "is_on_hub"), [("google/vit", True), ("vit", True), ("/no/such/vit", False)]
)
def test_the_base_of_a_card_is_a_name_of_the_hub_and_no_path(name, is_on_hub):
    model = plain()
    model.name_or_path = name
    assert pretrained.about(model)["base"] == (name if is_on_hub else None)


def test_a_timm_network_is_saved_for_torch_and_loaded_by_the_line(tmp_path, capsys):
    import timm

    torch.manual_seed(0)
    size = {"img_size": 32, "depth": 1, "embed_dim": 12}
    network = timm.create_model("vit_tiny_patch16_224", num_classes=3, **size)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    data = images(tmp_path / "set")
    word = "timm:vit_tiny_patch16_224?img_size=32&depth=1&embed_dim=12"
    words = f"repair {word} --weights {tmp_path}/w.safetensors --format torch"
    words += f" --data imagefolder:{data} --views none --depth head --readout lda --rank 3 --force"
    assert main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    line = capsys.readouterr().out.splitlines()[-1].removeprefix("to load it: ")
    assert line == (
        "import timm, torch; model = timm.create_model('vit_tiny_patch16_224', num_classes=3, "
        "img_size=32, depth=1, embed_dim=12); "
        f"model.load_state_dict(torch.load('{tmp_path}/run/repaired.pth', weights_only=True))"
    )
    loaded = executed(line)
    assert same(loaded.state_dict(), torch.load(tmp_path / "run/repaired.pth", weights_only=True))
    assert not same(loaded.state_dict(), network.state_dict())


def test_a_factory_of_ones_own_is_in_the_line(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(
        "import torch\n"
        "def net(width=6):\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Linear(8, width), torch.nn.ReLU(),\n"
        "                               torch.nn.Linear(width, 3))\n"
    )
    np.savez(tmp_path / "a.npz", inputs=INPUTS.numpy(), labels=LABELS.numpy())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = "repair own_nets:net?width=7 --data npz:a.npz --views none --depth head --rank 2"
    assert main([*words.split(), "--readout", "lda", "--force", "--quiet", "--out", "run"]) == 0
    line = json.loads(Path("run/result.json").read_text())["load"]
    assert line == (
        "import own_nets, safetensors.torch; model = own_nets.net(width=7); "
        "model.load_state_dict(safetensors.torch.load_file('repaired.safetensors'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{line}; print(model[0])"],
        cwd="run",
        text=True,
        capture_output=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout == "Linear(in_features=8, out_features=7, bias=True)\n", done.stderr


def test_a_torch_file_of_a_hugging_face_network_is_refused_before_the_work(vit, tmp_path, capsys):
    data = images(tmp_path / "set", 12)
    words = f"repair hf:{vit} --data imagefolder:{data} --format torch --out {tmp_path}/run"
    assert main(words.split()) == 2
    assert capsys.readouterr().err.endswith(
        "\ntailcut: error: the format torch for ViTForImageClassification, which saves itself as a "
        "folder; wanted safetensors, which from_pretrained loads. Leave the format out, or call "
        "torch.save(fix.model.state_dict(), path).\n"
    )
    assert not (tmp_path / "run").exists()
