"""What fine-tuning changed of a pretrained network, and the leading directions of it alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from tailcut.errors import DataError
from tailcut.network.layer_moments import weights_of
from tailcut.network.layers import Weight, layers_in
from tailcut.numerics.checks import float64

_ENOUGH = 0.5
"""Of the matrices: what a network shares with the one that it was fine-tuned from, at least."""


@dataclass(frozen=True, eq=False)
class FineTuning:
    """The change of each matrix since pretraining, in its own singular directions.

    With D = W - W_0 of O x P numbers and V_r its r leading right singular vectors, rank r keeps
    W_0 + D V_r V_r^T, of all changes of this rank that which is nearest to D. In one transformer
    few directions held the task and many the memorised labels; in one convolutional network both
    took many (docs/LOG.md). Biases, norms and whatever is no matrix stay as they were fine-tuned.
    It takes one eigendecomposition of each weight's smaller side.

    Attributes:
        pretrained: W_0 (G x O x P) by the matrix's name in the fine-tuned network.
        leading: Of the smaller side of D, its leading singular vectors as columns, G x S x R.
    """

    pretrained: dict[str, Tensor]
    leading: dict[str, Tensor]

    @classmethod
    def of(
        cls, model: nn.Module, pretrained: nn.Module, *, skip: Collection[str], most: int
    ) -> FineTuning:
        """Compare a fine-tuned network with the pretrained one.

        Args:
            model: Fine-tuned.
            pretrained: May lack a head, have another one, or be wrapped otherwise.
            skip: Names of the head's layers, which were trained from the start.
            most: Rank up to which it will be kept.

        Raises:
            DataError: Another architecture, or the trained network itself.
        """
        every, before = matrices(model), matrices(pretrained)
        after = {name: each for name, each in every.items() if name not in skip}
        names = _same(after, before)
        if len(names) < max(1, _ENOUGH * len(after)):
            raise DataError(
                f"a backbone that has {len(names)} of the network's {len(after)} matrices (the "
                f"network has {_few(after)}; the backbone has {_few(before)})",
                wanted="the network as it was before it was fine-tuned: the same layers by the "
                "same names, in whatever it is wrapped",
                advice="Load the pretrained weights into the same class, or leave the backbone out",
            )
        starts, leading = dict[str, Tensor](), dict[str, Tensor]()
        for name, other in names.items():
            start_GOP = before[other].matrix_GOP
            change_GOP = _change(after[name], start_GOP)
            if min(change_GOP.shape[1:]) > 1 and change_GOP.any():
                starts[name], leading[name] = start_GOP, _leading(change_GOP, most)
        if not leading and all(_equal(each, before.get(name)) for name, each in every.items()):
            raise DataError(
                "a backbone with the weights of the trained network itself",
                wanted="the network as it was before it was fine-tuned",
                advice="Load the pretrained weights again, or leave the backbone out",
            )
        return cls(starts, leading)

    def __bool__(self) -> bool:
        """Whether any of them changed: not where the head alone was trained."""
        return bool(self.leading)

    def keep(self, model: nn.Module, rank: int) -> None:
        """Leave, in place, `rank` directions of every change.

        Args:
            model: A copy of the fine-tuned network.
            rank: At least 1.
        """
        targets = matrices(model)
        for name, basis_GSR in self.leading.items():
            weight, start_GOP = targets[name], self.pretrained[name]
            change_GOP = _change(weight, start_GOP)
            kept_GSr = basis_GSR[:, :, :rank].to(change_GOP)
            if change_GOP.shape[1] < change_GOP.shape[2]:
                kept_GOP = kept_GSr @ (kept_GSr.mT @ change_GOP)
            else:
                kept_GOP = (change_GOP @ kept_GSr) @ kept_GSr.mT
            weight.write(float64(start_GOP).to(kept_GOP) + kept_GOP)


def matrices(model: nn.Module) -> dict[str, Weight]:
    """Weights of layers by the layers' names, and other matrices, as embeddings, by their own."""
    layers = layers_in(model)
    found = weights_of(layers)
    owned = {id(each) for layer in layers.values() for each in layer.module.parameters()}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and id(parameter) not in owned:
            found[name.removesuffix(".weight")] = Weight("weight", parameter, None)
    return found


def _equal(weight: Weight, other: Weight | None) -> bool:
    return other is not None and torch.equal(weight.matrix_GOP.cpu(), other.matrix_GOP.cpu())


def _change(weight: Weight, start_GOP: Tensor) -> Tensor:
    """Since pretraining (G x O x P, float64)."""
    after_GOP = float64(weight.matrix_GOP)
    return after_GOP - float64(start_GOP).to(after_GOP)


def _leading(change_GOP: Tensor, most: int) -> Tensor:
    """Its leading singular vectors, of the smaller side, as columns."""
    wide = change_GOP.shape[1] < change_GOP.shape[2]
    gram_GSS = change_GOP @ change_GOP.mT if wide else change_GOP.mT @ change_GOP
    return torch.linalg.eigh(gram_GSS).eigenvectors.flip(-1)[:, :, :most].clone()


def _same(after: Mapping[str, Weight], before: Mapping[str, Weight]) -> dict[str, str]:
    """The name in the pretrained network of every matrix that is in both.

    Prefixes may differ, as a wrapper or another head puts them there: those are left out on
    either side that leave the most names in common.
    """

    def shared(inside: str, there: str) -> dict[str, str]:
        found = {
            name: there + name.removeprefix(inside) for name in after if name.startswith(inside)
        }
        return {
            name: other
            for name, other in found.items()
            if other in before and before[other].matrix_GOP.shape == after[name].matrix_GOP.shape
        }

    return max((shared(*each) for each in product(_stems(after), _stems(before))), key=len)


def _stems(names: Iterable[str]) -> list[str]:
    """Beginnings that most of the names have, up to a dot; the empty one first."""
    names, stems = list(names), [""]
    while True:
        longer = [name[: name.find(".", len(stems[-1])) + 1] for name in names]
        counts = {each: longer.count(each) for each in set(longer) if each.startswith(stems[-1])}
        best = max(counts, key=lambda each: (counts[each], each), default="")
        if len(best) <= len(stems[-1]) or 2 * counts[best] <= len(names):
            return stems
        stems.append(best)


def _few(names: Mapping[str, Weight]) -> str:
    shown = list(names)[:2]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "") or "none"
