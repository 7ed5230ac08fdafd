"""A network's files: its tensors, or the folder of one that saves itself (`save_pretrained`)."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from tailcut.errors import StoreError, TailcutWarning
from tailcut.files.store import save_tensors
from tailcut.files.whole import first_line
from tailcut.network.modules import state_of
from tailcut.network.stream import device_of
from tailcut.network.weights import load_exactly

WEIGHTS = "repaired.safetensors"
"""Of a network without `save_pretrained`."""

_COMPANIONS = {".json", ".txt", ".model", ".py", ".jinja", ".tiktoken", ".codes", ".spm", ".vocab"}
"""Suffixes of tokenizers, image processors, chat templates and code; of no weights."""
_NO_COMPANIONS = (".index.json", "trainer_state.json", "adapter_config.json", "result.json")
_PROCESSORS = ("tokenizer", "vocab", "preprocessor", "processor", "image_processor")
"""How the names of their files begin."""
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
_UNREADABLE += (SafetensorError,)
"""What transformers says of a folder that it cannot read."""


def save(network: nn.Module, directory: Path) -> None:
    """Write `repaired.safetensors`, or a folder `repaired` with what belongs beside its weights."""
    saved: Any = network
    if not hasattr(saved, "save_pretrained"):
        save_tensors(directory / WEIGHTS, state_of(network))
        return
    folder = directory / "repaired"
    saved.save_pretrained(folder)
    _add_companions(network, folder)


def _add_companions(network: nn.Module, folder: Path) -> None:
    """Copy what lies beside the weights where the network was loaded from."""
    named = getattr(network, "name_or_path", "")
    if not named:
        return
    home = _home(str(named))
    for path in sorted(home.iterdir()) if home else ():
        beside = path.suffix in _COMPANIONS and not path.name.endswith(_NO_COMPANIONS)
        if path.is_file() and path.name[0] != "." and beside and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    if not any(path.name.startswith(_PROCESSORS) for path in folder.iterdir()):
        warnings.warn(
            f"no tokenizer or image processor lies where {named} is on this machine, so the folder "
            f"{folder.name!r} has none: save yours into it",
            TailcutWarning,
            stacklevel=2,
        )


def _home(named: str) -> Path | None:
    """The folder of a network: itself, or where the hub's client has put it."""
    if Path(named).is_dir():
        return Path(named)
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(named, local_files_only=True))
    except (ImportError, OSError, ValueError):
        return None


def load(model: nn.Module, directory: Path, names: Iterable[str]) -> nn.Module:
    """What `save` wrote, as a network of the model's class on its device, to evaluate.

    Args:
        model: To evaluate; it may get the weights itself.
        directory: Where the network was saved.
        names: Of its files.

    Raises:
        StoreError: A class that cannot be loaded so, or weights that do not fit.
    """
    if WEIGHTS in names:
        return load_exactly(model, directory / WEIGHTS)
    folder, kind = directory / "repaired", type(model)
    if not hasattr(kind, "from_pretrained"):
        raise _unfit(folder, kind, "that class has no from_pretrained")
    return opened(kind, folder).eval().to(device_of(model))


def opened(kind: Any, named: str | Path, **arguments: Any) -> nn.Module:
    """A network of a class that loads itself, with the weights and types it was saved with.

    Args:
        kind: The class.
        named: A folder, or a name on the hub.
        arguments: Of its configuration, where they are not those that it was saved with.

    Raises:
        StoreError: Weights that do not fit; transformers would fill them up at random.
    """
    try:
        if not any(each.__module__.startswith("transformers.") for each in kind.__mro__):
            return kind.from_pretrained(named, **arguments)
        import transformers

        dtype = "torch_dtype" if transformers.__version__.startswith("4.") else "dtype"
        options = {dtype: "auto", "output_loading_info": True, **arguments}
        model, info = kind.from_pretrained(named, **options)
    except _UNREADABLE as cause:
        raise _unfit(named, kind, first_line(cause)) from cause
    lacking = sorted(map(str, info["missing_keys"])) + sorted(map(str, info["mismatched_keys"]))
    if lacking:
        raise _unfit(named, kind, f"no weights for {lacking[0]}, and {len(lacking)} lacking in all")
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise _unfit(named, kind, f"NaN or infinite values in {name}")
    return model


def _unfit(named: str | Path, kind: Any, why: str) -> StoreError:
    return StoreError(
        f"{named} does not load as {kind.__name__} ({why})",
        wanted="the whole folder of a network of that class",
        advice="Pass a network of the class that was saved, or save it again",
    )
