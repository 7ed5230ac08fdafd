"""torchvision's families, one or more of every file of `torchvision.models`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from families.family import CLASSES, Family, images, noise

LIBRARY = "torchvision"


def _built(name: str, **options: Any) -> nn.Module:
    """By the function of this name."""
    from torchvision import models

    place = models.video if hasattr(models.video, name) else models
    return getattr(place, name)(num_classes=CLASSES, **options)


def _alexnet() -> nn.Module:
    network = _built("alexnet")
    network.classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(9216, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, CLASSES)
    )
    return network


def _vgg(*, norm: bool) -> nn.Module:
    from torchvision.models.vgg import VGG, make_layers

    network = VGG(make_layers([8, "M", 16, "M", 16, 16, "M"], batch_norm=norm), CLASSES)
    network.classifier = nn.Sequential(
        nn.Linear(16 * 49, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, CLASSES)
    )
    return network


def _convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=CLASSES)


def _densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(4, (1, 1, 1, 1), 8, num_classes=CLASSES)


def _efficientnet(*, fused: bool) -> nn.Module:
    from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig

    stem = FusedMBConvConfig(2, 3, 2, 8, 16, 1) if fused else MBConvConfig(1, 3, 2, 8, 16, 1, 1, 1)
    return EfficientNet([stem, MBConvConfig(2, 3, 2, 16, 24, 1, 1, 1)], 0.1, num_classes=CLASSES)


def _mobilenet_v2() -> nn.Module:
    from torchvision.models import MobileNetV2

    return MobileNetV2(CLASSES, 0.25, [[1, 16, 1, 1], [6, 24, 1, 2]])


def _mobilenet_v3() -> nn.Module:
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    settings = [(16, 3, 16, 16, True, "RE", 2, 1, 1), (16, 3, 24, 24, True, "HS", 2, 1, 1)]
    return MobileNetV3([InvertedResidualConfig(*each) for each in settings], 32, CLASSES)


def _regnet() -> nn.Module:
    from torchvision.models.regnet import BlockParams, RegNet

    params = BlockParams([1, 1], [8, 16], [4, 4], [1, 1], [2, 2], se_ratio=0.25)
    return RegNet(params, CLASSES, 8)


def _resnet(block: str, **options: Any) -> nn.Module:
    from torchvision.models import resnet

    kind = getattr(resnet, block)
    return _narrow(resnet.ResNet(kind, [1, 1, 1, 1], **options), kind.expansion)


def _narrow(network: Any, expansion: int = 1) -> nn.Module:
    """Without the wide stages of a residual network."""
    network.layer2, network.layer3, network.layer4 = (nn.Identity() for _ in range(3))
    network.fc = nn.Linear(64 * expansion, CLASSES)
    return network


def _inception() -> nn.Module:
    network = _built("inception_v3", init_weights=False)
    for name in (
        "Mixed_6b",
        "Mixed_6c",
        "Mixed_6d",
        "Mixed_6e",
        "Mixed_7a",
        "Mixed_7b",
        "Mixed_7c",
    ):
        setattr(network, name, nn.Identity())
    network.fc = nn.Linear(768, CLASSES)
    return network


def _shufflenet() -> nn.Module:
    from torchvision.models import ShuffleNetV2

    return ShuffleNetV2([1, 1, 1], [8, 16, 24, 32, 48], CLASSES)


def _swin(version: int) -> nn.Module:
    from torchvision.models import swin_transformer as swin

    block = {} if version == 1 else {"block": swin.SwinTransformerBlockV2}
    merging = {} if version == 1 else {"downsample_layer": swin.PatchMergingV2}
    return swin.SwinTransformer(
        [4, 4], 16, [2, 2], [2, 2], [2, 2], num_classes=CLASSES, **block, **merging
    )


def _vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return _with_a_head(VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=CLASSES))


def _with_a_head(network: Any) -> nn.Module:
    """It starts with a head of zeros."""
    nn.init.normal_(network.heads.head.weight)
    return network


def _maxvit() -> nn.Module:
    from torchvision.models import MaxVit

    return MaxVit((32, 32), 8, 2, [8, 16], [1, 1], 4, 0.0, num_classes=CLASSES)


def _video_resnet(*makers: str) -> nn.Module:
    from torchvision.models.video import resnet

    convolutions = [getattr(resnet, name) for name in makers] * (4 if len(makers) == 1 else 1)
    stem = resnet.R2Plus1dStem if makers[0] == "Conv2Plus1D" else resnet.BasicStem
    return _narrow(resnet.VideoResNet(resnet.BasicBlock, convolutions, [1, 1, 1, 1], stem))


def _s3d() -> nn.Module:
    network = _built("s3d")
    network.avgpool = nn.AdaptiveAvgPool3d(1)  # for clips that are small
    return network


def _swin3d() -> nn.Module:
    from torchvision.models.video import SwinTransformer3d

    return SwinTransformer3d([2, 4, 4], 16, [2, 2], [2, 2], [2, 2, 2], num_classes=CLASSES)


def _mvit() -> nn.Module:
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    blocks = [
        MSBlockConfig(1, 16, 16, [3, 3, 3], [], [1, 1, 1], []),
        MSBlockConfig(2, 16, 32, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
    ]
    return MViT(
        (32, 32), 4, blocks,
        residual_pool=True, residual_with_cls_embed=False, rel_pos_embed=True,
        proj_after_attn=True, num_classes=CLASSES,
    )  # fmt: skip


_CLIPS, _SMALL_CLIPS = noise(3, 4, 32, 32), noise(3, 2, 8, 8)
_ROWS: list[tuple[str, Callable[[], nn.Module], Any]] = [
    ("AlexNet", _alexnet, images(64)),
    ("VGG", partial(_vgg, norm=False), images(32)),
    ("VGG with BatchNorm", partial(_vgg, norm=True), images(32)),
    ("ConvNeXt", _convnext, images(32)),
    ("DenseNet", _densenet, images(32)),
    ("EfficientNet", partial(_efficientnet, fused=False), images(32)),
    ("EfficientNetV2", partial(_efficientnet, fused=True), images(32)),
    ("GoogLeNet", partial(_built, "googlenet", init_weights=False), images(32)),
    ("Inception v3", _inception, images(75)),
    ("MaxViT", _maxvit, images(32)),
    ("MNASNet", partial(_built, "mnasnet0_5"), images(32)),
    ("MobileNetV2", _mobilenet_v2, images(32)),
    ("MobileNetV3", _mobilenet_v3, images(32)),
    ("RegNet", _regnet, images(32)),
    ("ResNet", partial(_resnet, "BasicBlock"), images(32)),
    ("ResNet with bottlenecks", partial(_resnet, "Bottleneck"), images(32)),
    ("ResNeXt", partial(_resnet, "Bottleneck", groups=4, width_per_group=8), images(32)),
    ("Wide ResNet", partial(_resnet, "Bottleneck", width_per_group=128), images(32)),
    ("ShuffleNetV2", _shufflenet, images(32)),
    ("SqueezeNet", partial(_built, "squeezenet1_1"), images(32)),
    ("Swin", partial(_swin, 1), images(32)),
    ("SwinV2", partial(_swin, 2), images(32)),
    ("ViT", _vit, images(32)),
    ("R3D", partial(_video_resnet, "Conv3DSimple"), _SMALL_CLIPS),
    ("MC3", partial(_video_resnet, "Conv3DSimple", *["Conv3DNoTemporal"] * 3), _SMALL_CLIPS),
    ("R(2+1)D", partial(_video_resnet, "Conv2Plus1D"), _SMALL_CLIPS),
    ("S3D", _s3d, noise(3, 8, 32, 32)),
    ("Video Swin", _swin3d, _CLIPS),
    ("MViT", _mvit, _CLIPS),
]

FAMILIES = [Family(LIBRARY, *row) for row in _ROWS]
