"""A network's files: its tensors, or the folder of one that saves itself (`save_pretrained`)."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from safetensors import SafetensorError
from torch import nn

from tailcut.errors import StoreError, TailcutWarning
from tailcut.files.store import save_tensors
from tailcut.files.whole import first_line, write_atomically
from tailcut.network.modules import state_of
from tailcut.network.stream import device_of
from tailcut.network.weights import load_exactly

WEIGHTS, TORCH, FOLDER = "repaired.safetensors", "repaired.pth", "repaired"
"""The weights as safetensors, as a torch file, and the folder of a network that saves itself."""

Form: TypeAlias = Literal["safetensors", "torch"]
"""Of the file of weights."""

_COMPANIONS = {".json", ".txt", ".model", ".py", ".jinja", ".tiktoken", ".codes", ".spm", ".vocab"}
"""Suffixes of tokenizers, image processors, chat templates and code; of no weights."""
_NO_COMPANIONS = (".index.json", "trainer_state.json", "adapter_config.json", "result.json")
_PROCESSORS = ("tokenizer", "vocab", "preprocessor", "processor", "image_processor")
"""How the names of their files begin."""
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)
_UNREADABLE += (SafetensorError,)
"""What transformers says of a folder that it cannot read."""


def save(network: nn.Module, directory: Path, form: Form = "safetensors") -> None:
    """Write a file of weights, or a folder `repaired` with what belongs beside them.

    Raises:
        StoreError: See `require_form`.
    """
    require_form(network, form)
    saved: Any = network
    if hasattr(saved, "save_pretrained"):
        saved.save_pretrained(directory / FOLDER)
        _add_companions(network, directory / FOLDER)
    elif form == "torch":
        state = {name: each.detach().cpu().clone() for name, each in state_of(network).items()}
        write_atomically(directory / TORCH, lambda place: torch.save(state, place))
    else:
        save_tensors(directory / WEIGHTS, state_of(network))


def require_form(network: nn.Module, form: str) -> None:
    """Refuse forms that are not known, and torch files of networks that save themselves.

    Raises:
        StoreError: Such a form.
    """
    if form not in get_args(Form):
        raise StoreError(
            f"the format {form!r}", wanted="safetensors or torch", advice="Correct the name"
        )
    if form == "torch" and hasattr(network, "save_pretrained"):
        raise StoreError(
            f"the format torch for {type(network).__name__}, which saves itself as a folder",
            wanted="safetensors, which from_pretrained loads",
            advice="Leave the format out, or call torch.save(fix.model.state_dict(), path)",
        )


def how_to_load(
    network: nn.Module, directory: str | Path = "", form: Form = "safetensors", code: str = ""
) -> str:
    """A line of Python that loads what `save` wrote.

    Args:
        network: That was saved.
        directory: Where; nothing for the folder one is in.
        form: Of the file.
        code: Python that builds the network, such as `timm.create_model('resnet18')`; without it
            the line takes a network called `model`.
    """
    kind = type(network)
    if hasattr(network, "save_pretrained"):
        place = (Path(directory) / FOLDER).as_posix()
        home = "transformers" if kind.__module__.startswith("transformers.") else kind.__module__
        return f"import {home}; model = {home}.{kind.__qualname__}.from_pretrained({place!r})"
    place = (Path(directory) / (TORCH if form == "torch" else WEIGHTS)).as_posix()
    calls = [code] if code else []
    calls.append(
        f"torch.load({place!r}, weights_only=True)"
        if form == "torch"
        else f"safetensors.torch.load_file({place!r})"
    )
    packages = dict.fromkeys(each.partition("(")[0].rpartition(".")[0] for each in calls)
    build = f"model = {code}; " if code else ""
    return f"import {', '.join(packages)}; {build}model.load_state_dict({calls[-1]})"


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


def about(network: nn.Module) -> dict[str, str | None]:
    """Library, task and base of a network, as the Hugging Face hub knows them; None if it does not.

    The base is the name that it was loaded by, unless that is a folder.
    """
    kind, named = type(network), str(getattr(network, "name_or_path", ""))
    tasks = {"ImageClassification": "image", "SequenceClassification": "text"}
    ends = [task for end, task in tasks.items() if kind.__name__.endswith(end)]
    ours = kind.__module__.startswith("transformers.")
    on_hub = named.count("/") <= 1 and not named.startswith(".") and not Path(named).exists()
    return {
        "library": "transformers" if ours else None,
        "task": f"{ends[0]}-classification" if ends else None,
        "base": named if named and on_hub else None,
    }


def load(model: nn.Module, directory: Path, names: Iterable[str]) -> nn.Module:
    """What `save` wrote, as a network of the model's class on its device, to evaluate.

    Args:
        model: To evaluate; it may get the weights itself.
        directory: Where the network was saved.
        names: Of its files.

    Raises:
        StoreError: A class that cannot be loaded so, or weights that do not fit.
    """
    for name in (WEIGHTS, TORCH):
        if name in names:
            return load_exactly(model, directory / name)
    folder, kind = directory / FOLDER, type(model)
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
