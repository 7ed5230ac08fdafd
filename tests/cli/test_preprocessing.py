"""How images become inputs: what libraries propose, in our words, and what the user changes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import tailcut
from tailcut.cli import models, pictures
from tailcut.cli.main import main
from tailcut.cli.pictures import Steps
from tailcut.cli.preprocessing import MODES, Preprocessing, parsed


def picture(width=61, height=47, mode="RGB"):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height)).convert(mode)


def refusal(call, *words, **more):
    with pytest.raises(tailcut.TailcutError) as error:
        call(*words, **more)
    return str(error.value)


SHAPES = [(61, 47), (47, 61), (300, 300), (33, 400)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "mixnet_s", "lcnet_035"]
)
def test_steps_say_what_timm_does(name, shape):
    from timm import get_pretrained_cfg
    from timm.data import create_transform, resolve_data_config

    config = resolve_data_config({}, pretrained_cfg=get_pretrained_cfg(name).to_dict())
    steps = pictures.of_timm(config, 3, "timm")
    theirs = create_transform(**config, is_training=False)
    torch.testing.assert_close(steps(picture(*shape)), theirs(picture(*shape)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "vit_b_16", "regnet_y_400mf"])
def test_steps_say_what_torchvision_does(name, shape):
    from torchvision.models import get_model_weights

    theirs = get_model_weights(name).DEFAULT.transforms()
    steps = pictures.of_torchvision(theirs, "torchvision")
    torch.testing.assert_close(steps(picture(*shape)), theirs(picture(*shape)), rtol=0, atol=1e-6)


def processors():
    from transformers import BitImageProcessor, DeiTImageProcessor, ViTImageProcessor

    square = {"height": 24, "width": 24}
    yield ViTImageProcessor(size=square)
    yield ViTImageProcessor(size=square, do_normalize=False, resample=3)
    yield DeiTImageProcessor(size={"height": 32, "width": 32}, crop_size=square)
    yield BitImageProcessor(size={"shortest_edge": 32}, crop_size=square)


@pytest.mark.parametrize("shape", SHAPES[:3])
@pytest.mark.parametrize("number", range(4))
def test_steps_say_what_an_image_processor_does(number, shape):
    processor = list(processors())[number]
    steps = pictures.of_processor(processor, "RGB", "it")
    theirs = torch.as_tensor(processor([picture(*shape)], return_tensors="pt")["pixel_values"][0])
    # some of them resize tensors, which rounds otherwise than Pillow
    assert (steps(picture(*shape)) - theirs).abs().mean() < 0.02
    assert steps.describe().startswith("24 x 24 pixels, bi")


def test_what_no_steps_can_say_is_left_to_the_library_and_refused_when_changed():
    from transformers import ConvNextImageProcessor, EfficientNetImageProcessor

    for odd in (ConvNextImageProcessor(), EfficientNetImageProcessor(rescale_offset=True)):
        assert pictures.of_processor(odd, "RGB", "it") is None
    plain = Preprocessing()
    assert pictures.chosen(None, len, plain, "hf:x") == (len, None)
    assert refusal(pictures.chosen, None, len, Preprocessing(image_size=32), "hf:x") == (
        "--image-size for hf:x, which prepares its images in a way of its own; wanted images "
        "prepared by its library. Leave the option out, or pass DATA as a factory "
        "package.module:function."
    )


def test_each_option_changes_its_own_part_of_a_proposal():
    proposed = Steps((224, 224), "bicubic", 0.875, mean=(0.5,) * 3, std=(0.2,) * 3, source="timm")

    def changed(**options):
        return proposed.changed(Preprocessing(**options))

    assert changed() == proposed
    assert changed(image_size=32).size == (32, 32)
    assert changed(image_size=32).crop == 0.875
    assert changed(resize="bilinear").mode == "bilinear"
    assert changed(resize="bilinear").crop == 0.875
    assert changed(resize="nearest/0.5").crop == 0.5
    assert (changed(resize="box/squash").squash, changed(resize="box/squash").crop) == (True, 1.0)
    assert changed(resize="none").size is None
    assert changed(mean=[0, 0, 0], std=[1]).describe() == (
        "224 x 224 pixels, bicubic, the centre, of 0.875 of it, mean 0, 0, 0, std 1"
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_size_a_crop_and_every_mode_of_pillow(mode):
    image = picture(40, 20)
    steps = Steps().changed(Preprocessing(image_size=10, resize=f"{mode}/0.5"))
    side = image.resize((40, 20), Image.Resampling[mode.upper()]).crop((15, 5, 25, 15))
    assert torch.equal(steps(image), torch.from_numpy(np.array(side)).movedim(-1, 0) / 255)
    steps = Steps(colours="L").changed(Preprocessing(image_size=8, resize=f"{mode}/squash"))
    whole = image.convert("L").resize((8, 8), Image.Resampling[mode.upper()])
    assert torch.equal(steps(image), torch.from_numpy(np.array(whole))[None] / 255)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"resize": "cubic"},
            "--resize cubic; wanted none, or MODE, MODE/squash or MODE/CROP, MODE one of nearest, "
            "box, bilinear, hamming, bicubic, lanczos and CROP above 0 and at most 1. Correct it.",
        ),
        ({"resize": "bicubic/2"}, "--resize bicubic/2; wanted none, or MODE"),
        ({"resize": "bicubic/nan"}, "--resize bicubic/nan; wanted none, or MODE"),
        ({"resize": "bicubic/"}, "--resize bicubic/; wanted none, or MODE"),
        ({"image_size": 0}, "--image-size 0; wanted a number of pixels. Choose another."),
        (
            {"std": [1, 0, 1]},
            "--std [1, 0, 1]; wanted a number for each of 3 channels, or one for all; above 0 for "
            "std. Write it as --std '[0.5, 0.5, 0.5]'.",
        ),
        ({"mean": [0.1, 0.2]}, "--mean [0.1, 0.2]; wanted a number for each of 3 channels"),
        ({"mean": [float("nan")]}, "--mean [nan]; wanted a number for each of 3 channels"),
        (
            {"resize": "none", "image_size": 3},
            "--resize none; wanted no --image-size beside it. Leave one of them out.",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    assert refusal(Preprocessing, **options).startswith(message)


def test_a_resize_without_a_size_and_a_mean_of_other_channels_are_refused():
    assert refusal(Steps().changed, Preprocessing(resize="box")) == (
        "--resize box without a size; wanted the side of the square that the network sees. Add "
        "--image-size."
    )
    grey = Steps(colours="L").changed(Preprocessing(mean=[0.1, 0.2, 0.3]))
    assert refusal(grey, picture()) == (
        "an input of shape (1, 47, 61), and --mean has 3 numbers; wanted a number for each "
        "channel, or one for all. Correct --mean."
    )
    assert parsed("bicubic/0.9") == ("bicubic", 0.9, False)


def test_tensors_are_normalised_where_the_user_says_so_and_never_resized():
    pixels = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
    collate = models.network("lab:mlp", Preprocessing(mean=[0.5], std=[0.25])).collate
    torch.testing.assert_close(collate["tensor"]([pixels])[0], (pixels / 255 - 0.5) / 0.25)
    assert torch.equal(models.network("lab:mlp").collate["tensor"]([pixels])[0], pixels / 255)
    collate = models.network("lab:mlp", Preprocessing(image_size=8)).collate
    assert refusal(collate["tensor"], [pixels]) == (
        "--image-size or --resize for tensors of shape (3, 2, 2); wanted images, which can be "
        "resized. Leave them out, or resize the tensors first."
    )


TINY = "vit_tiny_patch16_224?depth=1&embed_dim=12"


def test_arguments_of_the_builder_stand_in_the_word_or_in_an_option():
    opened = models.network(f"timm:{TINY}&in_chans=1&num_classes=7&drop_rate=0.1")
    network = opened.make(None, 3)
    assert (network.patch_embed.proj.in_channels, network.head.out_features) == (1, 7)
    assert opened.steps.colours == "L"
    assert opened.collate["image"]([picture()]).shape == (1, 1, 224, 224)
    assert opened.code(3) == (
        "timm.create_model('vit_tiny_patch16_224', num_classes=7, depth=1, embed_dim=12, "
        "in_chans=1, drop_rate=0.1)"
    )
    asked = Preprocessing(model_args={"img_size": 64})
    opened = models.network(f"timm:{TINY}", asked)
    assert opened.collate["image"]([picture()]).shape == (1, 3, 64, 64)
    assert opened.make(None, 5)(opened.collate["image"]([picture()])).shape == (1, 5)
    assert refusal(models.network, "timm:resnet18?img_size=32", asked) == (
        "MODEL 'timm:resnet18?img_size=32' says img_size=32, and elsewhere it is 64; wanted one "
        "value. Remove one of them."
    )
    assert refusal(models.network, "timm:resnet18?img_size") == (
        "MODEL 'timm:resnet18?img_size' has 'img_size' behind its name; wanted name=value, and "
        "more of them behind &. Write it as timm:resnet18?num_classes=7&in_chans=1, in quotes."
    )
    assert refusal(models.network("timm:resnet18?wings=2").make, None, 3).startswith(
        "'timm:resnet18' cannot be built (TypeError: "
    )


def test_arguments_reach_a_factory_and_torchvision(tmp_path, monkeypatch):
    (tmp_path / "wide_nets.py").write_text(
        "import torch\ndef net(width=2, deep=False):\n    return torch.nn.Linear(width, 2 + deep)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    opened = models.network("wide_nets:net?width=5&deep=true")
    assert opened.make(None, None).weight.shape == (3, 5)
    assert opened.code(None) == "wide_nets.net(width=5, deep=True)"
    opened = models.network("torchvision:mobilenet_v3_small?dropout=0.5")
    assert opened.make(None, 4).classifier[2].p == 0.5


def test_the_configuration_beside_a_checkpoint_is_asked_before_timm(tmp_path):
    import timm

    network = timm.create_model("lcnet_035", num_classes=3)
    about = {**network.pretrained_cfg, "mean": [0.1, 0.2, 0.3], "input_size": [3, 32, 32]}
    config = {"architecture": "lcnet_035", "num_classes": 3, "pretrained_cfg": about}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    opened = models.network("timm:lcnet_035", weights=str(tmp_path / "model.safetensors"))
    assert (opened.steps.mean, opened.steps.size) == ((0.1, 0.2, 0.3), (32, 32))
    assert opened.steps.source == f"the pretrained_cfg in {tmp_path}/config.json"
    opened = models.network(f"timm:local-dir:{tmp_path}")
    assert opened.steps.mean == (0.1, 0.2, 0.3)
    if tuple(map(int, timm.__version__.split(".")[:3])) >= (1, 0, 13):  # which read such folders
        built = opened.make(None, None)
        assert torch.equal(built.classifier.weight, network.classifier.weight)


COLOURS = """
import torch


class Colours(torch.nn.Module):
    \"\"\"Says which of three colours is strongest, of images of 8 pixels.\"\"\"

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 3, 1)
        self.first.weight.data = torch.eye(3)[:, :, None, None]
        self.first.bias.data.zero_()
        self.head = torch.nn.Linear(192, 3)
        self.head.weight.data = 2 * torch.eye(3).repeat_interleave(64, 1) / 64
        self.head.bias.data.zero_()

    def forward(self, images):
        return self.head(self.first(images).flatten(1))


def model(gain=0.0):
    network = Colours()
    network.head.weight.data *= gain
    return network
"""


@pytest.fixture
def colours(tmp_path, monkeypatch):
    """Images of 16 pixels, bright, and a network that was trained on smaller, normalised ones."""
    random = np.random.default_rng(0)
    for number in range(90):
        label = number % 3
        pixels = random.integers(60, 100, (16, 16, 3))
        pixels[:, :, label] += 80
        place = tmp_path / "set" / "abc"[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number:02}.png")
    (tmp_path / "bright.py").write_text(COLOURS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "diagnose bright:model --data imagefolder:set --views none --depth head --json"


def test_options_reach_the_network_and_the_result(colours, capsys):
    words = [*colours.split(), "--image-size", "8", "--mean", "[0.4]", "--std", "[0.25]"]
    words += ["--model-args", "{gain: 2.0}"]
    assert main([*words, "--out", "run"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["agreement"]["train"] == 1.0
    assert found["preprocessing"] == {
        "images": "8 x 8 pixels, bilinear, the centre, mean 0.4, std 0.25",
        "proposed_by": None,
        "changed": ["--image-size", "--mean", "--std"],
        "confirmed": True,
    }
    assert (json.loads(Path("run/result.json").read_text())["preprocessing"], err) == (
        found["preprocessing"],
        "",
    )
    config = Path("run/config.yaml").read_text()
    assert "image_size: 8\nmean:\n- 0.4\nstd:\n- 0.25\n" in config
    assert main(["diagnose", "--config", "run/config.yaml", "--out", "again", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["preprocessing"] == found["preprocessing"]


@pytest.fixture
def tiny(tmp_path):
    """A ViT of 8 pixels with its image processor, the images' means as classes."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_labels=3,
    )
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(tmp_path / "vit")
    return f"hf:{tmp_path}/vit"


def test_a_proposal_that_the_predictions_do_not_confirm_is_named(tiny, colours, capsys):
    words = colours.replace("bright:model", tiny).replace(" --json", "").split()
    assert main([*words, "--out", "run"]) == 0
    out, err = capsys.readouterr()
    said = (
        f"the image processor of {tiny[3:]} proposes 8 x 8 pixels, bilinear, the whole image "
        "squashed, mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5, and what the network predicts does not "
        "confirm it: if it was trained on other inputs, say so with --image-size, --mean, --std "
        "and --resize"
    )
    assert f"tailcut: note: {said}\n" in err
    assert "not confirmed by the predictions" in " ".join(out.split()).replace("│ ", "")
    known = json.loads(Path("run/result.json").read_text())["preprocessing"]
    assert (known["confirmed"], known["changed"]) == (False, [])


def test_an_audit_says_what_is_proposed_before_it_refuses(tiny, colours, capsys):
    words = colours.replace("bright:model", tiny).replace("diagnose", "audit")
    assert main([*words.split(), "--out", "issues.csv"]) == 2
    err = capsys.readouterr().err
    note = f"tailcut: note: images are read as the image processor of {tiny[3:]} proposes: 8 x 8 "
    assert note in err
    assert err.index(note) < err.index("tailcut: error: the network predicts ")
    assert not Path("issues.csv").exists()


def test_a_saved_folder_whose_processor_says_otherwise_is_named(tiny, colours, capsys):
    words = colours.replace("bright:model", tiny).replace("diagnose", "repair")
    words += " --mean [0.4] --readout lda --rank 3 --force --out run"
    assert main(words.split()) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["preprocessing"]["images"].endswith("mean 0.4, std 0.5, 0.5, 0.5")
    assert (
        "tailcut: note: the image processor in run/repaired is as it was and knows nothing of "
        "--mean: change it before you pass the folder on\n"
    ) in err
    page = Path("run/report.html").read_text()
    assert f"as the image processor of {tiny[3:]} proposes: " in page


def test_a_user_changes_what_an_image_processor_proposes(tiny):
    collate = models.network(tiny, Preprocessing(mean=[0.0], std=[1.0], resize="nearest")).collate
    (inputs,) = collate["image"]([picture(8, 8)]).values()
    torch.testing.assert_close(
        inputs[0], torch.from_numpy(np.array(picture(8, 8))).movedim(-1, 0) / 255
    )


def test_options_of_images_for_a_network_of_texts_are_refused(tmp_path):
    from transformers import BertConfig

    BertConfig(architectures=["BertForSequenceClassification"]).save_pretrained(tmp_path)
    assert refusal(models.network, f"hf:{tmp_path}", Preprocessing(image_size=8)) == (
        f"--image-size for hf:{tmp_path}, which reads text; wanted a network that reads images. "
        "Leave the option out."
    )
