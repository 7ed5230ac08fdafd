"""Presets at many sizes: the claims that need the base study alone, from few images to many."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tailcut.errors import SpecError
from tailcut.lab.claims.presets import PRESETS, Preset
from tailcut.lab.claims.study import Study


@dataclass(frozen=True)
class Scale:
    """The same claims at many sizes of one problem: each asks for the base study alone.

    Attributes:
        preset: Its base is varied, and not repaired.
        sizes: Training images, from few to many, on the base's network.
        widths: Networks from narrow to wide with the width of each, on the base's images.
    """

    preset: Preset
    sizes: Sequence[int]
    widths: Sequence[tuple[str, int]]

    def of_size(self, train: int) -> Study:
        """The base on another number of images."""
        return replace(self.preset.base, train=train)

    def of_network(self, network: str) -> Study:
        """The base with another network."""
        return replace(self.preset.base, network=network)

    def studies(self, sizes: Collection[int]) -> list[Study]:
        """Each seed at some sizes, from few images to many, then of the widths.

        Raises:
            SpecError: A size that is none of the scale's.
        """
        unknown = sorted(set(sizes) - set(self.sizes))
        if unknown:
            raise SpecError(
                f"sizes {', '.join(map(str, unknown))}",
                wanted=f"some of {', '.join(map(str, self.sizes))}",
                advice="Correct --sizes",
            )
        wanted = [self.of_size(size) for size in self.sizes if size in sizes]
        if self.preset.base.train in sizes:
            wanted += [self.of_network(name) for name, _ in self.widths]
        seeds = self.preset.seeds
        return [replace(each, seed=seed) for each in dict.fromkeys(wanted) for seed in seeds]


_SCALED = ("C1", "C3", "C5", "C6")
"""The claims that need the base study alone."""

_SCALE = Study(
    data="cifar10",
    network="cnn",
    train=10_000,
    holdout=1_000,
    test=2_000,
    epochs=20,
    learning_rate=0.02,
    probes=4,
)

_RESNET = PRESETS["gpu"]

SCALES = {
    "scale": Scale(
        replace(PRESETS["cifar"], base=_SCALE, claims=_SCALED),
        sizes=(1_000, 3_000, 10_000, 30_000, 45_000),
        widths=(("cnn-4", 4), ("cnn-8", 8), ("cnn-16", 16), ("cnn", 32)),
    ),
    "scale-gpu": Scale(
        replace(
            _RESNET,
            base=replace(_RESNET.base, train=10_000, probes=4, repair=False),
            claims=_SCALED,
        ),
        sizes=(1_000, 3_000, 10_000, 30_000, 45_000),
        widths=_RESNET.widths,
    ),
}
"""`scale` takes hours on two cores, `scale-gpu` (ResNet-18) a GPU."""


def preset(name: str) -> Preset | Scale:
    """A preset or a scale by name.

    Raises:
        SpecError: A name that is none.
    """
    known = {**PRESETS, **SCALES}
    if name not in known:
        raise SpecError(
            f"no preset {name!r}",
            wanted=f"one of {', '.join(known)}",
            advice="Correct the name",
        )
    return known[name]
