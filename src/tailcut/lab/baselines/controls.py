"""Controls: changes to a trained network that must not mend it."""

from __future__ import annotations

import torch
from torch import Tensor

from tailcut.lab.baselines.registry import control
from tailcut.lab.baselines.subject import Classifier, Subject, folded, linear
from tailcut.lab.data.problems import Problem
from tailcut.lab.training.networks import build
from tailcut.network.filters import reestimate_batchnorm
from tailcut.network.stream import accuracy, own_copy
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout
from tailcut.numerics.spectrum import Spectrum, random_basis


@control("random subspace", place=1)
def random_subspace(subject: Subject) -> float:
    """Control: the own head behind a random subspace, its rank by the holdout."""
    basis_DD = random_basis(subject.head.width, seed=0)
    return subject.best([_behind(subject, basis_DD[:, :rank]) for rank in _ranks(subject)])


@control("top directions removed", place=2)
def top_removed(subject: Subject) -> float:
    """Control: the own head without the leading directions, how many by the holdout."""
    basis_DR = Spectrum.of(subject.moments).directions()
    return subject.best([_behind(subject, basis_DR[:, rank:]) for rank in _ranks(subject)[:-1]])


@control("permuted labels", place=4)
def permuted_labels(subject: Subject) -> float:
    """Control: LDA on the given labels in another order; chance is 1 / K."""
    features_ND, given_N = subject.train_features
    order_N = torch.randperm(len(given_N), generator=torch.Generator().manual_seed(0))
    moments = Moments(subject.head.width, subject.head.classes)
    readout = Readout.lda(moments.update(features_ND, given=given_N[order_N]))
    return subject.accuracy(folded(readout))


@control("BatchNorm alone", place=3)
def batchnorm_alone(subject: Subject) -> float:
    """Control: BatchNorm statistics taken anew on the training inputs, nothing cut."""
    twin = own_copy(subject.network)
    reestimate_batchnorm(twin, subject.train)
    return accuracy(twin, subject.test)


def of_inputs(problem: Problem, batch_size: int = 256) -> Subject:
    """A network whose features are the inputs: untrained softmax regression.

    What is fitted to it shows how far one comes without any trained feature.
    """
    network = build("linear", tuple(problem.train.inputs.shape[1:]), problem.classes).eval()
    parts = (problem.train, problem.holdout, problem.test)
    return Subject(network, *(part.loader(batch_size) for part in parts))


def _ranks(subject: Subject) -> list[int]:
    return geometric_ranks(Spectrum.of(subject.moments).rank)


def _behind(subject: Subject, basis_DR: Tensor) -> Classifier:
    """The own head behind a projection of the centred features."""
    weight_KD, bias_K = (part.double() for part in subject.parameters())
    projected_KD = weight_KD @ basis_DR @ basis_DR.T
    mean_D = subject.moments.mean_D
    return linear(projected_KD, bias_K + (weight_KD - projected_KD) @ mean_D)
