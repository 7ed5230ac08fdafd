"""Networks whose weights are not all in plain layers."""

from __future__ import annotations

from torch import nn

from tailcut.errors import DataError


def refuse_adapters(model: nn.Module) -> None:
    """Refuse a network with PEFT's adapters: a cut has no plain weights to be folded into.

    Raises:
        DataError: Adapters, with the way to merge them.
    """
    if not any(type(each).__module__.startswith("peft.") for each in model.modules()):
        return
    if hasattr(model, "prompt_encoder"):
        advice = "Prompts and prefixes are no weights of a layer: there is no way to repair them"
    elif hasattr(model, "merge_and_unload"):
        advice = "Merge the adapters first: model = model.merge_and_unload()"
    else:
        advice = (
            "Save the adapters, and merge them first: "
            "model = PeftModel.from_pretrained(network, folder).merge_and_unload()"
        )
    raise DataError(
        f"a {type(model).__name__} with adapters of PEFT",
        wanted="a network of plain layers, whose weights can be rewritten",
        advice=advice,
    )
