"""Whose a head's weight is: folding writes into it, so nobody else may share or compute it."""

from __future__ import annotations

from torch import nn

from tailcut.errors import HeadError


def _is_computed(module: nn.Module, key: str) -> bool:
    own = dict(module.named_parameters(recurse=False))
    return getattr(module, key) is not None and key not in own


def _computation(module: nn.Module, key: str) -> tuple[str, str]:
    """How a tensor of the head is computed, and what makes it a plain parameter again."""
    tools, held = "torch.nn.utils", module.state_dict()
    if nn.utils.parametrize.is_parametrized(module, key):
        call = f"Call {tools}.parametrize.remove_parametrizations on it first"
        return "by a parametrization", call
    if f"{key}_mask" in held:
        return "by pruning", f'Call {tools}.prune.remove(head, "{key}") first'
    if f"{key}_g" in held:
        return "by weight_norm", f'Call {tools}.remove_weight_norm(head, "{key}") first'
    if f"{key}_orig" in held:
        return "by spectral_norm", f'Call {tools}.remove_spectral_norm(head, "{key}") first'
    return "elsewhere", f"Set head.{key} = torch.nn.Parameter(head.{key}.detach()) first"


def sharers(model: nn.Module, module: nn.Module) -> list[str]:
    """Parameters of other modules that are the very weight or bias of this one."""
    own = {id(parameter) for parameter in module.parameters(recurse=False)}
    return [
        f"{name}.{key}".removeprefix(".")
        for name, other in model.named_modules()
        for key, parameter in other.named_parameters(recurse=False)
        if other is not module and id(parameter) in own
    ]


def require_own_weight(model: nn.Module, name: str) -> None:
    """Refuse a head whose weight or bias others share or compute.

    Args:
        model: The network.
        name: Of the head in it.

    Raises:
        HeadError: With the way to make it a plain parameter.
    """
    module = model.get_submodule(name)
    if computed := next((key for key in ("weight", "bias") if _is_computed(module, key)), None):
        how, remedy = _computation(module, computed)
        raise HeadError(
            f"the {computed} of the head {name!r} is computed {how}",
            wanted=f"a head whose {computed} is a plain parameter",
            advice=remedy,
        )
    if others := sharers(model, module):
        raise HeadError(
            f"the weight of the head {name!r} is shared with {', '.join(others)}",
            wanted="a head with a weight of its own, because the cut rewrites it",
            advice="Untie the weights (clone the head's) before the repair",
        )
