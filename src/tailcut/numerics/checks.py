"""What features and labels must be before any arithmetic touches them."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tailcut.errors import DataError


def float64(tensor: Tensor) -> Tensor:
    """The tensor in float64, on the CPU where its own device has none (Apple's MPS)."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def checked_features(features_ND: Any, width: int, where: str) -> Tensor:
    """Features as a finite floating tensor N x D, cut off from any gradient.

    Raises:
        DataError: Another shape, another width, an integer dtype, NaN or infinity.
    """
    features_ND = _tensor(features_ND).detach()
    if features_ND.ndim != 2 or features_ND.shape[1] != width:
        raise DataError(
            f"{where} has features of shape {tuple(features_ND.shape)}",
            wanted=f"(samples, {width})",
            advice="Flatten each sample to one feature vector",
        )
    if not features_ND.is_floating_point():
        raise DataError(
            f"{where} has features of type {features_ND.dtype}",
            wanted="a floating type",
            advice="Convert the features with .float()",
        )
    if not torch.isfinite(features_ND).all():
        rows = int((~torch.isfinite(features_ND)).any(1).sum())
        raise DataError(
            f"{where} has NaN or infinite features in {rows} of {len(features_ND)} samples",
            wanted="finite features",
            advice="Look for broken inputs in that batch, or for an overflow in half precision",
        )
    return features_ND


def checked_labels(
    labels_N: Any, classes: int | None, where: str, samples: int | None = None
) -> Tensor:
    """Labels as an int64 vector with values in 0..K-1 (K unknown: only 0 and above).

    Raises:
        DataError: Strings, floats, another shape, another number than of samples (if that
            is given), or values outside the classes.
    """
    labels_N = _integers(labels_N, where)
    if labels_N.ndim != 1:
        raise DataError(
            f"{where} has labels of shape {tuple(labels_N.shape)}",
            wanted="one integer for each sample, shape (samples,)",
            advice="Flatten the labels, or take the argmax of one-hot rows",
        )
    if samples is not None and len(labels_N) != samples:
        raise DataError(
            f"{where} has {len(labels_N)} labels for {samples} samples",
            wanted="one label for each sample",
            advice="Check what the loader yields",
        )
    outside_N = (labels_N < 0) if classes is None else (labels_N < 0) | (labels_N >= classes)
    if outside_N.any():
        last = "K-1" if classes is None else str(classes - 1)
        raise DataError(
            f"{where} has the label {int(labels_N[outside_N][0])}",
            wanted=f"integers 0..{last}",
            advice="Use the class indices that the network was trained on; drop unlabelled samples",
        )
    return labels_N


def _integers(labels: Any, where: str) -> Tensor:
    """Labels of any shape as int64.

    Raises:
        DataError: Strings, floats, complex numbers or booleans.
    """
    try:
        found = _tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"{where} has labels that are not numbers, such as {_odd_one(labels)!r}",
            wanted="integer labels 0..K-1",
            advice="Map the class names to the integers that the network was trained on",
        ) from None
    if not found.numel():
        found = found.long()  # torch gives an empty list a floating type
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise DataError(
            f"{where} has labels of type {found.dtype}",
            wanted="integer labels 0..K-1",
            advice="Convert class indices with .long(); take the argmax of one-hot or soft labels",
        )
    return found.long()


def _tensor(values: Any) -> Tensor:
    """torch.as_tensor, also of pandas columns and of memory that is read-only."""
    values = values.to_numpy() if hasattr(values, "to_numpy") else values
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()
    return torch.as_tensor(values)


def _odd_one(labels: Any) -> object:
    """The first label that is no number."""
    flat = np.asarray(labels, dtype=object).ravel().tolist()
    return next((label for label in flat if not isinstance(label, Number)), labels)
