"""Do the network and the data call their classes by the same names, in the same order?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from tailcut.errors import DataError

_UNNAMED = re.compile(r"label_?\d+|class_?\d+|\d+")
"""What Hugging Face and others call classes whose names nobody gave."""


def require_same_names(model: nn.Module, loader: Any) -> None:
    """Refuse data whose class names the network has at other numbers.

    Compared is only what both sides name: `model.config.id2label` with the class names of the
    loader's data set (`classes`, `class_names`, or the names of a Hugging Face ClassLabel).
    Names that only one side knows tell nothing.

    Raises:
        DataError: A class that the network counts under another number than the data.
    """
    network, data = names_of_network(model), names_of_data(loader)
    number = {_plain(name): k for k, name in network.items()}
    for k, name in enumerate(data):
        theirs = number.get(_plain(name), k)
        if theirs != k:
            raise DataError(
                f"class {k} of the data is {name!r}, which the network has as class {theirs} "
                f"(its class {k} is {network.get(k, 'unknown')!r})",
                wanted="classes in the order of the network's config.id2label",
                advice="Number the labels by its label2id (on the command line by --class-map), "
                "or correct id2label; force=True (--force) goes on all the same",
            )


def names_of_network(model: nn.Module) -> dict[int, str]:
    """Class names by number as a Hugging Face config has them; empty without any."""
    found = getattr(getattr(model, "config", None), "id2label", None)
    if not isinstance(found, Mapping):
        return {}
    try:
        names = {int(key): str(name) for key, name in found.items()}
    except (TypeError, ValueError):
        return {}
    return {} if all(map(_unnamed, names.values())) else names


def names_of_data(loader: Any) -> Sequence[str]:
    """Class names in the order of their numbers; empty where the data set has none."""
    data = getattr(loader, "dataset", loader)
    while hasattr(data, "dataset"):  # a Subset of a Subset
        data = data.dataset
    features = getattr(data, "features", None)
    columns = features if isinstance(features, Mapping) else {}
    labels = [getattr(columns.get(key), "names", None) for key in ("labels", "label")]
    named = [*labels, getattr(data, "class_names", None), getattr(data, "classes", None)]
    for names in named:
        if isinstance(names, (list, tuple)) and names and all(isinstance(n, str) for n in names):
            return () if all(map(_unnamed, names)) else names
    return ()


def _unnamed(name: str) -> bool:
    return bool(_UNNAMED.fullmatch(_plain(name)))


def _plain(name: str) -> str:
    """Case, spaces, hyphens and underscores do not count."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())
