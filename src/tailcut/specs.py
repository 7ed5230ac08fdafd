"""The words of the command line: MODEL and DATA become a network and batches."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tailcut._typing import Batches
from tailcut.errors import DataError, SpecError, StoreError
from tailcut.lab.data import digits, images_and_labels
from tailcut.lab.networks import build
from tailcut.network.store import load_weights

Collate = Callable[[list[Any]], Any]
"""Raw items (PIL images, texts or tensors) to what a network is called with."""


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
        return (item() if callable(item) else item), int(self.labels_N[row]), row

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


@dataclass(frozen=True)
class Opened:
    """A MODEL word before its weights: how it reads items, and how it is built.

    Attributes:
        collate: For each kind of items it can read.
        make: (first batch's inputs, classes) -> network; without a number of classes, with the
            weights it is published with.
    """

    collate: dict[str, Collate]
    make: Callable[[Any, int | None], nn.Module]


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
        found = _DATA[kind](rest)
    elif "." in kind and rest:
        found = _factory(plain)
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


def network(word: str) -> Opened:
    """MODEL, not yet built.

    Raises:
        SpecError: A word that names nothing, or an extra that is not installed.
    """
    kind, _, rest = word.partition(":")
    if kind in _MODELS and rest:
        return _MODELS[kind](rest)
    if "." in kind and rest:
        return Opened(_PLAIN, lambda _inputs, _classes: _factory(word))
    raise SpecError(
        f"no model called {word!r}",
        wanted="torchvision:NAME, timm:NAME, hf:DIR_OR_ID, lab:NAME or package.module:factory",
        advice="Correct MODEL",
    )


def weighted(opened: Opened, inputs: Any, classes: int, weights: str | None) -> nn.Module:
    """The network in evaluation mode, with the weights of a file if there is one.

    Raises:
        StoreError: Weights that do not fit, are damaged, or would run code.
    """
    model = opened.make(inputs, None if weights is None else classes)
    if weights is not None:
        load_weights(model, weights)
    return model.eval()


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
    items = [_opener(file) for file, _ in files]
    return Rows(items, torch.tensor([label for _, label in files]), "image")


def _opener(file: Path) -> Callable[[], Any]:
    def opened() -> Any:
        from PIL import Image

        return Image.open(file).convert("RGB")

    return opened


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
    try:
        with np.load(_existing(Path(path)), allow_pickle=False) as arrays:
            held = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        clean_N = held.get("clean")
        return Rows(held["inputs"], held["labels"].long(), "tensor", clean_N)
    except (KeyError, ValueError, OSError) as cause:
        raise StoreError(
            f"{path} cannot be read ({cause})",
            wanted="an npz file with the arrays inputs and labels, and perhaps clean",
            advice="Save it with numpy.savez(path, inputs=..., labels=...)",
        ) from None


def _hub_data(name: str) -> Rows:
    """A data set of the hub or a local folder; `NAME:split` takes another split than train."""
    datasets = _extra("datasets", "hf")
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
    return Rows(table[item], torch.tensor(table[label]), kind)


def _lab(name: str) -> Opened:
    def make(inputs: Any, classes: int | None) -> nn.Module:
        if classes is None:
            raise SpecError(
                f"lab:{name} without weights",
                wanted="a trained network",
                advice="Pass --weights RUN/last.safetensors, as tailcut lab train writes it",
            )
        return build(name, tuple(inputs.shape[1:]), classes)

    return Opened(_PLAIN, make)


def _torchvision(name: str) -> Opened:
    models = _extra("torchvision", "images").models
    if name not in models.list_models():
        raise SpecError(
            f"torchvision has no model {name!r}",
            wanted="a name of torchvision.models.list_models()",
            advice="Correct the name",
        )
    transform = models.get_model_weights(name).DEFAULT.transforms()

    def make(_inputs: Any, classes: int | None) -> nn.Module:
        if classes is None:
            return models.get_model(name, weights="DEFAULT")
        return models.get_model(name, weights=None, num_classes=classes)

    return Opened({**_PLAIN, "image": _each(transform)}, make)


def _timm(name: str) -> Opened:
    timm = _extra("timm", "timm")
    if not timm.is_model(name):
        raise SpecError(
            f"timm has no model {name!r}",
            wanted="a name of timm.list_models()",
            advice="Correct the name",
        )
    data = importlib.import_module("timm.data")
    about = timm.get_pretrained_cfg(name)
    config = data.resolve_data_config(pretrained_cfg=about.to_dict() if about else {})
    transform = data.create_transform(**config, is_training=False)

    def make(_inputs: Any, classes: int | None) -> nn.Module:
        if classes is None:
            return timm.create_model(name, pretrained=True)
        return timm.create_model(name, pretrained=False, num_classes=classes)

    return Opened({**_PLAIN, "image": _each(transform)}, make)


def _hub(name: str) -> Opened:
    """A folder or hub name; a classifier of text if it comes with a tokenizer, else of images."""
    transformers = _extra("transformers", "hf")
    kind = transformers.AutoConfig.from_pretrained(name)
    names = kind.architectures or [""]
    if "ImageClassification" in names[0]:
        processor = transformers.AutoImageProcessor.from_pretrained(name)
        auto = transformers.AutoModelForImageClassification
        collate: dict[str, Collate] = {
            "image": lambda items: dict(processor(items, return_tensors="pt"))
        }
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        auto = transformers.AutoModelForSequenceClassification
        collate = {
            "text": lambda items: dict(
                tokenizer(items, padding=True, truncation=True, return_tensors="pt")
            )
        }
    return Opened(collate, lambda _inputs, _classes: auto.from_pretrained(name))


def _factory(word: str) -> Any:
    """What `package.module:function` returns; the current folder counts as a package path."""
    module_name, _, function = word.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as cause:
        raise SpecError(
            f"{word!r} cannot be imported ({cause})",
            wanted="package.module:function that Python finds",
            advice="Run from the folder of the module, or install its package",
        ) from None
    return made()


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        raise SpecError(
            f"{module} cannot be imported ({cause})",
            wanted=f"tailcut with the extra {extra!r}",
            advice=f"Run: pip install 'tailcut[{extra}]'",
        ) from None


def _existing(path: Path) -> Path:
    if not path.exists():
        raise SpecError(f"nothing at {path}", wanted="data to read", advice="Check the path")
    return path


def _each(transform: Callable[[Any], Tensor]) -> Collate:
    def collate(items: list[Any]) -> Tensor:
        tensors = [transform(item) for item in items]
        shapes = {tuple(tensor.shape) for tensor in tensors}
        if len(shapes) > 1:
            raise DataError(
                f"inputs of the shapes {', '.join(map(str, sorted(shapes)))} in one batch",
                wanted="one shape",
                advice="Resize the images, or pass a factory package.module:function",
            )
        return torch.stack(tensors)

    return collate


def _tensor(item: Any) -> Tensor:
    """Pixels (uint8 tensors, PIL images) as floats 0..1, channels first; others as they are."""
    pixels = item if isinstance(item, Tensor) else torch.from_numpy(np.array(item)).movedim(-1, 0)
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


_PLAIN: dict[str, Collate] = {"tensor": _each(_tensor), "image": _each(_tensor)}
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".gif"}
_DATA: dict[str, Callable[[str], Rows]] = {
    "imagefolder": _images,
    "parquet": _parquet,
    "tsv": _tsv,
    "npz": _npz,
    "hf": _hub_data,
}
_MODELS: dict[str, Callable[[str], Opened]] = {
    "lab": _lab,
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _hub,
}
