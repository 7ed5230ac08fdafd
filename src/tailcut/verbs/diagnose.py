"""diagnose: what is in this network, and would a cut help? Nothing is changed."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tailcut._typing import Batches
from tailcut.network.views import Views
from tailcut.verbs.diagnosis import Diagnosis
from tailcut.verbs.options import Options
from tailcut.verbs.pipeline import examine
from tailcut.verbs.progress import steps


def diagnose(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    clean: Any = None,
    views: Views = "auto",
    depth: str = "auto",
    readout: str = "auto",
    rank: int | str = "auto",
    backbone: nn.Module | None = None,
    force: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Diagnosis:
    """Look at the spectrum, measure the memory and the noise, and evaluate every cut.

    Args:
        model: A trained classifier; it is never changed.
        train: The batches it was trained on, with the labels it was trained on.
        holdout: Batches it was not trained on; noisy labels will do, 500 samples are enough.
        clean: True labels where they are known, used to report and never to choose: a vector
            of one for each training sample, or batches of other samples with true labels.
        views: "auto", or names or callables: perturbations that keep the label.
        depth: "head" (cut the penultimate features only), "all" (every layer) or "auto".
        readout: "project", "ridge", "centroid", "lda" or "auto".
        rank: Directions to keep, or "auto".
        backbone: The network as it was before it was fine-tuned, in the same class or wrapped
            otherwise, with any head or none. Then what fine-tuning changed may be cut, too.
        force: Go on although the network does not predict its training labels: a linear probe
            of its features rather than a diagnosis of what it has learned.
        seed: Of samples, views and halves; one seed gives one result.
        device: To work on; the model's own if not given.
        progress: Show the running step on a terminal.

    Raises:
        HeadError: No linear head that gives the network's logits.
        DataError: Data that cannot be used.
    """
    with steps(shown=progress) as step:
        return examine(
            model,
            train,
            holdout,
            Options(views, depth, readout, rank, force, seed, backbone),
            clean=clean,
            device=device,
            step=step,
        ).diagnosis
