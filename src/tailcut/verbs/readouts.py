"""One way to cut, and the readout that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tailcut.network.batches import Batch
from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.network.head import Head
from tailcut.numerics.fits import fitted
from tailcut.numerics.origin import through_origin
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum
from tailcut.numerics.statistics import Statistics
from tailcut.verbs.inference import GIVEN, Inferred, Material


@dataclass(frozen=True)
class Candidate:
    """One way to cut: filter, readout, kept rank, and the labels and inputs it is fitted to.

    The readout "own head" is the network's head as it is, without a rank. After rounds of
    inferring the true labels a readout is fitted to their posteriors, after self-training to
    its pseudo-labels, else to the labels as they were given. It is fitted to the samples under
    the views that the network forgets its labels under, where there are any, or as they are.
    """

    filter: Filter
    readout: str
    rank: int | None
    material: Material = GIVEN
    views: bool = True

    def told(self, layers: str) -> str:
        """What is cut, with how many layers its filter reaches."""
        rank = f" at rank {self.rank}" if self.rank else ""
        filtered = f", {self.filter.told(layers)}" if self.filter != UNTOUCHED else ""
        return f"{self.readout}{rank}{self.material}{filtered}"

    def __str__(self) -> str:
        return self.told("layers")


def make_readout(
    name: str, inferred: Inferred, material: Material, head: Head, model: nn.Module
) -> Readout:
    """A readout by name, fitted to a material; `project` takes the head that is in the model.

    For a head without bias it goes through the origin.
    """
    moments = inferred.moments[material]
    if name == "project":
        return own_head(moments, head, model)
    made = with_bias(name, inferred, material, head)
    return made if head.bias else through_origin(made, moments)


def with_bias(name: str, inferred: Inferred, material: Material, head: Head) -> Readout:
    """A readout fitted to a material as if the head had a bias.

    If it has none, in the directions of the uncentred features: the mean is among the first.
    """
    moments = inferred.moments[material]
    spectrum = inferred.spectrum if head.bias else Spectrum.of(moments, centred=False)
    return fitted(name, moments, moments.label_sets[-1], spectrum)


def own_head(moments: Statistics, head: Head, model: nn.Module) -> Readout:
    """The head that is in the model, in the directions of its features."""
    weight_KD, bias_K = head.parameters(model)
    return Readout.project(Spectrum.of(moments, centred=head.bias), weight_KD, bias_K)


def features_of(head: Head, model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """Penultimate features (N x D), on the CPU."""
    return torch.cat([head.features_and_logits(model, b.inputs)[0].cpu() for b in batches])
