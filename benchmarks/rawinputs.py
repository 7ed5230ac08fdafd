"""Raw inputs as features: what a classifier knows that never learned any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from tailcut.lab.data.problems import Problem
from tailcut.lab.samples import Samples


def raw(problem: Problem) -> Problem:
    """Images as they are; texts as the TF-IDF of their tokens, counted on the training texts."""
    if problem.train.inputs.ndim > 2:
        return problem
    counted = TfidfVectorizer(analyzer=_tokens, min_df=2).fit(problem.train.inputs)
    parts = {}
    for name in ("train", "holdout", "test"):
        part: Samples = getattr(problem, name)
        inputs = torch.from_numpy(counted.transform(part.inputs).toarray()).float()
        parts[name] = Samples(inputs, part.given, part.clean)
    return replace(problem, **parts)


def _tokens(ids: Tensor) -> Iterable[int]:
    return [each for each in ids.tolist() if each]
