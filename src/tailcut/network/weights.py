"""A weights file put into a network: which dict of it, under which names, of which types."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tailcut.errors import StoreError, TailcutWarning
from tailcut.network.checkpoints import State, states_in
from tailcut.network.fitting import Fit, few, place_of
from tailcut.network.modules import load_state, state_of

_USUAL = {"", "state_dict", "model_state_dict", "model_state", "model", "net", "network"}
"""Keys under which a training loop keeps the weights; of others the user must name one."""
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def load_weights(model: nn.Module, file: str | Path) -> nn.Module:
    """Load a weights file into a model, in place, strictly, and return the model.

    Names may differ by what wrappers put before them (`module.`, `_orig_mod.`, `model.`, `net.`),
    if every name and shape then fits; `num_batches_tracked` may be missing. Both are reported, by a
    `TailcutWarning`.

    Args:
        model: Of which the names, shapes and types are wanted.
        file: A path, perhaps with `:KEY` for the dict of weights in it, such as
            `last.pt:model_ema`. Without a key the usual ones are tried.

    Raises:
        StoreError: Names or shapes that differ, all of them named, other types, NaN, or several
            weights that fit; the model is then as before.
    """
    path, key = _split(str(file))
    states = states_in(path)
    wanted = state_of(model)
    if key is not None and key not in states:
        raise StoreError(
            f"{path} holds no weights under {key!r}",
            wanted=f"one of {few([repr(name) for name in states])}",
            advice="Correct the key behind the path",
        )
    tried = [key] if key is not None else _usual(path, states)
    fits = {name: Fit.of(states[name], wanted) for name in tried}
    name = _chosen(path, model, states, fits)
    fit = fits[name]
    _require_numbers(path, states[name], fit, model)
    notes = [*fit.notes(), *_narrowed(states[name], fit, wanted)]
    if key is None and len(states) > 1:
        others = [repr(f"{path}:{each}") for each in states if each != name]
        notes.append(f"the weights under {name!r} are taken; others are {few(others)}")
    for note in notes:
        warnings.warn(f"{path}: {note}", TailcutWarning, stacklevel=2)
    load_state(model, {**wanted, **{ours: states[name][t] for ours, t in fit.names.items()}})
    return model


def load_exactly(model: nn.Module, path: Path) -> nn.Module:
    """Load weights that must be the very ones, bit for bit.

    Raises:
        StoreError: Names, shapes or types that differ.
    """
    tensors, wanted = states_in(path).get("", {}), state_of(model)
    fit = Fit.of(tensors, wanted)
    if fit.problems or fit.counters or any(ours != name for ours, name in fit.names.items()):
        raise _misfit(path, model, fit)
    for name, tensor in tensors.items():
        if tensor.dtype != wanted[name].dtype:
            raise StoreError(
                f"{path} holds {name!r} as {tensor.dtype}, the network as {wanted[name].dtype}",
                wanted="a network of the types that the repaired one has",
                advice="Load into a network of those types, and convert the result",
            )
    load_state(model, tensors)
    return model


def _split(file: str) -> tuple[Path, str | None]:
    """A path and a key behind the last colon, unless the whole is a path."""
    path, colon, key = file.rpartition(":")
    if colon and key and not Path(file).exists() and Path(path).is_file():
        return Path(path), key
    return Path(file), None


def _usual(path: Path, states: Mapping[str, State]) -> list[str]:
    usual = [name for name in states if set(name.split(".")) <= _USUAL]
    if not usual:
        raise StoreError(
            f"{path} holds weights under {few([repr(name) for name in states])} only",
            wanted=f"a state_dict, alone or under {few(sorted(_USUAL - {''}), 6)}",
            advice=f"If they are the right ones, name them: {path}:{next(iter(states))}",
        )
    return usual


def _chosen(
    path: Path, model: nn.Module, states: Mapping[str, State], fits: Mapping[str, Fit]
) -> str:
    """The key of the weights that fit, if there is exactly one."""
    fitting = [name for name, fit in fits.items() if not fit.problems]
    if not fitting:
        raise _misfit(path, model, min(fits.values(), key=lambda fit: fit.problems))
    first = states[fitting[0]]
    if any(not _same(states[name], first) for name in fitting[1:]):
        raise StoreError(
            f"{path} holds several weights that fit {type(model).__name__}: "
            f"{few([repr(name) for name in fitting])}",
            wanted="the ones to use",
            advice=f"Name them: {path}:{fitting[0]}",
        )
    return fitting[0]


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _misfit(path: Path, model: nn.Module, fit: Fit) -> StoreError:
    parts = [
        ("lacks", sorted([*fit.missing, *fit.counters]) if fit.missing else []),
        ("has no use for", fit.unknown),
        ("has other shapes for", fit.shapes),
    ]
    text = "; ".join(f"{verb} {few(names)}" for verb, names in parts if names)
    return StoreError(
        f"{path} does not fit {type(model).__name__}: it {text}",
        wanted="the state_dict of this very network",
        advice="Check the model's name and number of classes, or the weights file",
    )


def _require_numbers(path: Path, state: State, fit: Fit, model: nn.Module) -> None:
    """Refuse what would load and be another network: other kinds of numbers, NaN, torn ties."""
    wanted, parameters = state_of(model), dict(model.named_parameters())
    tied: dict[tuple[int, ...], str] = {}
    for ours, theirs in fit.names.items():
        tensor, place = state[theirs], place_of(wanted[ours])
        problem = _problem(tensor, wanted[ours], finite=ours in parameters)
        twin = tied.setdefault(place, ours) if place else ours
        if not problem and not torch.equal(state[fit.names[twin]], tensor):
            problem = f"is one tensor with {twin!r} in the network, and another one in the file"
        if problem:
            raise StoreError(
                f"{path} cannot be loaded: {theirs!r} {problem}",
                wanted=f"finite weights of the type of {type(model).__name__}",
                advice="Save the weights again from the trained network, as floating point",
            )


def _problem(tensor: Tensor, wanted: Tensor, *, finite: bool) -> str:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return "is no plain tensor (quantised, sparse or without values)"
    if wanted.dtype not in _FLOATS:
        return (
            "" if _same_whole(tensor, wanted) else f"is of type {tensor.dtype}, for {wanted.dtype}"
        )
    if tensor.dtype not in _FLOATS:
        return f"is of type {tensor.dtype}, for {wanted.dtype}"
    cast = tensor.to(wanted.dtype)
    if cast.isnan().any() or (finite and not cast.isfinite().all()):
        return f"holds NaN or infinite values in {wanted.dtype}"
    return ""


def _same_whole(tensor: Tensor, wanted: Tensor) -> bool:
    """Whether values of the one type are values of the other: whole numbers of any width."""
    if tensor.dtype == wanted.dtype:
        return True
    odd = any(each.is_floating_point() or each.is_complex() for each in (tensor, wanted))
    return not odd and torch.equal(tensor.to(wanted.dtype).to(tensor.dtype), tensor)


def _narrowed(state: State, fit: Fit, wanted: State) -> list[str]:
    """Types that cannot hold all that the file says."""
    pairs = {(state[theirs].dtype, wanted[ours].dtype) for ours, theirs in fit.names.items()}
    return [
        f"values of {one} are rounded to {other}"
        for one, other in sorted(pairs, key=str)
        if one.is_floating_point and torch.promote_types(one, other) != other
    ]
