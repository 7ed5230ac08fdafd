"""The MODEL words of the command line: a name and a weights file become a network.

A word is a function here under `model`. Importing this imports no torch, which the help needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from tailcut.errors import SpecError, TailcutError, out_of_memory
from tailcut.readers.classes import Classes
from tailcut.readers.words import (
    Collate,
    Word,
    extra,
    factory,
    forms,
    is_module,
    match,
    readable,
)

if TYPE_CHECKING:
    from torch import nn

Make: TypeAlias = "Callable[[Any, int | None], nn.Module]"


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


MODELS: dict[str, Word[Callable[[str], Opened]]] = {}
"""The MODEL words that are registered, by name."""


def model(name: str, form: str) -> Callable[[Callable[[str], Opened]], Callable[[str], Opened]]:
    """Register what opens a MODEL word, so that `name:form` can be given as MODEL.

    Args:
        name: Before the colon.
        form: What stands behind it, for messages: NAME, DIR_OR_ID; empty if there is no colon.
    """

    def register(opens: Callable[[str], Opened]) -> Callable[[str], Opened]:
        MODELS[name] = Word(form, opens)
        return opens

    return register


def network(word: str) -> Opened:
    """MODEL, not yet built.

    Raises:
        SpecError: A word that names nothing, or an extra that is not installed.
    """
    found = match(MODELS, word)
    if found is not None:
        opens, rest = found
        with readable(word):
            opened = opens(rest)
        return replace(opened, make=_telling(word, opened.make))
    kind, _, rest = word.partition(":")
    if rest and is_module(kind):
        from tailcut.cli.items import images_of
        from tailcut.network.modules import network_in

        made = network_in(factory(word))
        return Opened(images_of(made), lambda _inputs, _classes: made)
    raise SpecError(f"no model called {word!r}", wanted=forms(MODELS), advice="Correct MODEL")


def weighted(opened: Opened, inputs: Any, classes: int, weights: str | None) -> nn.Module:
    """The network in evaluation mode, with the weights of a file if there is one.

    Raises:
        StoreError: Weights that do not fit, are damaged, or would run code.
    """
    from tailcut.network.weights import load_weights

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
            message = " ".join(str(cause).split())[:200].rstrip(".")
            raise SpecError(
                f"{word!r} cannot be built ({type(cause).__name__}: {message})",
                wanted="a network that its library can build, and download where it has no weights",
                advice="Check MODEL and the connection, or pass --weights FILE",
            ) from cause

    return build


@model("torchvision", "NAME")
def _torchvision(name: str) -> Opened:
    from tailcut.cli.items import images

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

    return Opened(images(transform), make)


@model("timm", "NAME")
def _timm(name: str) -> Opened:
    from tailcut.cli.items import images

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

    return Opened(images(transform), make)


@model("hf", "DIR_OR_ID")
def _hub(name: str) -> Opened:
    """A folder or hub name; a classifier of text if it comes with a tokenizer, else of images."""
    from tailcut.cli.items import coloured, grey
    from tailcut.network.pretrained import opened

    transformers = extra("transformers", "hf")
    kind = transformers.AutoConfig.from_pretrained(name)
    names = kind.architectures or [""]
    if "ImageClassification" in names[0]:
        seen = grey if getattr(kind, "num_channels", 3) == 1 else coloured
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


@model("lab", "NAME")
def _lab(name: str) -> Opened:
    from tailcut.cli.items import PLAIN
    from tailcut.lab.training.networks import build

    def make(inputs: Any, classes: int | None) -> nn.Module:
        if classes is None:
            raise SpecError(
                f"lab:{name} without weights",
                wanted="a trained network",
                advice="Pass --weights RUN/last.safetensors, as tailcut lab train writes it",
            )
        return build(name, tuple(inputs.shape[1:]), classes)

    return Opened(PLAIN, make)


def _names(config: Any) -> Classes | None:
    """Of a configuration's classes; LABEL_0 and so on are no names."""
    if sorted(config.id2label) != list(range(len(config.id2label))):
        return None
    names = [config.id2label[number] for number in sorted(config.id2label)]
    general = any(name == f"LABEL_{number}" for number, name in enumerate(names))
    if general or len(set(names)) < len(names):
        return None
    return Classes.ordered(names, "the network's own configuration")
