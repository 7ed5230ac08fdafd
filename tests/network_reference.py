"""The slow, obvious twin of what the network room does fast, and small networks for its tests."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 4, side: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, side, side, generator=seeded(seed))


def small_cnn(classes: int = 3, *, dropout: float = 0.0) -> nn.Sequential:
    """Two convolutions with BatchNorm, one of them grouped, and a head."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, stride=2, groups=2, bias=False),
        nn.BatchNorm2d(8, momentum=0.3),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(8, classes),
    ).eval()


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all tensors of a model."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_state(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """The same names in the same order, and the same bits."""
    return list(a) == list(b) and all(
        x.dtype == y.dtype and torch.equal(x, y)
        for x, y in zip(a.values(), b.values(), strict=True)
    )


def patches_by_unfold(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Every patch that a convolution multiplies with its weight (groups x M x P)."""
    sides = []
    for axis in (1, 0):
        total = 2 * layer.padding[axis] if not isinstance(layer.padding, str) else 0
        if layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        sides += [total // 2, total - total // 2]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = nn.functional.pad(inputs, sides, mode=mode)
    columns_NCL = nn.functional.unfold(
        padded, layer.kernel_size, dilation=layer.dilation, stride=layer.stride
    )
    width = columns_NCL.shape[1] // layer.groups
    return columns_NCL.transpose(1, 2).reshape(-1, layer.groups, width).transpose(0, 1)


def second_moment(rows_GMP: Tensor) -> Tensor:
    """sum p p^T over patches, scaled to trace 1 in each group."""
    rows_GMP = rows_GMP.double()
    second_GPP = torch.stack([sum(torch.outer(p, p) for p in rows_MP) for rows_MP in rows_GMP])
    return second_GPP / torch.stack([part.trace() for part in second_GPP])[:, None, None]


def filtered_by_eigenvectors(weight_OP: Tensor, second_PP: Tensor, strength: float) -> Tensor:
    """W V diag(phi) V^T with phi(s) = a s / ((a - 1) s + 1)."""
    shares_P, basis_PP = torch.linalg.eigh(second_PP)
    phi_P = strength * shares_P / ((strength - 1) * shares_P + 1)
    return weight_OP @ basis_PP @ torch.diag(phi_P) @ basis_PP.T


@torch.no_grad()
def batchnorm_by_layers(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Statistics of every BatchNorm, one after the other: one pass over all samples for each.

    Of what it receives when those before it use theirs: mean and unbiased variance.
    """
    twin = copy.deepcopy(model).eval()
    found = {}
    for name, norm in twin.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            seen: list[Tensor] = []
            handle = norm.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
            twin(inputs)
            handle.remove()
            channels = seen[0].transpose(0, 1).flatten(1)
            found[f"{name}.running_mean"] = channels.mean(1)
            found[f"{name}.running_var"] = channels.var(1)
            norm.running_mean.copy_(channels.mean(1))
            norm.running_var.copy_(channels.var(1))
    return found
