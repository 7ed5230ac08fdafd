"""What lies beside a network's weights: its configuration, its tokenizer, its image processor."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailcut.cli.preprocessing import Asked
from tailcut.errors import SpecError
from tailcut.readers.classes import Classes
from tailcut.readers.words import Collate, extra

if TYPE_CHECKING:
    from tailcut.cli.pictures import Steps


def timm_config(timm: Any, name: str, weights: str | None) -> tuple[dict[str, Any], str]:
    """The pretrained_cfg of a network and who says it: the checkpoint's own before timm's.

    Raises:
        SpecError: A name that timm does not have.
    """
    source, _, place = name.partition(":")
    beside = Path(place) if source == "local-dir" else Path(weights or "").parent
    config = beside / "config.json"
    if (weights is not None or source == "local-dir") and config.is_file():
        held = json.loads(config.read_text(encoding="utf-8")).get("pretrained_cfg")
        if isinstance(held, dict):
            return held, f"the pretrained_cfg in {config}"
    if source == "hf-hub":
        return timm.models.load_model_config_from_hf(place)[0], f"the pretrained_cfg of {place}"
    if source != "local-dir" and not timm.is_model(name):
        raise SpecError(
            f"timm has no model {name!r}",
            wanted="a name of timm.list_models(), hf-hub:OWNER/NAME or local-dir:DIR",
            advice="Correct the name",
        )
    about = timm.get_pretrained_cfg(name) if source != "local-dir" else None
    return about.to_dict() if about else {}, f"timm's data config of {name}"


def builder_arguments(classes: int | None, asked: Asked) -> dict[str, Any]:
    """Arguments of a builder: the classes of the data, unless the user says another number."""
    return {**({} if classes is None else {"num_classes": classes}), **asked.arguments}


def written(function: str, name: str | None, arguments: Mapping[str, Any], *rest: Any) -> str:
    """A call as Python writes it."""
    first = [repr(each) for each in (name, *rest) if each is not None]
    return f"{function}({', '.join(first + [f'{key}={v!r}' for key, v in arguments.items()])})"


def processed(
    transformers: Any, name: str, config: Any, asked: Asked
) -> tuple[dict[str, Collate], Steps | None]:
    """Images by the processor that lies beside the network, or as the user says."""
    from tailcut.cli import pictures
    from tailcut.cli.items import coloured, each, grey

    if importlib.util.find_spec("torchvision") is not None:
        extra("torchvision", "images")  # transformers does not say that this one does not load
    one = getattr(config, "num_channels", 3) == 1
    seen = grey if one else coloured
    processor = transformers.AutoImageProcessor.from_pretrained(name)
    proposed = pictures.of_processor(
        processor, "L" if one else "RGB", f"the image processor of {name}"
    )
    if not asked.images.of_images:
        return {
            "image": lambda items: dict(processor(list(map(seen, items)), return_tensors="pt"))
        }, proposed
    read, steps = pictures.chosen(proposed, None, asked.images, f"hf:{name}")
    stacked = each(read)
    return {"image": lambda items: {"pixel_values": stacked(items)}}, steps


def tokenised(transformers: Any, name: str, asked: Asked) -> dict[str, Collate]:
    """Texts by the tokenizer that lies beside the network.

    Raises:
        SpecError: Something asked of images.
    """
    if asked.images.of_images:
        option = asked.images.of_images[0].replace("_", "-")
        raise SpecError(
            f"--{option} for hf:{name}, which reads text",
            wanted="a network that reads images",
            advice="Leave the option out",
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    return {
        "text": lambda items: dict(
            tokenizer(items, padding=True, truncation=True, return_tensors="pt")
        )
    }


def names(config: Any) -> Classes | None:
    """Of a configuration's classes; LABEL_0 and so on are no names."""
    if sorted(config.id2label) != list(range(len(config.id2label))):
        return None
    found = [config.id2label[number] for number in sorted(config.id2label)]
    general = any(name == f"LABEL_{number}" for number, name in enumerate(found))
    if general or len(set(found)) < len(found):
        return None
    return Classes.ordered(found, "the network's own configuration")
