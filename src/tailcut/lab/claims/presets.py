"""Which studies the claims are tested on: a few dozen for each preset, by purpose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tailcut.errors import SpecError
from tailcut.lab.claims.study import Study
from tailcut.lab.training.recipe import CLUTTER

NAMES = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8")
"""Of the claims."""


@dataclass(frozen=True)
class Preset:
    """The studies of a preset.

    Attributes:
        base: What every study varies: symmetric noise of rate 0.4, probed and repaired.
        seeds: Each study is run with all of them.
        systematic: Kinds of noise that have a system, with their rates.
        widths: Networks from narrow to wide, with the width of each.
        constrained: Networks whose rank is held down while they train.
        rates: Rates of symmetric noise, the first 0.
        small: Training samples of the small data set.
        claims: Those asked for; all have controls beside them.
    """

    base: Study
    seeds: Sequence[int]
    systematic: Sequence[tuple[str, float]]
    widths: Sequence[tuple[str, int]]
    constrained: Sequence[str]
    rates: Sequence[float]
    small: int
    claims: Sequence[str] = NAMES

    def __post_init__(self) -> None:
        if len(self.seeds) < 2:
            raise SpecError(
                f"{len(self.seeds)} seeds",
                wanted="at least 2: an interval needs a spread",
                advice="Choose more seeds",
            )

    def variant(self, **changes: object) -> Study:
        """The base with changes; what is changed is not repaired."""
        return replace(self.base, **{"repair": False, **changes}) if changes else self.base  # pyright: ignore[reportArgumentType] fields by name

    def clean(self) -> Study:
        """True labels."""
        return self.variant(rate=0.0)

    def random(self) -> Study:
        """Labels that have nothing to do with the samples: symmetric noise of (K - 1) / K."""
        return self.variant(rate=0.9)

    def pixels(self) -> Study:
        """Softmax regression: its features are the inputs, so nothing needs to be trained."""
        return self.variant(network="linear", epochs=1, probes=(0,))

    def of_noise(self, noise: str, rate: float) -> Study:
        """Another kind of noise."""
        return self.variant(noise=noise, rate=rate)

    def of_network(self, network: str) -> Study:
        """Another network, not probed."""
        return self.base if network == self.base.network else self.bare(network=network)

    def of_rate(self, rate: float, network: str | None = None, train: int | None = None) -> Study:
        """Symmetric noise of some rate on some network and number of samples."""
        network, train = network or self.base.network, train or self.base.train
        if network == self.base.network and train == self.base.train:
            known = {self.base.rate: self.base, 0.0: self.clean()}
            if rate in known:
                return known[rate]
        return self.bare(rate=rate, network=network, train=train)

    def bare(self, **changes: object) -> Study:
        """The base with changes, neither probed nor repaired."""
        return self.variant(probes=0, **changes)

    @property
    def whole(self) -> bool:
        """Whether every claim is asked for."""
        return self.claims == NAMES

    def needed(self) -> dict[str, list[Study]]:
        """The studies that each claim is read off."""
        ends = [name for name, _ in (self.widths[0], self.widths[-1])]
        wide = [self.of_network(name) for name, _ in self.widths]
        few = [self.of_rate(rate, train=self.small) for rate in (0.0, self.base.rate)]
        at_ends = [
            self.of_rate(rate, network=name) for name in ends for rate in (0.0, self.base.rate)
        ]
        base = [self.base]
        return {
            "C1": base,
            "C2": [self.base, *(self.of_noise(*each) for each in self.systematic)],
            "C3": base,
            "C4": [self.base, self.pixels()],
            "C5": base,
            "C6": base,
            "C7": [self.base, *wide, *(self.of_network(name) for name in self.constrained)],
            "C8": [self.base, *(self.of_rate(rate) for rate in self.rates), *few, *at_ends],
        }

    def studies(self) -> list[Study]:
        """Each seed of what the claims need, and of the controls if all are asked for."""
        needed = self.needed()
        wanted = [study for name in self.claims for study in needed[name]]
        if self.whole:
            wanted += [self.clean(), self.random(), self.pixels()]
        return [replace(each, seed=seed) for each in dict.fromkeys(wanted) for seed in self.seeds]


_CLUTTER = Study.under(
    CLUTTER,
    data="clutter",
    network="maxcnn",
    train=4_000,
    holdout=500,
    test=1_000,
    repair=True,
)

_CIFAR = Study(
    data="cifar10",
    network="cnn-8",
    train=3_000,
    holdout=300,
    test=2_000,
    epochs=18,
    learning_rate=0.02,
    probes=6,
    repair=True,
)

_GPU = replace(
    _CIFAR,
    network="resnet",
    train=45_000,
    holdout=5_000,
    test=None,
    epochs=100,
    batch_size=128,
    learning_rate=0.05,
    probes=10,
)

_DIGITS_PRESET = Preset(
    base=Study(network="mlp-256", repair=True),
    seeds=range(5),
    systematic=(("pair", 0.4), ("instance", 0.4), ("aligned", 0.4)),
    widths=(("mlp-16", 16), ("mlp-64", 64), ("mlp-256", 256), ("mlp-512", 512)),
    constrained=("mlp-256/bottleneck-9", "mlp-256/nested-9"),
    rates=(0.0, 0.1, 0.2, 0.4, 0.6),
    small=300,
)

_CLUTTER_PRESET = replace(
    _DIGITS_PRESET,
    base=_CLUTTER,
    seeds=range(3),
    widths=(("maxcnn-4", 4), ("maxcnn-8", 8), ("maxcnn", 16)),
    constrained=("maxcnn/bottleneck-9", "maxcnn/nested-9"),
    small=1_000,
)

_CIFAR_PRESET = replace(
    _DIGITS_PRESET,
    base=_CIFAR,
    seeds=range(3),
    systematic=(("asymmetric", 0.4), ("instance", 0.4), ("aligned", 0.4), ("human", 0.0)),
    widths=(("cnn-4", 4), ("cnn-8", 8), ("cnn-12", 12)),
    constrained=("cnn-8/bottleneck-9", "cnn-8/nested-9"),
    small=750,
)

_GPU_PRESET = replace(
    _CIFAR_PRESET,
    base=_GPU,
    widths=(("resnet-8", 8), ("resnet-16", 16), ("resnet-32", 32), ("resnet", 64)),
    constrained=("resnet/bottleneck-9", "resnet/nested-9"),
    small=10_000,
)

PRESETS = {
    "clutter": _CLUTTER_PRESET,
    "digits": _DIGITS_PRESET,
    "cifar": _CIFAR_PRESET,
    "gpu": _GPU_PRESET,
}
"""`digits` takes minutes on two cores, `clutter` half an hour, `cifar` hours, `gpu` (ResNet-18,
45 000 images) a GPU."""


def with_seeds(chosen: Preset, seeds: Iterable[int]) -> Preset:
    """The same studies with other seeds."""
    return replace(chosen, seeds=tuple(seeds))


def with_claims(chosen: Preset, claims: Iterable[str]) -> Preset:
    """Some of its claims, and no other study than these need.

    Without C5 nothing is repaired: only C5 asks what a repair reaches, and it takes as long as
    the training.

    Raises:
        SpecError: A name that is none of its claims.
    """
    wanted = tuple(claims)
    unknown = [name for name in wanted if name not in chosen.claims]
    if unknown or not wanted:
        raise SpecError(
            f"claims {', '.join(unknown) or 'of no name'}",
            wanted=f"some of {', '.join(chosen.claims)}",
            advice="Correct --claims",
        )
    named = tuple(name for name in chosen.claims if name in wanted)
    repair = chosen.base.repair and "C5" in named
    return replace(chosen, claims=named, base=replace(chosen.base, repair=repair))
