"""The MODEL words of the command line: a name and a weights file become a network."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from tailcut.errors import DataError, SpecError, TailcutError, out_of_memory
from tailcut.lab.training.networks import build
from tailcut.network.modules import network_in
from tailcut.network.pretrained import opened
from tailcut.network.weights import load_weights
from tailcut.readers.classes import Classes
from tailcut.readers.words import Collate, extra, factory, is_module, readable

Make: TypeAlias = Callable[[Any, int | None], nn.Module]


@dataclass(frozen=True)
class Opened:
    """A MODEL word before its weights: how it reads items, and how it is built.

    Attributes:
        collate: For each kind of items it can read.
        make: (first batch's inputs, classes) -> network; without a number of classes, with the
            weights it is published with.
        names: Of its own classes, where it has them.
    """

    collate: dict[str, Collate]
    make: Make
    names: Classes | None = None


def network(word: str) -> Opened:
    """MODEL, not yet built.

    Raises:
        SpecError: A word that names nothing, or an extra that is not installed.
    """
    kind, _, rest = word.partition(":")
    if kind in _MODELS and rest:
        with readable(word):
            opened = _MODELS[kind](rest)
        return replace(opened, make=_telling(word, opened.make))
    if rest and is_module(kind):
        made = network_in(factory(word))
        image = _each(lambda image: _tensor(image.convert(_mode(made) or image.mode)))
        return Opened({**_PLAIN, "image": image}, lambda _inputs, _classes: made)
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


def _telling(word: str, make: Make) -> Make:
    """What a library says of a network it cannot build or download becomes an error of ours."""

    def build(inputs: Any, classes: int | None) -> nn.Module:
        try:
            return make(inputs, classes)
        except TailcutError:
            raise
        except Exception as cause:
            if out_of_memory(cause):
                raise
            told = " ".join(str(cause).split())[:200].rstrip(".")
            raise SpecError(
                f"{word!r} cannot be built ({type(cause).__name__}: {told})",
                wanted="a network that its library can build, and download where it has no weights",
                advice="Check MODEL and the connection, or pass --weights FILE",
            ) from cause

    return build


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
    models = extra("torchvision", "images").models
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

    return Opened({**_PLAIN, "image": _each(lambda image: transform(image.convert("RGB")))}, make)


def _timm(name: str) -> Opened:
    timm = extra("timm", "timm")
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

    return Opened({**_PLAIN, "image": _each(lambda image: transform(image.convert("RGB")))}, make)


def _hub(name: str) -> Opened:
    """A folder or hub name; a classifier of text if it comes with a tokenizer, else of images."""
    transformers = extra("transformers", "hf")
    kind = transformers.AutoConfig.from_pretrained(name)
    names = kind.architectures or [""]
    if "ImageClassification" in names[0]:
        seen = _grey if getattr(kind, "num_channels", 3) == 1 else _coloured
        processor = transformers.AutoImageProcessor.from_pretrained(name)
        auto = transformers.AutoModelForImageClassification
        collate: dict[str, Collate] = {
            "image": lambda items: dict(processor(list(map(seen, items)), return_tensors="pt"))
        }
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        auto = transformers.AutoModelForSequenceClassification
        collate = {
            "text": lambda items: dict(
                tokenizer(items, padding=True, truncation=True, return_tensors="pt")
            )
        }
    return Opened(collate, lambda _inputs, _classes: opened(auto, name), _names(kind))


def _coloured(image: Any) -> Any:
    return image.convert("RGB")


def _grey(image: Any) -> np.ndarray:
    """With its one channel, which processors of transformers 4 do not add themselves."""
    return np.array(image.convert("L"))[None]


def _names(config: Any) -> Classes | None:
    """Of a configuration's classes; LABEL_0 and so on are no names."""
    if sorted(config.id2label) != list(range(len(config.id2label))):
        return None
    names = [config.id2label[number] for number in sorted(config.id2label)]
    general = any(name == f"LABEL_{number}" for number, name in enumerate(names))
    if general or len(set(names)) < len(names):
        return None
    return Classes.ordered(names, "the network's own configuration")


def _mode(model: Any) -> str | None:
    """Of the images that the first convolution of a network reads, if it has one."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    first = next((each for each in modules if isinstance(each, nn.Conv2d)), None)
    return None if first is None else {1: "L", 3: "RGB"}.get(first.in_channels)


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
    if isinstance(item, Tensor):
        pixels = item
    else:
        array = np.array(item)
        pixels = torch.from_numpy(array[..., None] if array.ndim == 2 else array).movedim(-1, 0)
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


_PLAIN: dict[str, Collate] = {"tensor": _each(_tensor), "image": _each(_tensor)}
_MODELS: dict[str, Callable[[str], Opened]] = {
    "lab": _lab,
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _hub,
}
