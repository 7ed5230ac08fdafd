"""Images flipped and shifted while a network is trained on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def augmented(loader: Any, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of inputs and labels, the inputs flipped and shifted anew."""
    generator = torch.Generator().manual_seed(seed)
    for inputs, labels, _ in loader:
        yield flipped_and_cropped(inputs, generator), labels


def flipped_and_cropped(images_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images mirrored, all shifted by up to an eighth of the side, zeros moving in.

    The usual augmentation of CIFAR: 32 x 32 crops of images padded by 4 (He et al. 2016).
    """
    n, _, height, width = images_NCHW.shape
    device = images_NCHW.device
    mirrored_N = (torch.rand(n, generator=generator) < 0.5).to(device)
    images_NCHW = torch.where(mirrored_N[:, None, None, None], images_NCHW.flip(3), images_NCHW)
    border = max(1, height // 8)
    padded_NCHW = nn.functional.pad(images_NCHW, [border] * 4)
    top_N, left_N = torch.randint(0, 2 * border + 1, (2, n), generator=generator).to(device)
    rows_NH1 = (top_N[:, None] + torch.arange(height, device=device))[:, :, None]
    columns_N1W = (left_N[:, None] + torch.arange(width, device=device))[:, None, :]
    samples_N11 = torch.arange(n, device=device)[:, None, None]
    return padded_NCHW.permute(0, 2, 3, 1)[samples_N11, rows_NH1, columns_N1W].permute(0, 3, 1, 2)
