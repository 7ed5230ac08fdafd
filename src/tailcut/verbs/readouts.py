"""Readouts by name, as a head with or without a bias can hold them."""

from __future__ import annotations

from tailcut.network.head import Head
from tailcut.numerics.fits import PROJECT, fitted
from tailcut.numerics.origin import through_origin
from tailcut.numerics.own_head import OwnHead
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum
from tailcut.verbs.inference import Inferred
from tailcut.verbs.targets import Targets


def fit(name: str, inferred: Inferred, targets: Targets, head: Head, own: OwnHead) -> Readout:
    """A readout by name, fitted to targets; `project` is the own head.

    For a head without bias it goes through the origin.
    """
    moments = inferred.moments[targets]
    if name == PROJECT:
        spectrum = Spectrum.of(moments, centred=head.bias)
        return Readout.project(spectrum, own.weight_KD, own.bias_K)
    made = with_bias(name, inferred, targets, head)
    return made if head.bias else through_origin(made, moments)


def with_bias(name: str, inferred: Inferred, targets: Targets, head: Head) -> Readout:
    """A readout fitted to targets as if the head had a bias.

    If it has none, in the directions of the uncentred features: the mean is among the first.
    """
    moments = inferred.moments[targets]
    spectrum = inferred.spectrum if head.bias else Spectrum.of(moments, centred=False)
    return fitted(name, moments, targets.label_set, spectrum)
