"""Token numbers among the inputs of a network: which of them may be dropped from a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tailcut._typing import Inputs

IDS, MASK = "input_ids", "attention_mask"
"""As transformers calls the token numbers (N x T), and where there is one (1) or padding (0)."""

_SPECIAL = ("pad", "bos", "eos", "cls", "sep")
_NEARLY_ALL = 0.9
"""Share of the texts that begin, or end, with a token that therefore belongs to no text."""


@dataclass(frozen=True)
class Vocabulary:
    """What is known of a network's token numbers.

    Attributes:
        mask: The token that stands for a hidden one; None if unknown.
        pad: The token that fills up shorter texts; None if unknown.
        special: All tokens that belong to no text.
    """

    mask: int | None = None
    pad: int | None = None
    special: frozenset[int] = frozenset()

    @classmethod
    def of(cls, model: nn.Module) -> Vocabulary:
        """From `model.tokenizer`, else `model.config`, where they have `mask_token_id` and such."""
        sources = [getattr(model, "tokenizer", None), getattr(model, "config", None)]
        known = {name: _number(sources, f"{name}_token_id") for name in ("mask", *_SPECIAL)}
        special = frozenset(each for each in known.values() if each is not None)
        return cls(known["mask"], known["pad"], special)


UNKNOWN = Vocabulary()
"""Nothing is known."""


def _number(sources: Sequence[object], name: str) -> int | None:
    found = (getattr(source, name, None) for source in sources)
    return next((each for each in found if isinstance(each, int) and each >= 0), None)


def token_ids(inputs: Inputs) -> Tensor | None:
    """Token numbers (N x T): `input_ids`, or a lone tensor of integers; None for other inputs.

    Bytes are pixels. Integers of a lone tensor may be counts: the network has to tell.
    """
    ids = inputs.get(IDS) if isinstance(inputs, Mapping) else inputs
    if ids is None or ids.ndim != 2 or ids.dtype not in (torch.int64, torch.int32, torch.int16):
        return None
    return ids


def attended(inputs: Inputs, vocabulary: Vocabulary) -> Tensor:
    """Where there is a token (N x T, bool): by the attention mask, else all that is no padding."""
    ids, mask = token_ids(inputs), None
    assert ids is not None
    if isinstance(inputs, Mapping):
        mask = inputs.get(MASK)
    if mask is not None and mask.shape == ids.shape:
        return mask > 0
    return (
        torch.ones_like(ids, dtype=torch.bool)
        if vocabulary.pad is None
        else (ids != vocabulary.pad)
    )


def droppable(inputs: Inputs, vocabulary: Vocabulary) -> Tensor:
    """Tokens of the texts themselves (N x T, bool): no padding, and no special token.

    Special are the first and the last token of every text, whatever they are; wherever they
    stand, those that nearly all texts begin or end with; and those that the network names.
    """
    ids, there_NT = token_ids(inputs), attended(inputs, vocabulary)
    assert ids is not None
    places_T = torch.arange(ids.shape[1], device=ids.device)
    inside_NT = there_NT.clone()
    special = set(vocabulary.special)
    some_N = there_NT.any(1)
    for far in (ids.shape[1] - places_T, places_T + 1):  # largest at the first, at the last token
        place_N = (there_NT * far).argmax(1)
        inside_NT.scatter_(1, place_N[:, None], value=False)
        special |= _shared(ids.gather(1, place_N[:, None])[some_N, 0])
    special_S = torch.tensor(sorted(special), dtype=ids.dtype, device=ids.device)
    return inside_NT & ~torch.isin(ids, special_S)


def _shared(ids_N: Tensor) -> set[int]:
    """The token that nearly all have, if there is one."""
    if not len(ids_N):
        return set()
    values, counts = ids_N.unique(return_counts=True)
    most = int(counts.argmax())
    return {int(values[most])} if int(counts[most]) >= _NEARLY_ALL * len(ids_N) else set()
