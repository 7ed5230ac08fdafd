"""Small networks with one width option, for experiments that fit a laptop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tailcut.errors import SpecError


class Rescale(nn.Module):
    """Inputs from 0..1 to about unit scale, so that a checkpoint carries its own scaling."""

    def forward(self, inputs: Tensor) -> Tensor:
        """N x ... in 0..1 to the same shape in -2..2."""
        return inputs * 4 - 2


def mlp(shape: Sequence[int], classes: int, width: int = 512) -> nn.Sequential:
    """Two hidden ReLU layers, no normalisation; `width` features."""
    inputs = int(torch.Size(shape).numel())
    return nn.Sequential(
        nn.Flatten(),
        Rescale(),
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )


def cnn(shape: Sequence[int], classes: int, width: int = 32) -> nn.Sequential:
    """Five 3x3 convolutions with BatchNorm, doubling in width; 16 x `width` features.

    Each of the first four halves the image, as far as it can be halved.
    """
    layers: list[nn.Module] = [Rescale()]
    channels, side = shape[0], min(shape[1:])
    for stage in range(5):
        layers += [_conv(channels, width << stage), nn.BatchNorm2d(width << stage), nn.ReLU()]
        if side > 1 and stage < 4:
            layers.append(nn.MaxPool2d(2))
            side //= 2
        channels = width << stage
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


def maxcnn(shape: Sequence[int], classes: int, width: int = 16) -> nn.Sequential:
    """Four 3x3 convolutions with BatchNorm and the maximum over all places; 8 x `width` features.

    For one object that may stand anywhere. The second and the fourth convolution halve the image.
    """
    layers: list[nn.Module] = []
    channels = shape[0]
    for stage in range(4):
        layers += [_conv(channels, width << stage, 1 + stage % 2), nn.BatchNorm2d(width << stage)]
        layers.append(nn.ReLU())
        channels = width << stage
    return nn.Sequential(
        *layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


class Block(nn.Module):
    """The basic residual block of He et al. (2016)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inside, outside, stride)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = _conv(outside, outside)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """N x inside x H x W to N x outside x H/stride x W/stride."""
        hidden = torch.relu(self.bn1(self.conv1(inputs)))
        return torch.relu(self.bn2(self.conv2(hidden)) + self.shortcut(inputs))


def resnet(shape: Sequence[int], classes: int, width: int = 64) -> nn.Sequential:
    """ResNet-18 with the CIFAR stem (3x3, no pooling); 8 x `width` features, 512 at full size."""
    layers: list[nn.Module] = [
        Rescale(),
        _conv(shape[0], width),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    channels = width
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and not block else 1
            layers.append(Block(channels, width << stage, stride))
            channels = width << stage
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


class Tokens(nn.Module):
    """An image as one vector for each patch, its position added."""

    def __init__(self, channels: int, side: int, width: int) -> None:
        super().__init__()
        patch = max(2, side // 8)
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.position = nn.Parameter(0.02 * torch.randn((side // patch) ** 2, width))

    def forward(self, inputs: Tensor) -> Tensor:
        """N x channels x side x side to N x tokens x width."""
        return self.embed(inputs).flatten(2).transpose(1, 2) + self.position


class Attention(nn.Module):
    """Attention with four heads, its projections plain linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = math.gcd(width, 4)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """N x tokens x width to the same shape."""
        qkv = self.qkv(inputs).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*qkv)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Encoder(nn.Module):
    """The block of a vision transformer (Dosovitskiy et al. 2021), LayerNorm first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """N x tokens x width to the same shape."""
        hidden = inputs + self.attention(inputs)
        return hidden + self.mlp(hidden)


class MeanToken(nn.Module):
    """The mean over the tokens."""

    def forward(self, inputs: Tensor) -> Tensor:
        """N x tokens x width to N x width."""
        return inputs.mean(1)


def vit(shape: Sequence[int], classes: int, width: int = 64) -> nn.Sequential:
    """A vision transformer of four blocks, LayerNorm and no BatchNorm; `width` features.

    Its patches are an eighth of the side, at least 2; the features are the mean token, normalised.
    """
    return nn.Sequential(
        Rescale(),
        Tokens(shape[0], min(shape[1:]), width),
        *(Encoder(width) for _ in range(4)),
        MeanToken(),
        nn.LayerNorm(width),
        nn.Linear(width, classes),
    )


def linear(shape: Sequence[int], classes: int) -> nn.Sequential:
    """Softmax regression: its features are the inputs themselves, which is a control."""
    inputs = int(torch.Size(shape).numel())
    return nn.Sequential(nn.Flatten(), Rescale(), nn.Linear(inputs, classes))


class NestedDropout(nn.Module):
    """In training, keeps the leading b features of each sample, b drawn geometrically.

    Nested dropout (Rippel, Gelbart & Adams 2014): the features order themselves by importance,
    a soft constraint of the rank at training time. Deviation: no unit is ever frozen.

    Args:
        width: D.
        mean: Of the number kept, before it is cut at D; above 1.
    """

    def __init__(self, width: int, mean: float) -> None:
        super().__init__()
        self.width, self.rate = width, 1 / mean

    def forward(self, features_ND: Tensor) -> Tensor:
        """The features (N x D), all of them in evaluation."""
        if not self.training:
            return features_ND
        kept_N1 = features_ND.new_empty(len(features_ND), 1).geometric_(self.rate)
        places_D = torch.arange(self.width, device=features_ND.device)
        return features_ND * (places_D < kept_N1)


def constrained(network: nn.Sequential, constraint: str) -> nn.Sequential:
    """A network whose head is held to few directions while it trains.

    Args:
        network: That ends in a Linear.
        constraint: "bottleneck-R" (a Linear to R features before the head) or "nested-R"
            (nested dropout, R features kept on average, at least 2).

    Raises:
        SpecError: Another constraint.
    """
    kind, _, rank = constraint.partition("-")
    least = {"bottleneck": 1, "nested": 2}
    if kind not in least or not rank.isdigit() or int(rank) < least[kind]:
        raise SpecError(
            f"no constraint {constraint!r}",
            wanted="bottleneck-R, or nested-R with R above 1, as in mlp/bottleneck-9",
            advice="Correct the name",
        )
    *body, head = network
    assert isinstance(head, nn.Linear)
    if kind == "nested":
        return nn.Sequential(*body, NestedDropout(head.in_features, int(rank)), head)
    narrow = nn.Linear(head.in_features, int(rank))
    return nn.Sequential(*body, narrow, nn.Linear(int(rank), head.out_features))


NETWORKS: dict[str, Callable[..., nn.Sequential]] = {
    "mlp": mlp,
    "cnn": cnn,
    "maxcnn": maxcnn,
    "resnet": resnet,
    "vit": vit,
    "linear": linear,
}


def build(name: str, shape: Sequence[int], classes: int) -> nn.Sequential:
    """A network by name: `mlp`, with its width, `resnet-16`, or constrained, `mlp/nested-9`.

    Args:
        name: As above.
        shape: Of one input, without the batch.
        classes: K.

    Raises:
        SpecError: A name that is none of these.
    """
    free, _, constraint = name.partition("/")
    if constraint:
        return constrained(build(free, shape, classes), constraint)
    kind, _, width = name.partition("-")
    if kind not in NETWORKS or (width and (not width.isdigit() or kind == "linear")):
        raise SpecError(
            f"no lab network {name!r}",
            wanted=f"one of {', '.join(sorted(NETWORKS))}, with a width if you like: resnet-16",
            advice="Correct the name",
        )
    return NETWORKS[kind](shape, classes, *([int(width)] if width else []))


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
