"""Images: converted as torchvision's own loader converts them, or refused by file name."""

import pickle
import struct
import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, features
from torch.utils.data import DataLoader

import tailcut
from tailcut.cli import datasets as sources
from tailcut.cli import models
from tailcut.readers.images import Picture, pictures

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype="uint8")


def drawn(mode):
    image = Image.fromarray(PIXELS, "RGBA")
    return image if mode in {"RGBA", "LA", "PA"} else image.convert("RGB")


def torchvision_opens(path):
    from torchvision.datasets.folder import default_loader

    return np.asarray(default_loader(str(path)))


@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [
        ("1", "png", {}),
        ("L", "jpg", {}),
        ("LA", "png", {}),
        ("L", "png", {"transparency": 7}),
        ("P", "png", {}),
        ("P", "gif", {}),
        ("P", "png", {"transparency": 3}),
        ("P", "png", {"transparency": bytes(range(250))}),
        ("RGB", "png", {"transparency": (1, 2, 3)}),
        ("RGB", "webp", {}),
        ("RGB", "tiff", {"compression": "tiff_lzw"}),
        ("RGBA", "png", {}),
        ("RGBA", "webp", {"lossless": True}),
        ("CMYK", "jpg", {}),
        ("CMYK", "tiff", {}),
        ("YCbCr", "jpg", {}),
        ("LAB", "tiff", {}),
        ("L", "pgm", {}),
        ("RGB", "ppm", {}),
        ("P", "bmp", {}),
        ("1", "tiff", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")
def test_every_mode_becomes_what_torchvision_makes_of_it(tmp_path, mode, suffix, options):
    path = tmp_path / f"a.{suffix}"
    drawn(mode).convert(mode).save(path, **options)
    found = Picture(path, str(path))()
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), torchvision_opens(path))


@pytest.mark.parametrize(
    ("array", "suffix", "mode"),
    [
        (PIXELS[..., 0].astype("uint16") * 200, "png", "I;16"),
        (PIXELS[..., 0].astype("uint16") * 200, "tiff", "I;16"),
        (PIXELS[..., 0].astype("int32") * 200, "tiff", "I"),
        (PIXELS[..., 0] / np.float32(255), "tiff", "F"),
        (PIXELS[..., 0].astype("uint16") * 200, "pgm", "I"),
    ],
)
def test_grey_values_of_more_than_8_bits_are_refused_and_not_clipped(tmp_path, array, suffix, mode):
    path = tmp_path / f"a.{suffix}"
    if suffix == "pgm":
        height, width = array.shape
        path.write_bytes(b"P5 %d %d 65535\n" % (width, height) + array.astype(">u2").tobytes())
    else:
        Image.fromarray(array).save(path)
    with pytest.raises(tailcut.DataError) as error:
        Picture(path, str(path))()
    assert str(error.value) == (
        f"{path} has grey values of more than 8 bits (mode {mode}); wanted 8 bits a channel, since "
        "nobody says which value is white. Convert it as the images were that the network was "
        "trained on."
    )


def whole(suffix):
    buffer = BytesIO()
    Image.fromarray(np.tile(PIXELS, (20, 20, 1))[..., :3]).save(buffer, suffix)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        whole("png")[:300],
        whole("jpeg")[:900],
        whole("bmp")[:-9],
        whole("webp")[:500],
        whole("tiff")[:3000],
        whole("ppm")[:-1],
        whole("png").replace(b"IDAT", b"IDAX"),
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">IIB", 0, 5, 8) + b"\2\0\0\0" * 2,
        b"P5 9 x 255\n",
        b"P5 4 4 0\n" + bytes(16),
    ],
)
def test_a_damaged_image_is_told_with_its_name(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(tailcut.DataError) as error:
        Picture(tmp_path / "a.png", "my/a.png")()
    assert str(error.value).startswith("my/a.png is damaged or no image (")
    assert str(error.value).endswith("); wanted an image that Pillow reads. Mend or remove it.")


@pytest.mark.parametrize("times", [1.5, 3])
def test_an_image_of_too_many_pixels_is_refused_before_it_fills_the_memory(
    tmp_path, monkeypatch, times
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(30 / times))
    drawn("RGB").save(tmp_path / "a.png")
    with pytest.raises(
        tailcut.DataError, match=r"^a\.png is damaged or no image \(Image size \(30"
    ):
        Picture(tmp_path / "a.png", "a.png")()


def test_a_file_that_is_gone_or_a_link_to_nothing_is_told(tmp_path):
    (tmp_path / "a.png").symlink_to("nothing.png")
    with pytest.raises(tailcut.DataError, match="No such file or directory"):
        Picture(tmp_path / "a.png", "a.png")()


def sources_of(tmp_path, modes):
    for number, mode in enumerate(modes):
        (tmp_path / str(number % 2)).mkdir(parents=True, exist_ok=True)
        drawn("RGB").convert(mode).save(tmp_path / str(number % 2) / f"{number}.png")
    return sources.rows(f"imagefolder:{tmp_path}")


@pytest.mark.parametrize(
    ("modes", "channels"), [("LLLL", 1), ("LLL1", 3), (["RGB", "L", "P", "L"], 3), ("RGBL", 3)]
)
def test_images_of_one_data_set_have_the_same_channels(tmp_path, modes, channels):
    modes = ["L", "L", "L", "RGB"] if modes == "RGBL" else list(modes)
    rows = sources_of(tmp_path, modes)
    ((inputs, _, _),) = rows.batches(models.network("lab:mlp").collate, 8)
    assert inputs.shape == (4, channels, 6, 5)


def test_what_cannot_be_opened_does_not_decide_about_channels(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    drawn("L").convert("L").save(tmp_path / "b.png")
    names = ["a.png", "b.png"]
    assert [each.grey for each in pictures([tmp_path / name for name in names], names)] == [
        True
    ] * 2


FACTORIES = """
from torch.nn import Conv2d, Flatten, Linear, Sequential
def rgb(): return Sequential(Conv2d(3, 2, 3), Flatten(), Linear(24, 2))
def grey(): return Sequential(Conv2d(1, 2, 3), Flatten(), Linear(24, 2))
"""


@pytest.mark.parametrize("modes", [["L", "L"], ["RGB", "L", "RGBA", "P"]])
def test_images_get_the_channels_that_the_network_reads(tmp_path, monkeypatch, modes):
    (tmp_path / "nets_of_images.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    rows = sources_of(tmp_path / "images", modes)
    for name, channels in (("rgb", 3), ("grey", 1)):
        opened = models.network(f"nets_of_images:{name}")
        ((inputs, _, _),) = rows.batches(opened.collate, 8)
        assert inputs.shape == (len(modes), channels, 6, 5)
        assert models.weighted(opened, inputs, 2, None)(inputs).shape == (len(modes), 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_reach_a_classifier_of_the_hub(tmp_path, channels):
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=channels,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        id2label={0: "ape", 1: "bee"},
        label2id={"ape": 0, "bee": 1},
    )
    ViTForImageClassification(config).save_pretrained(tmp_path / "net")
    mean = [0.5] * channels
    ViTImageProcessor(
        size={"height": 8, "width": 8}, image_mean=mean, image_std=mean
    ).save_pretrained(tmp_path / "net")
    rows = sources_of(tmp_path / "images", ["L", "L"])
    opened = models.network(f"hf:{tmp_path}/net")
    assert opened.names is not None
    assert opened.names.names == ("ape", "bee")
    (batch,) = rows.batches(opened.collate, 8)
    assert batch["pixel_values"].shape == (2, channels, 8, 8)


def test_a_damaged_image_is_told_through_the_workers_of_a_loader(tmp_path):
    drawn("RGB").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    names = ["good.png", "bad.png"]
    items = pictures([tmp_path / name for name in names], names)
    assert pickle.loads(pickle.dumps(items)) == items
    rows = sources.Rows(items, torch.tensor([0, 1]), "image")
    loader = DataLoader(rows, 1, num_workers=1, collate_fn=_labels)
    with pytest.raises(tailcut.DataError) as error:
        list(loader)
    assert str(error.value) == (
        "row 1 cannot be opened: bad.png is damaged or no image (cannot identify image file); "
        "wanted an image that Pillow reads. Mend or remove it."
    )


def _labels(rows):
    return [label for _, label, _ in rows]


def test_pillow_here_reads_every_form_that_is_tested():
    assert features.check("webp")
    assert features.check("libtiff")
