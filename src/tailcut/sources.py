"""The DATA words of the command line: files, folders and factories become batches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tailcut._typing import Batches
from tailcut.errors import DataError, SpecError
from tailcut.lab.data import digits, images_and_labels, opener
from tailcut.numerics.checks import checked_labels
from tailcut.words import Collate, extra, factory, is_module, readable


@dataclass(frozen=True, eq=False)
class Rows(Dataset[Any]):
    """Raw items with their labels.

    Attributes:
        items: Tensors, PIL images (or what opens them), or texts.
        labels_N: Given labels.
        kind: "tensor", "image" or "text".
        clean_N: True labels where the file holds them.
    """

    items: Any
    labels_N: Tensor
    kind: str
    clean_N: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, row: int) -> tuple[Any, int, int]:
        item = self.items[row]
        if callable(item):
            try:
                item = item()
            except OSError as cause:
                raise DataError(
                    f"row {row} cannot be opened ({cause})",
                    wanted="an image",
                    advice="Mend or remove that file",
                ) from None
        return item, int(self.labels_N[row]), row

    def true(self) -> Rows:
        """With the true labels as labels, where they are known."""
        return self if self.clean_N is None else replace(self, labels_N=self.clean_N)

    def between(self, rows: slice) -> Rows:
        """Some consecutive rows."""
        clean_N = None if self.clean_N is None else self.clean_N[rows]
        return replace(self, items=self.items[rows], labels_N=self.labels_N[rows], clean_N=clean_N)

    def batches(self, collate: Mapping[str, Collate], batch_size: int) -> Batches:
        """In order, with the row numbers.

        Raises:
            SpecError: A network that cannot read items of this kind.
        """
        if self.kind not in collate:
            raise SpecError(
                f"{self.kind} data for a network that reads {' or '.join(collate)}",
                wanted="data of that kind",
                advice="Check MODEL and DATA, or pass a factory package.module:function for either",
            )

        def together(rows: list[tuple[Any, int, int]]) -> Any:
            items, labels, numbers = zip(*rows, strict=True)
            inputs = collate[self.kind](list(items))
            labels, numbers = torch.tensor(labels), torch.tensor(numbers)
            if isinstance(inputs, Mapping):
                return {**inputs, "labels": labels, "index": numbers}
            return inputs, labels, numbers

        return DataLoader(self, batch_size, collate_fn=together)


def rows(word: str) -> Rows | Batches:
    """DATA: rows of a file or folder; a factory's batches are passed on as they are.

    Raises:
        SpecError: A word that names nothing, or rows that are not there.
    """
    match = re.fullmatch(r"(.*)\[(\d*):(\d*)\]", word, re.DOTALL)
    plain = match.group(1) if match else word
    kind, _, rest = plain.partition(":")
    if plain == "digits":
        samples = digits()
        found: Any = Rows(samples.inputs, samples.given, "tensor")
    elif kind in _DATA and rest:
        with readable(plain):
            found = _DATA[kind](rest)
    elif rest and is_module(kind):
        found = factory(plain)
    else:
        raise SpecError(
            f"no data called {word!r}",
            wanted="digits, imagefolder:DIR, parquet:FILE, tsv:FILE, npz:FILE, hf:NAME or "
            "package.module:factory, each perhaps with [a:b]",
            advice="Correct DATA",
        )
    if match is None:
        return found
    if not isinstance(found, Rows):
        raise SpecError(
            f"rows {word[len(plain) :]} of a factory's batches",
            wanted="a factory without [a:b]",
            advice="Let the factory choose its rows",
        )
    chosen = found.between(slice(*(int(edge) if edge else None for edge in match.groups()[1:])))
    if not len(chosen):
        raise SpecError(
            f"{word!r} has no rows: there are {len(found)}",
            wanted="a range inside the data",
            advice="Correct [a:b]",
        )
    return chosen


def _images(folder: str) -> Rows:
    """One subfolder for each class, in the order of their names."""
    place = _existing(Path(folder))
    classes = sorted(each for each in place.iterdir() if each.is_dir())
    files = [
        (file, label)
        for label, each in enumerate(classes)
        for file in sorted(each.rglob("*"))
        if file.suffix.lower() in _SUFFIXES
    ]
    if not files:
        raise SpecError(
            f"no images under {folder}",
            wanted="one folder for each class with images in it",
            advice="Check the folder",
        )
    items = [opener(file) for file, _ in files]
    return Rows(items, torch.tensor([label for _, label in files]), "image")


def _parquet(path: str) -> Rows:
    images, labels_N = images_and_labels(_existing(Path(path)))
    return Rows(images, labels_N, "image")


def _tsv(path: str) -> Rows:
    """One text and one integer label in each line, a tab between them; a header may lead."""
    lines = _existing(Path(path)).read_text(encoding="utf-8").splitlines()
    pairs = [line.rsplit("\t", 1) for line in lines if line]
    if pairs and not pairs[0][-1].strip().isdigit():
        pairs = pairs[1:]
    for number, pair in enumerate(pairs, 1):
        if len(pair) != 2 or not pair[1].strip().isdigit():
            raise SpecError(
                f"row {number} of {path} is {'<tab>'.join(pair)[:60]!r}",
                wanted="a text, a tab and an integer label",
                advice="Map class names to the integers that the network was trained on",
            )
    labels_N = torch.tensor([int(label) for _, label in pairs])
    return Rows([text for text, _ in pairs], labels_N, "text")


def _npz(path: str) -> Rows:
    with _existing(Path(path)).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        held = {name: arrays[name] for name in arrays.files}
    if not {"inputs", "labels"} <= set(held):
        raise SpecError(
            f"{path} holds the arrays {sorted(held)}",
            wanted="inputs and labels, and perhaps clean",
            advice="Save it with numpy.savez(path, inputs=..., labels=...)",
        )
    labels_N = checked_labels(held["labels"], None, path)
    clean_N = checked_labels(held["clean"], None, path) if "clean" in held else None
    return Rows(torch.from_numpy(held["inputs"]), labels_N, "tensor", clean_N)


def _hub_data(name: str) -> Rows:
    """A data set of the hub or a local folder; `NAME:split` takes another split than train."""
    datasets = extra("datasets", "hf")
    path, _, split = name.partition(":")
    table = datasets.load_dataset(path, split=split or "train")
    columns = table.column_names
    label = next((each for each in ("label", "labels") if each in columns), None)
    item = next((each for each in ("img", "image", "text", "sentence") if each in columns), None)
    if label is None or item is None:
        raise SpecError(
            f"the data set {path} has the columns {columns}",
            wanted="a label column (label or labels) and one of img, image, text, sentence",
            advice="Pass a factory package.module:function that yields batches",
        )
    kind = "image" if item in {"img", "image"} else "text"
    return Rows(table[item], checked_labels(list(table[label]), None, name), kind)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise SpecError(f"nothing at {path}", wanted="data to read", advice="Check the path")
    return path


_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".gif"}
_DATA: dict[str, Callable[[str], Rows]] = {
    "imagefolder": _images,
    "parquet": _parquet,
    "tsv": _tsv,
    "npz": _npz,
    "hf": _hub_data,
}
