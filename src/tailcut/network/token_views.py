"""Views of texts: some of their tokens hidden, alone or a few in a row.

Word dropout is from Iyyer et al. (ACL 2015), section 3.1, on deep averaging networks; hidden spans
from Joshi et al. (2020), "SpanBERT".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tailcut._typing import Inputs
from tailcut.errors import DataError
from tailcut.network.tokens import IDS, MASK, UNKNOWN, Vocabulary, droppable, token_ids
from tailcut.network.view import See, View

Choice = Callable[[Tensor, torch.Generator], Tensor]
"""(which tokens may be hidden, N x T bool on the CPU; generator) -> which are (N x T, bool)."""


@dataclass(frozen=True)
class Hiding:
    """Hide tokens: by the mask token where the network names it, else from its attention.

    Padding and special tokens (see `droppable`) stay, and so do shapes and types.

    Attributes:
        choose: Which of them.
        vocabulary: What is known of the tokens.

    Raises:
        DataError: Inputs without token numbers, or with neither mask token nor attention mask.
    """

    choose: Choice
    vocabulary: Vocabulary = UNKNOWN

    def __call__(self, inputs: Inputs, generator: torch.Generator) -> Inputs:
        """The same texts with fewer tokens to be seen."""
        ids = token_ids(inputs)
        if ids is None or not hides(inputs, self.vocabulary):
            raise _not_hidden(inputs)
        chosen_NT = self.choose(droppable(inputs, self.vocabulary).cpu(), generator).to(ids.device)
        if self.vocabulary.mask is not None:
            masked = ids.masked_fill(chosen_NT, self.vocabulary.mask)
            return {**inputs, IDS: masked} if isinstance(inputs, Mapping) else masked
        assert isinstance(inputs, Mapping)
        return {**inputs, MASK: inputs[MASK].masked_fill(chosen_NT, 0)}


@dataclass(frozen=True)
class TokenView(View):
    """A view by `Hiding`, which asks the network for its mask token.

    Attributes:
        name: For tables.
        perturb: `Hiding` of what is chosen, for inputs whose network is not known.
        choose: See `Hiding`.
    """

    choose: Choice

    @contextmanager
    def on(self, model: nn.Module, generator: torch.Generator) -> Iterator[See]:
        """See `View.on`."""
        hide = Hiding(self.choose, Vocabulary.of(model))
        yield lambda inputs: hide(inputs, generator)


def hiding(name: str, choose: Choice) -> TokenView:
    """A view that hides the tokens that are chosen."""
    return TokenView(name, Hiding(choose), choose)


def hides(inputs: Inputs, vocabulary: Vocabulary) -> bool:
    """Whether tokens can be hidden: by a mask token, or by an attention mask among the inputs."""
    ids = token_ids(inputs)
    if ids is None or vocabulary.mask is not None:
        return ids is not None
    return isinstance(inputs, Mapping) and MASK in inputs and inputs[MASK].shape == ids.shape


def scattered(share: float) -> Choice:
    """Each token by itself with this probability."""

    def choose(droppable_NT: Tensor, generator: torch.Generator) -> Tensor:
        return droppable_NT & (torch.rand(droppable_NT.shape, generator=generator) < share)

    return choose


def span(share: float) -> Choice:
    """This share of every text in a row, rounded to whole tokens, from a random one on."""

    def choose(droppable_NT: Tensor, generator: torch.Generator) -> Tensor:
        number_NT, count_N = droppable_NT.cumsum(1) - 1, droppable_NT.sum(1)
        length_N = (share * count_N).round().long()
        starts_N = (count_N - length_N + 1) * torch.rand(len(count_N), generator=generator)
        start_N = starts_N.long()
        chosen_NT = (number_NT >= start_N[:, None]) & (number_NT < (start_N + length_N)[:, None])
        return chosen_NT & droppable_NT

    return choose


def _not_hidden(inputs: Inputs) -> DataError:
    if isinstance(inputs, Mapping):
        seen = f"inputs {', '.join(sorted(inputs))} for a view that hides tokens"
    else:
        seen = f"inputs of shape {tuple(inputs.shape)} and type {inputs.dtype} for a view of tokens"
    return DataError(
        seen,
        wanted=f"token numbers in {IDS!r} (texts x tokens) with an {MASK!r} of that shape, or a "
        "network with config.mask_token_id",
        advice="Yield both as transformers' tokenizers give them, or choose a view of noise",
    )
