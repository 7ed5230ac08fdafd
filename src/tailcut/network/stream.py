"""Batches of any shape in, logits and penultimate features out."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from tailcut._typing import Batches, Inputs
from tailcut.errors import DataError
from tailcut.numerics.checks import checked_labels


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch: inputs, labels (N,) int64, and the samples' numbers (N,) where given."""

    inputs: Inputs
    labels: Tensor
    index: Tensor | None

    def __len__(self) -> int:
        return len(self.labels)


def read(loader: Batches, classes: int | None = None) -> Iterator[Batch]:
    """Batches of a loader, checked.

    Args:
        loader: Yields `(inputs, labels)`, `(inputs, labels, index)`, or a dict with `labels`
            or `label` (and perhaps `index`) among its tensors. Batches of no sample are
            passed over.
        classes: K, to check the labels against.

    Raises:
        DataError: No sample at all, no iterable, an iterator that can be read only once,
            batches of another form, labels that are not integers in 0..K-1, or an index
            that does not number the samples.
    """
    _require_repeatable(loader)
    empty = True
    for number, raw in enumerate(loader):
        batch = _parse(raw, classes, f"batch {number}")
        if len(batch):
            empty = False
            yield batch
    if empty:
        raise DataError(
            "a loader without a single batch",
            wanted="at least one batch (inputs, labels)",
            advice="Check the data set, and drop_last with fewer samples than a batch",
        )


def _require_repeatable(loader: Any) -> None:
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise DataError(
            f"{_described(loader)} instead of batches",
            wanted="an iterable of batches that can be read several times",
            advice="Pass a DataLoader, or a list of batches",
        )
    if isinstance(loader, Iterator):
        raise DataError(
            f"an iterator ({type(loader).__name__}) that can be read only once",
            wanted="an iterable of batches that can be read several times",
            advice="Pass a DataLoader, or list(batches)",
        )


def _parse(raw: Any, classes: int | None, where: str) -> Batch:
    inputs, labels, index = _parts(raw)
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    if labels is None or not tensors:
        raise DataError(
            f"{where} is {_described(raw)}",
            wanted="(inputs, labels), (inputs, labels, index), or a dict of tensors with 'labels'",
            advice="Adapt the loader or its collate function",
        )
    labels = checked_labels(labels, classes, where)
    rows = {len(tensor) if tensor.ndim else 1 for tensor in tensors}
    if rows != {len(labels)}:
        raise DataError(
            f"{where} has {' and '.join(map(str, sorted(rows)))} inputs but {len(labels)} labels",
            wanted="one label for each sample",
            advice="Check what the loader yields",
        )
    return Batch(inputs, labels, None if index is None else _checked_index(index, labels, where))


def _parts(raw: Any) -> tuple[Inputs, Any, Any]:
    """Inputs, labels and index of a batch; no inputs or no labels if it has another form."""
    if isinstance(raw, Mapping):
        inputs = dict(raw)
        label_key = next((key for key in ("labels", "label") if key in inputs), None)
        labels = None if label_key is None else inputs.pop(label_key)
        return _only_tensors(inputs), labels, inputs.get("index")
    if isinstance(raw, (tuple, list)) and len(raw) in (2, 3):
        return _only_tensors(raw[0]), raw[1], raw[2] if len(raw) == 3 else None
    return {}, None, None


def _only_tensors(inputs: Any) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs
    items = inputs.items() if isinstance(inputs, Mapping) else ()
    return {key: value for key, value in items if isinstance(value, Tensor) and key != "index"}


def _checked_index(index: Any, labels: Tensor, where: str) -> Tensor:
    """Positions in the data set as int64 (N,)."""
    try:
        return checked_labels(index, None, where).reshape(labels.shape)
    except (DataError, RuntimeError):
        raise DataError(
            f"{where} has a third item, or an 'index', that does not number its "
            f"{len(labels)} samples",
            wanted="the position of each sample in the data set, integers from 0",
            advice="Yield (inputs, labels) alone, or (inputs, labels, index)",
        ) from None


def _described(raw: Any) -> str:
    if isinstance(raw, Mapping):
        return f"a dict with the keys {sorted(map(str, raw))}"
    if isinstance(raw, (tuple, list)):
        return f"a {type(raw).__name__} of {', '.join(type(part).__name__ for part in raw)}"
    return f"a {type(raw).__name__}"


def require_order(loader: Batches) -> None:
    """Refuse a loader that shuffles without telling which sample is which.

    Raises:
        DataError: A random sampler, and batches without an index.
    """
    if _shuffles(loader) and next(read(loader)).index is None:
        raise DataError(
            "a loader that shuffles without telling which sample is which",
            wanted="batches in a fixed order, or (inputs, labels, index)",
            advice="Set shuffle=False, or yield each sample's position as a third item",
        )


def _shuffles(loader: Any) -> bool:
    """Whether any sampler of a DataLoader, or one inside it, is a random one."""
    while loader is not None:
        if isinstance(loader, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)):
            return True
        if getattr(loader, "shuffle", False) is True:  # as of a DistributedSampler
            return True
        loader = getattr(loader, "batch_sampler", None) or getattr(loader, "sampler", None)
    return False


def usual_device() -> str:
    """A GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def own_copy(model: nn.Module, device: torch.device | str | None = None) -> nn.Module:
    """A deep copy in evaluation mode that the caller will never see change.

    Its convolutions lie channels last, which is the faster order for evaluation.

    Raises:
        DataError: A module that cannot be copied.
    """
    try:
        twin = copy.deepcopy(model)
    except (RuntimeError, TypeError) as cause:
        raise DataError(
            f"a {type(model).__name__} that cannot be copied ({cause})",
            wanted="a module that copy.deepcopy accepts",
            advice="Load its state_dict into a fresh instance and pass that one",
        ) from cause
    twin.eval().requires_grad_(requires_grad=False)
    nn.utils.convert_conv2d_weight_memory_format(twin, torch.channels_last)
    return twin if device is None else twin.to(device)


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter lies; the CPU without parameters."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """Inputs on a device."""
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    return {key: value.to(device) for key, value in inputs.items()}


@torch.no_grad()
def logits_of(model: nn.Module, inputs: Inputs) -> Tensor:
    """Logits (N x K) of a model that returns a tensor, a tuple, or an output with `.logits`.

    Raises:
        DataError: Something else, or another shape.
    """
    inputs = to_device(inputs, device_of(model))
    samples = len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))
    output = _logits_in(_call(model, inputs))
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != samples:
        shape = f" of shape {tuple(output.shape)}" if isinstance(output, Tensor) else ""
        raise DataError(
            f"{type(model).__name__} returned a {type(output).__name__}{shape} "
            f"for {samples} samples",
            wanted="logits of shape (samples, classes), alone, first in a tuple, or as .logits",
            advice="Wrap the model so that it returns its classification logits",
        )
    return output


def _logits_in(output: Any) -> Any:
    if isinstance(output, Mapping):
        return output.get("logits", output)
    if hasattr(output, "logits"):
        return output.logits
    return output[0] if isinstance(output, (tuple, list)) and output else output


def _call(model: nn.Module, inputs: Inputs) -> Any:
    if isinstance(inputs, Tensor):
        return model(inputs)
    parameters = inspect.signature(model.forward).parameters
    if len(inputs) == 1 and not set(inputs) & set(parameters):
        return model(next(iter(inputs.values())))
    kinds = {parameter.kind for parameter in parameters.values()}
    unknown = sorted(set(inputs) - set(parameters))
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise DataError(
            f"batches with {', '.join(map(repr, unknown))}, which {type(model).__name__} "
            "does not take",
            wanted=f"some of {', '.join(map(repr, parameters))}, and 'labels'",
            advice="Drop the other columns in the loader's collate function",
        )
    return model(**inputs)


@contextmanager
def first_input(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module receives, copied before anything can overwrite it."""
    seen: list[Tensor] = []

    def keep(received: Tensor) -> None:
        seen.append(received.detach().clone())

    with on_input({module: keep}):
        yield seen


@contextmanager
def on_input(told: Mapping[nn.Module, Callable[[Tensor], object]]) -> Iterator[None]:
    """Tell someone what each module receives, as its first argument, before it runs."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        told[module]((*args, *kwargs.values())[0])

    handles = [module.register_forward_pre_hook(hook, with_kwargs=True) for module in told]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def hits(model: nn.Module, inputs: Inputs, labels_N: Tensor) -> int:
    """Samples whose largest logit is their label, in the mode the model is in."""
    return int((logits_of(model, inputs).argmax(1).cpu() == labels_N.cpu()).sum())


def accuracy(model: nn.Module, loader: Batches) -> float:
    """Share of samples whose largest logit is their label, in the mode the model is in."""
    right = n = 0
    for batch in read(loader):
        right += hits(model, batch.inputs, batch.labels)
        n += len(batch)
    return right / n
