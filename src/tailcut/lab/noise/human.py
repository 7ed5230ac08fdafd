"""Labels that people have given: CIFAR-N files and integer arrays, read without running code."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tailcut.errors import DataError, SpecError
from tailcut.lab.noise.kinds import KINDS, Noise
from tailcut.lab.samples import Samples
from tailcut.numerics.checks import checked_labels

CIFAR10N = "cifar10n_random1.npy"
"""File of the plain word `human`: one annotator for each training image of CIFAR-10."""

_CLEAN = "clean_label"


@KINDS.register("human")
class Human(Noise):
    """What people gave, at the rate that they had."""

    file_form = "FILE"
    by_people = True

    def corrupt(
        self, samples: Samples, seed: int, *, classes: int, outside: Samples | None = None
    ) -> Samples:
        """The same: their given labels are the noisy ones already."""
        return samples

    def wrong_share(self, classes: int) -> None:
        """Their file has it."""

    def annotated(self, whole: Samples, folder: Path | None = None) -> Samples:
        """See `Noise.annotated`."""
        found = of_word("human" if self.file is None else f"human:{self.file}", folder)
        return whole.annotated(found.given_N, found.clean_N)


@dataclass(frozen=True, eq=False)
class Annotation:
    """What a file says of each sample of some data.

    Attributes:
        given_N: Labels that people gave.
        clean_N: True labels in the same order, or None where the file has none.
    """

    given_N: Tensor
    clean_N: Tensor | None = None


def annotation(path: Path, key: str | None = None) -> Annotation:
    """Human labels from a file, of which nothing is ever run.

    Files are either plain `.npy` arrays of integers or, as CIFAR-N is published (Wei et al. 2022,
    "Learning with noisy labels revisited"), torch files of a dict: for CIFAR-10N `clean_label`,
    `aggre_label`, `worse_label`, `random_label1`, `random_label2` and `random_label3`; for
    CIFAR-100N `clean_label` and `noisy_label` beside their coarse namesakes. The rate of wrong
    labels is that of the file.

    Args:
        path: Ends in .npy, .pt or .pth.
        key: Which labels of a dict; None takes `noisy_label`, or the only ones that there are.

    Raises:
        DataError: No such file, one that would run code, other content, or no such key.
    """
    if path.suffix == ".npy":
        if key is not None:
            raise DataError(
                f"the labels {key!r} of {path.name}",
                wanted="no name, because a .npy file holds one array",
                advice=f"Write human:FILE without :{key}, or take a .pt file",
            )
        return Annotation(_array(path))
    content = _torch_dict(path)
    chosen = _key(content, key, path)
    clean = content.get(_CLEAN)
    return Annotation(
        checked_labels(content[chosen], None, f"{path.name}:{chosen}"),
        None if clean is None else checked_labels(clean, None, f"{path.name}:{_CLEAN}"),
    )


def of_word(word: str, folder: Path | None = None) -> Annotation:
    """Labels by the word `human`, `human:FILE` or `human:FILE:KEY`.

    Args:
        word: FILE is a path, or the name of a file in the folder.
        folder: Of the images; the plain word takes `CIFAR10N` from it.

    Raises:
        SpecError: A word of another form.
        DataError: See `annotation`.
    """
    word = f"human:{CIFAR10N}" if word == "human" else word
    match = re.fullmatch(r"human:(.+?\.(?:npy|pt|pth))(?::(\w+))?", word)
    if match is None:
        raise SpecError(
            f"the noise {word!r}",
            wanted="human:FILE or human:FILE:KEY, where FILE ends in .npy, .pt or .pth",
            advice="Correct the word, as in human:CIFAR-10_human.pt:worse_label",
        )
    path = Path(match[1])
    beside = path if folder is None else folder / path
    return annotation(path if path.is_file() else beside, match[2])


def _array(path: Path) -> Tensor:
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as cause:
        raise DataError(
            f"no labels in {path} ({cause})",
            wanted="a .npy file with one integer for each sample, without pickled objects",
            advice="For CIFAR-10N put cifar10n_random1.npy beside the images, or name the .pt file "
            "of CIFAR-N, which can be read safely, unlike its .npy files",
        ) from None
    return checked_labels(labels, None, path.name)


def _torch_dict(path: Path) -> dict[str, Any]:
    """A dict of arrays, tensors or lists; everything else in a pickle is refused."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_arrays_only()):
            # torch.load warns of pickle protocols that it then reads or refuses
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as cause:
        reason = "no such file" if isinstance(cause, FileNotFoundError) else type(cause).__name__
        raise DataError(
            f"{path} cannot be read safely ({reason})",
            wanted="a torch file with a dict of label arrays, as CIFAR-N is published",
            advice="Check the path, or save the labels alone: numpy.save('labels.npy', labels)",
        ) from cause
    if not isinstance(content, dict):
        raise DataError(
            f"{path.name} holds a {type(content).__name__}",
            wanted="a dict of label arrays",
            advice="Save a plain array with numpy.save, and name the .npy file",
        )
    return content


def _arrays_only() -> list[Any]:
    """What a pickle may name so that arrays of integers come out of it, and nothing else.

    The function that makes an empty array has moved in numpy 2, so it goes by both names.
    """
    rebuild: Any = np.empty(0).__reduce__()[0]
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    integers = [type(np.dtype(f"{sign}{size}")) for sign in "iu" for size in (1, 2, 4, 8)]
    return [*((rebuild, name) for name in names), np.ndarray, np.dtype, *integers]


def _key(content: dict[str, Any], key: str | None, path: Path) -> str:
    names = [name for name in content if name != _CLEAN]
    if key is None:
        key = "noisy_label" if "noisy_label" in content or len(names) != 1 else names[0]
    if key not in content:
        raise DataError(
            f"{path.name} has no {key!r} among {', '.join(map(str, content))}",
            wanted="the name of the labels to take",
            advice=f"Add it to the word: human:{path.name}:KEY",
        )
    return key
