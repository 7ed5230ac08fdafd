"""Folders of images: what is a class, what is passed over, and what is refused by name."""

import os

import pytest
from PIL import Image

import tailcut
from tailcut.cli import datasets as sources


def grown(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith((".txt", "/")):
            (root / file).touch() if not file.endswith("/") else (root / file).mkdir(exist_ok=True)
        else:
            Image.new("RGB", (2, 2)).save(root / file, "png")
    return root


def told(root):
    with pytest.raises(tailcut.SpecError) as error:
        sources.rows(f"imagefolder:{root}")
    return str(error.value)


def test_rows_are_those_of_torchvision_in_its_order(tmp_path):
    from torchvision.datasets import ImageFolder

    files = ["b/x/2.png", "b/1.JPG", "b/z.pgm", "b/a/b/0.webp", "a/10.png", "a/9.tif", "a/é.ppm"]
    grown(tmp_path, *files, "10/a.png", "9/a.png", "A/a.bmp", "b/read me.txt")
    expected = ImageFolder(str(tmp_path))
    rows = sources.rows(f"imagefolder:{tmp_path}")
    assert [str(tmp_path / key) for key in rows.keys] == [path for path, _ in expected.samples]
    assert rows.labels_N.tolist() == expected.targets
    assert list(rows.class_names) == expected.classes


def test_hidden_and_empty_folders_and_hidden_files_are_no_class_and_no_row(tmp_path):
    grown(
        tmp_path,
        "b/1.png",
        "b/._1.png",
        "b/.thumbnails/1.png",
        "d/1.png",
        ".ipynb_checkpoints/1.png",
        "__MACOSX/._1.png",
        "a/",
        "c/deep/",
        "list.txt",
    )
    rows = sources.rows(f"imagefolder:{tmp_path}")
    assert (rows.class_names, rows.keys) == (("b", "d"), ["b/1.png", "d/1.png"])
    assert rows.labels_N.tolist() == [0, 1]


def test_a_class_whose_images_cannot_be_read_is_refused_and_not_left_out(tmp_path):
    grown(tmp_path, "a/1.png", "b/1.heic", "c/1.png")
    assert told(tmp_path) == (
        f"the class folder {tmp_path}/b has no image, but 1.heic; wanted images in every class "
        "folder: .jpg, .jpeg, .png, .ppm, .pgm, .bmp, .tif, .tiff, .webp, .gif. Convert its "
        "images, or remove the folder."
    )


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png"], "train, val"),
        (["train/1.png", "test/1.png"], "test, train"),
        (["Train/a/1.png", "Validation/a/1.png", "extra/a/1.png"], "Train, Validation"),
        (["training/a/1.png", "val/", ".cache/x/1.png"], "training"),
    ],
)
def test_the_parent_of_several_splits_is_refused_by_name(tmp_path, files, splits):
    grown(tmp_path, *files)
    first = splits.partition(",")[0]
    assert told(tmp_path) == (
        f"{tmp_path} has the folders {splits}, which are named like splits and not like classes; "
        f"wanted one folder for each class. Pass imagefolder:{tmp_path}/{first}, if that has them."
    )


def test_a_class_may_be_called_train(tmp_path):
    rows = sources.rows(f"imagefolder:{grown(tmp_path, 'bus/1.png', 'train/express/1.png')}")
    assert rows.class_names == ("bus", "train")


def test_linked_folders_and_files_are_followed(tmp_path):
    store = grown(tmp_path / "store", "cats/1.png", "more/2.png", "3.png")
    root = grown(tmp_path / "root", "dog/1.png")
    (root / "cat").symlink_to(store / "cats")
    (root / "dog" / "more").symlink_to("../../store/more")
    (root / "dog" / "4.png").symlink_to(store / "3.png")
    rows = sources.rows(f"imagefolder:{root}")
    assert rows.keys == ["cat/1.png", "dog/1.png", "dog/4.png", "dog/more/2.png"]


@pytest.mark.parametrize("links", [{"a/up": ".."}, {"a/self": "."}, {"a/x": "../b", "b/y": "../a"}])
def test_links_that_lead_round_in_a_circle_are_refused(tmp_path, links):
    grown(tmp_path, "a/1.png", "b/1.png")
    for link, target in links.items():
        (tmp_path / link).symlink_to(target)
    message = told(tmp_path)
    assert message.startswith(f"the link {tmp_path}/a/")
    assert message.endswith(
        " leads to a folder above itself; wanted folders without a circle. Remove the link."
    )


def test_a_file_and_a_folder_without_classes_are_refused(tmp_path):
    grown(tmp_path, "1.png")
    wanted = "one folder for each class with images in it"
    assert told(tmp_path) == f"no images under {tmp_path}; wanted {wanted}. Check the folder."
    assert told(tmp_path / "1.png") == (
        f"{tmp_path}/1.png is a file; wanted a folder with one folder of images for each class. "
        "Check the path."
    )
    assert (
        told(tmp_path / "no") == f"nothing at {tmp_path}/no; wanted data to read. Check the path."
    )


def test_names_that_are_no_unicode_are_read_like_others(tmp_path):
    grown(tmp_path, "a/1.png")
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / os.fsdecode(b"\xff.png"))
    assert len(sources.rows(f"imagefolder:{tmp_path}")) == 1
