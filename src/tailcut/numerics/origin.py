"""Readouts for heads without bias: the constant is what the features say of it."""

from __future__ import annotations

from dataclasses import replace

import torch

from tailcut.numerics.covariance import factor, shrunk
from tailcut.numerics.readout import Readout
from tailcut.numerics.statistics import Statistics


def through_origin(readout: Readout, moments: Statistics) -> Readout:
    """The nearest readout without a bias, at every rank.

    A readout says W h + b. Its b, which a head without bias cannot hold, becomes b times
    u.h, with u the least-squares predictor of the constant 1 from the features in the leading
    r directions: u = S^-1 mean, S the uncentred second moment (shrunk as the covariance of
    LDA is). Of all maps without bias W h + b u.h is nearest to the readout in the mean square,
    and equal to it where some combination of the features is constant. What is the same for
    all classes is taken off b first, as it changes no prediction and no probability.

    With y = L^-1 V^T h, L the Cholesky factor of V^T S V, u.h = sum_{i<=r} E[y_i] y_i: each
    rank is exact, as for the readouts themselves.

    Args:
        readout: With an offset.
        moments: Of the features it was fitted to.
    """
    second_DD = moments.scatter_DD / moments.n + torch.outer(moments.mean_D, moments.mean_D)
    rotation_RD = readout.rotation_RD
    inside_RR = rotation_RD @ shrunk(second_DD, moments.n, None) @ rotation_RD.T
    whitened_RD = torch.linalg.solve_triangular(
        factor((inside_RR + inside_RR.T) / 2), rotation_RD, upper=False
    )
    means_R1 = whitened_RD @ moments.mean_D[:, None]
    centres_RK = (readout.gains_RK * (rotation_RD @ readout.mean_D)[:, None]).cumsum(0)
    offsets_RK = readout.offsets_RK - centres_RK
    return replace(
        readout,
        offsets_RK=offsets_RK - offsets_RK.mean(1, keepdim=True),
        mean_D=torch.zeros_like(readout.mean_D),
        constant_RD=means_R1 * whitened_RD,
    )
