"""Folders of images, with one subfolder for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tailcut.errors import SpecError
from tailcut.readers.found import Found
from tailcut.readers.images import SUFFIXES, pictures
from tailcut.readers.registry import Reading, source
from tailcut.readers.words import existing

_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "holdout"}


@source("imagefolder", "DIR")
def _word(root: str, reading: Reading) -> Found:
    del reading
    return folder(root)


def folder(root: str) -> Found:
    """One subfolder for each class, in the order of their names, as torchvision's ImageFolder.

    Hidden files and folders are passed over, and so are folders without any file; linked
    folders are followed.

    Raises:
        SpecError: No images, a class without any that can be read, the parent of several
            splits, or a link that leads round in a circle.
    """
    place = existing(Path(root))
    if not place.is_dir():
        raise SpecError(
            f"{root} is a file",
            wanted="a folder with one folder of images for each class",
            advice="Check the path",
        )
    images = _images(root, place)
    listed = [(file, label) for label, each in enumerate(images) for file in images[each]]
    return Found(
        where=root,
        items=pictures([file for file, _ in listed], [str(file) for file, _ in listed]),
        labels=[label for _, label in listed],
        kind="image",
        keys=[str(file.relative_to(place)) for file, _ in listed],
        names=tuple(each.name for each in images),
        sorted_here=True,
        place=lambda row: str(listed[row][0]),
    )


def _images(root: str, place: Path) -> dict[Path, list[Path]]:
    """The images of each class folder, in the order of their names; at least one of each."""
    folders = [each for each in sorted(place.iterdir()) if each.is_dir() and _shown(each.name)]
    files = {each: found for each in folders if (found := list(_files(each)))}
    _refuse_splits(root, list(files))
    images = {each: [file for file in files[each] if _is_image(file)] for each in files}
    for each in files:
        if not images[each]:
            raise SpecError(
                f"the class folder {each} has no image, but {files[each][0].name}",
                wanted=f"images in every class folder: {', '.join(SUFFIXES)}",
                advice="Convert its images, or remove the folder",
            )
    if not images:
        raise SpecError(
            f"no images under {root}",
            wanted="one folder for each class with images in it",
            advice="Check the folder",
        )
    return images


def _shown(name: str) -> bool:
    return not name.startswith(".")


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _files(place: Path) -> Iterator[Path]:
    """All files below a folder in torchvision's order, but for hidden ones."""
    for root, _, names in sorted(_walked(place)):
        yield from (Path(root, name) for name in sorted(names) if _shown(name))


def _walked(place: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk through links too, but a link to a folder above itself is refused."""

    def refuse(cause: OSError) -> None:
        raise SpecError(
            f"{cause.filename} cannot be listed ({cause.strerror})",
            wanted="folders that can be read",
            advice="Change its permissions, or remove it",
        )

    for root, folders, names in os.walk(place, followlinks=True, onerror=refuse):
        folders[:] = filter(_shown, folders)
        for each in (Path(root, name) for name in folders):
            above = (parent.resolve() for parent in (Path(root), *Path(root).parents))
            if each.is_symlink() and each.resolve() in above:
                raise SpecError(
                    f"the link {each} leads to a folder above itself",
                    wanted="folders without a circle",
                    advice="Remove the link",
                )
        yield root, folders, names


def _refuse_splits(root: str, classes: list[Path]) -> None:
    """Not one data set, but several of them side by side."""
    splits = [each for each in classes if each.name.lower() in _SPLITS]
    nested = [each for each in splits if _has_folders(each)]
    if classes and (len(splits) == len(classes) or len(nested) > 1):
        raise SpecError(
            f"{root} has the folders {', '.join(each.name for each in splits)}, which are named "
            "like splits and not like classes",
            wanted="one folder for each class",
            advice=f"Pass imagefolder:{splits[0]}, if that has them",
        )


def _has_folders(place: Path) -> bool:
    return any(each.is_dir() and _shown(each.name) for each in place.iterdir())
