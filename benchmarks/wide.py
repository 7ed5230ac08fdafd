"""What the filters of wide layers cost: `python benchmarks/wide.py [NETWORK ...]`.

For each network, in a process of its own: moments of the inputs of all layers but the head, with
noise, and a copy of the network behind every filter that `repair` tries. Prints processor seconds,
their ratio to one pass of the same images through the network in the same run, and the largest
resident memory of the process, before (network and images) and after. Weights and images are
random: the work does not depend on them. For comparable figures set OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing import get_context

import torch
from torch import Tensor, nn

from tailcut.lab.training.networks import build
from tailcut.network.filters import truncated_copy
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.stream import logits_of, own_copy
from tailcut.verbs.policy import DENOISINGS, TRUNCATIONS

_BATCH = 32


def main() -> None:
    """Measure each network in a child, so that memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help=", ".join(NETWORKS))
    asked = parser.parse_args()
    print("network | images | pass s | layers s | filters s | ratio | MB before | MB")
    for name in asked.networks or NETWORKS:
        with get_context("spawn").Pool(1) as child:
            told = child.apply(measured, (name,))
        print(f"{name} |", " | ".join(f"{value:.4g}" for value in told.values()), flush=True)


def measured(name: str) -> dict[str, float]:
    """Processor seconds and megabytes of one network."""
    torch.manual_seed(0)
    made, head, images, side = NETWORKS[name]
    model, before = own_copy(made()), memory()
    batches = torch.randn(images, 3, side, side).split(_BATCH)
    peer = seconds(lambda: [logits_of(model, each) for each in batches])
    moments = LayerMoments(model, images, skip=[head])
    layers = seconds(lambda: seen(moments, batches))
    filters = seconds(lambda: behind_filters(model, moments, batches))
    ratio = (layers + filters) / peer
    return {
        "images": images,
        "pass": peer,
        "layers": layers,
        "filters": filters,
        "ratio": ratio,
        "before": before,
        "memory": memory(),
    }


def seen(moments: LayerMoments, batches: tuple[Tensor, ...]) -> None:
    """As `repair` has it: the noise is a quarter of the spread."""
    for inputs in batches:
        moments.update(inputs, inputs + torch.randn_like(inputs) / 4)


def behind_filters(model: nn.Module, moments: LayerMoments, batches: tuple[Tensor, ...]) -> None:
    """The reference, and all that are tried, one after the other."""
    labelled = [(each, torch.zeros(len(each)).long()) for each in batches]
    for chosen in (TRUNCATIONS[-1], *TRUNCATIONS, *DENOISINGS):
        truncated_copy(model, moments, chosen, labelled)


def seconds(work: Callable[[], object]) -> float:
    """Processor time, of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def memory() -> float:
    """Megabytes resident at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Residual(nn.Module):
    """The basic block of He et al. (2016)."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        stride = 1 if inside == outside else 2
        self.inner = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.short = nn.Sequential()
        if stride > 1:
            self.short = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """N x inside x H x W to N x outside x H/stride x W/stride."""
        return torch.relu(self.inner(inputs) + self.short(inputs))


def resnet18() -> nn.Sequential:
    """As for ImageNet: images of 32 pixels leave one position to the last block."""
    widths = (64, 64, 64, 128, 128, 256, 256, 512, 512)
    blocks = [Residual(*pair) for pair in pairwise(widths)]
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def _classifier(inputs: int) -> list[nn.Module]:
    wide = [nn.Linear(inputs, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return [nn.Flatten(), *wide, nn.Linear(4096, 1000)]


def alexnet() -> nn.Sequential:
    """As torchvision has it (Krizhevsky 2014), at 224 pixels: 9 216 inputs."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    for inside, outside in ((192, 384), (384, 256), (256, 256)):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(3, 2), *_classifier(9216))


def vgg11() -> nn.Sequential:
    """Configuration A of Simonyan & Zisserman (2015), at 224 pixels: 25 088 inputs."""
    layers: list[nn.Module] = []
    inside = 3
    for outside in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
        if outside:
            layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU()]
            inside = outside
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, *_classifier(25088))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, int, int]] = {
    "resnet18": (resnet18, "14", 300, 32),
    "resnet18-cifar": (lambda: build("resnet", (3, 32, 32), 10), "14", 300, 32),
    "alexnet": (alexnet, "18", 32, 224),
    "vgg11": (vgg11, "26", 32, 224),
}
"""Network, name of its head, images, and their side."""


if __name__ == "__main__":
    main()
