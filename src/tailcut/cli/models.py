"""The MODEL words of the command line: a name and a weights file become a network.

A word is a function here under `model`. Importing this imports no torch, which the help needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from tailcut.cli.checkpoint_configs import (
    builder_arguments,
    names,
    processed,
    timm_config,
    tokenised,
    written,
)
from tailcut.cli.preprocessing import Asked, Preprocessing, split
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

    from tailcut.cli.pictures import Steps

Make: TypeAlias = "Callable[[Any, int | None], nn.Module]"


@dataclass(frozen=True)
class Opened:
    """A MODEL word before its weights: how it reads items, and how it is built.

    Attributes:
        collate: For each kind of items it can read.
        make: (first batch's inputs, classes) -> network; without a number of classes, with the
            weights it is published with.
        names: Of its own classes, where it has them.
        steps: How it prepares images, where that can be said.
        code: Number of classes -> the Python that builds it, to load its weights into.
    """

    collate: dict[str, Collate]
    make: Make
    names: Classes | None = None
    steps: Steps | None = None
    code: Callable[[int | None], str] | None = None


Opens: TypeAlias = "Callable[[str, Asked], Opened]"
"""(what stands behind the colon, what else is asked) -> the network, not yet built."""


MODELS: dict[str, Word[Opens]] = {}
"""The MODEL words that are registered, by name."""


def model(name: str, form: str) -> Callable[[Opens], Opens]:
    """Register what opens a MODEL word, so that `name:form` can be given as MODEL.

    Args:
        name: Before the colon.
        form: What stands behind it, for messages: NAME, DIR_OR_ID; empty if there is no colon.
    """

    def register(opens: Opens) -> Opens:
        MODELS[name] = Word(form, opens)
        return opens

    return register


def network(word: str, images: Preprocessing | None = None, weights: str | None = None) -> Opened:
    """MODEL, not yet built.

    Args:
        word: Perhaps with `?name=value&...` for its builder.
        images: What the user says of it.
        weights: The file of its weights.

    Raises:
        SpecError: A word that names nothing, or an extra that is not installed.
    """
    plain, asked = split(word, images or Preprocessing(), weights)
    found = match(MODELS, plain)
    if found is not None:
        opens, rest = found
        with readable(plain):
            opened = opens(rest, asked)
        return replace(opened, make=_telling(plain, opened.make))
    kind, _, rest = plain.partition(":")
    if rest and is_module(kind):
        return _made(plain, asked)
    raise SpecError(f"no model called {word!r}", wanted=forms(MODELS), advice="Correct MODEL")


def _made(word: str, asked: Asked) -> Opened:
    """A network that a factory makes; its images are as its first convolution reads them."""
    from tailcut.cli import pictures
    from tailcut.cli.items import images, mode_of
    from tailcut.network.modules import network_in

    made = network_in(factory(word, asked.arguments))
    plain = pictures.Steps(colours=mode_of(made))
    read, steps = pictures.chosen(plain, None, asked.images, word)
    return Opened(
        images(read, pictures.of_tensors(asked.images)),
        lambda _inputs, _classes: made,
        steps=steps,
        code=lambda _: written(word.replace(":", "."), None, asked.arguments),
    )


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
def _torchvision(name: str, asked: Asked) -> Opened:
    from tailcut.cli import pictures
    from tailcut.cli.items import coloured, images

    models = extra("torchvision", "images").models
    if name not in models.list_models():
        raise SpecError(
            f"torchvision has no model {name!r}",
            wanted="a name of torchvision.models.list_models()",
            advice="Correct the name",
        )
    preset = models.get_model_weights(name).DEFAULT.transforms()
    source = f"torchvision's default weights of {name}"
    read, steps = pictures.chosen(
        pictures.of_torchvision(preset, source),
        lambda image: preset(coloured(image)),
        asked.images,
        f"torchvision:{name}",
    )

    def make(_inputs: Any, classes: int | None) -> nn.Module:
        if classes is None:
            return models.get_model(name, weights="DEFAULT", **asked.arguments)
        return models.get_model(name, **{"weights": None, **builder_arguments(classes, asked)})

    return Opened(
        images(read, pictures.of_tensors(asked.images)),
        make,
        steps=steps,
        code=lambda classes: written(
            "torchvision.models.get_model", name, builder_arguments(classes, asked)
        ),
    )


@model("timm", "NAME")
def _timm(name: str, asked: Asked) -> Opened:
    from tailcut.cli import pictures
    from tailcut.cli.items import images

    timm = extra("timm", "timm")
    about, source = timm_config(timm, name, asked.weights)
    data = importlib.import_module("timm.data")
    channels = int(asked.arguments.get("in_chans", (about.get("input_size") or (3,))[0]))
    sized = {key: asked.arguments[key] for key in ("img_size",) if key in asked.arguments}
    config = data.resolve_data_config({"in_chans": channels, **sized}, pretrained_cfg=about)
    proposed = pictures.of_timm(config, channels, source)
    transform = data.create_transform(**config, is_training=False)
    library: Any = (lambda image: transform(image.convert("RGB"))) if channels == 3 else proposed
    read, steps = pictures.chosen(proposed, library, asked.images, f"timm:{name}")

    def make(_inputs: Any, classes: int | None) -> nn.Module:
        if classes is None:
            return timm.create_model(name, pretrained=True, **asked.arguments)
        return timm.create_model(name, **{"pretrained": False, **builder_arguments(classes, asked)})

    return Opened(
        images(read, pictures.of_tensors(asked.images)),
        make,
        steps=steps,
        code=lambda classes: written("timm.create_model", name, builder_arguments(classes, asked)),
    )


@model("hf", "DIR_OR_ID")
def _hub(name: str, asked: Asked) -> Opened:
    """A folder or hub name; a classifier of text if it comes with a tokenizer, else of images."""
    from tailcut.network.pretrained import opened

    transformers = extra("transformers", "hf")
    config = transformers.AutoConfig.from_pretrained(name, **asked.arguments)
    kinds = config.architectures or [""]
    steps = None
    if "ImageClassification" in kinds[0]:
        auto = transformers.AutoModelForImageClassification
        collate, steps = processed(transformers, name, config, asked)
    else:
        auto = transformers.AutoModelForSequenceClassification
        collate = tokenised(transformers, name, asked)
    return Opened(
        collate,
        lambda _inputs, _classes: opened(auto, name, **asked.arguments),
        names(config),
        steps,
    )


@model("lab", "NAME")
def _lab(name: str, asked: Asked) -> Opened:
    from tailcut.cli import pictures
    from tailcut.cli.items import images
    from tailcut.lab.training.networks import build

    shapes: list[tuple[int, ...]] = []

    def make(inputs: Any, classes: int | None) -> nn.Module:
        if classes is None:
            raise SpecError(
                f"lab:{name} without weights",
                wanted="a trained network",
                advice="Pass --weights RUN/last.safetensors, as tailcut lab train writes it",
            )
        shapes[:] = [tuple(inputs.shape[1:])]
        return build(name, shapes[0], classes, **asked.arguments)

    read, steps = pictures.chosen(pictures.Steps(), None, asked.images, f"lab:{name}")
    return Opened(
        images(read, pictures.of_tensors(asked.images)),
        make,
        steps=steps,
        code=lambda classes: (
            f"tailcut.lab.training.networks.build({name!r}, {shapes[0]}, {classes})"
        ),
    )
