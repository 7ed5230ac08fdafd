"""What every kind of label noise is, and the kinds by the word that names them.

A kind is a class in a file of this package, below `@KINDS.register("word")`; nothing else needs to
know of it. Data words ask a kind what it wants (`by_people`, `apart`), never which one it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tailcut.errors import DataError, SpecError
from tailcut.lab.registry import Registry
from tailcut.lab.samples import Samples


@dataclass(frozen=True)
class Noise(ABC):
    """Label noise of one kind; an instance is what one word asks for.

    Attributes:
        rate: Probability that a label which the noise can make wrong is wrong, 0..1.
        file: What stands after the colon of the word, None if nothing does.
        bare: Whether the word may stand without a file.
        file_form: How help and errors write the file; None if the kind takes none.
        by_people: Whether people gave the labels: `annotated` puts them in, for all of the data.
        apart: How many classes, the last ones, leave the problem and are the outside that
            replaces inputs.
    """

    rate: float
    file: str | None = None

    bare: ClassVar[bool] = True
    file_form: ClassVar[str | None] = None
    by_people: ClassVar[bool] = False
    apart: ClassVar[int] = 0

    @abstractmethod
    def corrupt(
        self, samples: Samples, seed: int, *, classes: int, outside: Samples | None = None
    ) -> Samples:
        """The same samples with noisy labels; the same seed gives the same anywhere.

        Args:
            samples: Their true labels are 0..K-1; not changed.
            seed: Of everything that is drawn.
            classes: K, where some class may have no sample here.
            outside: Samples of no class, from which `apart` takes inputs.

        Raises:
            DataError: A rate outside 0..1, or samples that cannot have this noise.
        """

    def wrong_share(self, classes: int) -> float | None:
        """Share of all labels that are wrong on average, classes of equal size; None: unknown."""
        return self.rate

    def annotated(self, whole: Samples, folder: Path | None = None) -> Samples:
        """All samples of some data with the labels that people gave them, if `by_people`.

        Args:
            whole: In the order of the file.
            folder: Of the data, where the file may lie.

        Raises:
            SpecError, DataError: See `human.of_word`.
        """
        return whole


KINDS: Registry[type[Noise]] = Registry("tailcut.lab.noise", "label noise")
"""Classes of label noise by the word, or the part of it before a colon."""


def words() -> list[str]:
    """Every kind as a command line names it, such as pair or matrix:FILE.npy."""
    return [
        word
        for name, kind in KINDS.items()
        for word in ([name] if kind.bare else [])
        + ([] if kind.file_form is None else [f"{name}:{kind.file_form}"])
    ]


def noise_of(word: str, rate: float) -> Noise:
    """The noise that a word asks for.

    Raises:
        SpecError: A word that is none of `words`.
    """
    name, colon, file = word.partition(":")
    kind = KINDS.get(name)
    if kind is None or not (file and kind.file_form if colon else kind.bare):
        raise SpecError(
            f"no label noise {word!r}",
            wanted=f"one of {', '.join(words())}",
            advice="Correct the name",
        )
    return kind(rate, file or None)


def require(kind: str, classes: int, rate: float) -> None:
    """That noise of this rate is possible.

    Raises:
        DataError: Fewer than two classes, or a rate outside 0..1.
    """
    if classes < 2 or not 0 <= rate <= 1:
        raise DataError(
            f"{kind} noise of rate {rate} among {classes} classes",
            wanted="a rate from 0 to 1 and at least 2 classes",
            advice="Rates are fractions of wrong labels: 0.4, not 40",
        )
