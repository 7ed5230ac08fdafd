"""FINE: labels kept by how far their features agree with the class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tailcut.lab.baselines.masc import directions
from tailcut.lab.baselines.registry import baseline
from tailcut.lab.baselines.subject import Subject, folded
from tailcut.numerics.moments import Moments
from tailcut.numerics.readout import Readout


@baseline("FINE + LDA", place=14)
def fine_refit(subject: Subject) -> float:
    """FINE filter (Kim et al., NeurIPS 2021), then LDA on the labels it keeps.

    Of each class the squared alignment of the unit features with the first uncentred
    direction, split by a two-component Gaussian mixture; kept where the aligned component has
    more than half of the probability.
    """
    from sklearn.mixture import GaussianMixture

    features_ND, given_N = subject.train_features
    unit_ND = torch.nn.functional.normalize(features_ND.double())
    moments = Moments(subject.head.width, subject.head.classes)
    for k in range(subject.head.classes):
        inside_N = given_N == k
        first_D = directions(unit_ND[inside_N])[1][:, 0]
        alignment_n1 = (unit_ND[inside_N] @ first_D).square()[:, None].numpy()
        mixture = GaussianMixture(2, random_state=0).fit(alignment_n1)
        means: Any = mixture.means_
        aligned = int(np.argmax(means[:, 0]))
        kept_n = torch.from_numpy(mixture.predict_proba(alignment_n1)[:, aligned] > 0.5)
        kept_n = kept_n if kept_n.any() else torch.ones_like(kept_n)
        moments.update(features_ND[inside_N][kept_n], given=given_N[inside_N][kept_n])
    return subject.accuracy(folded(Readout.lda(moments)))
