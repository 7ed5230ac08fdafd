"""Texts with tokens hidden: never padding, never a special token."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from network_reference import seeded
from tailcut.errors import DataError
from tailcut.network.token_views import Hiding, hides, scattered, span
from tailcut.network.tokens import Vocabulary, droppable
from tailcut.network.views import VIEWS, auto_views

PAD, START, END, HIDDEN = 0, 1, 2, 3
HIDING = ["tokens/4", "tokens/2", "tokens*3/4", "span/2"]
WORDS = st.lists(st.integers(4, 30), max_size=9)
TEXTS = st.lists(WORDS, min_size=1, max_size=8)
SEEDS = st.integers(0, 2**32)
HIDERS = [scattered(1 / 4), scattered(1.0), span(1 / 4), span(1.0)]


def batch(texts, *, left=False, special=True):
    """As a tokenizer gives it: padding behind the shorter texts, or before them."""
    told = [[START, *text, END] if special else text for text in texts]
    longest = max(1, *map(len, told))
    ids, mask = (torch.zeros(len(told), longest, dtype=torch.long) for _ in range(2))
    for row, text in enumerate(told):
        place = slice(longest - len(text), None) if left else slice(len(text))
        ids[row, place], mask[row, place] = torch.tensor(text, dtype=torch.long), 1
    return {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": mask}


@given(TEXTS, st.booleans(), st.sampled_from(HIDERS), SEEDS)
def test_special_tokens_and_padding_are_never_hidden(texts, left, choose, seed):
    inputs = batch(texts, left=left)
    before = {key: each.clone() for key, each in inputs.items()}
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    seen = Hiding(choose)(inputs, seeded(seed))
    assert list(seen) == list(inputs)
    assert seen["input_ids"] is ids
    assert (seen["attention_mask"].shape, seen["attention_mask"].dtype) == (mask.shape, mask.dtype)
    hidden = mask.bool() & ~seen["attention_mask"].bool()
    assert (ids[hidden] > END).all()
    assert torch.equal(seen["attention_mask"] | hidden.long(), mask)
    masked = Hiding(choose, Vocabulary(mask=HIDDEN))(inputs, seeded(seed))
    assert torch.equal(masked["attention_mask"], mask)
    assert torch.equal(masked["input_ids"] != ids, hidden)
    assert (masked["input_ids"][hidden] == HIDDEN).all()
    assert all(torch.equal(inputs[key], before[key]) for key in inputs)


@given(TEXTS, st.sampled_from(HIDERS), SEEDS)
def test_the_same_seed_hides_the_same_tokens_without_torchs_own_random_numbers(texts, choose, seed):
    inputs, state = batch(texts), torch.get_rng_state()
    one, same = (Hiding(choose)(inputs, seeded(seed))["attention_mask"] for _ in range(2))
    assert torch.equal(one, same)
    assert torch.equal(torch.get_rng_state(), state)


@given(st.integers(0, 60), st.sampled_from([1 / 4, 1 / 2, 3 / 4]), SEEDS)
def test_a_span_is_its_share_of_the_text_in_a_row(words, share, seed):
    inputs = batch([[5] * words])
    seen = Hiding(span(share))(inputs, seeded(seed))
    places = (seen["attention_mask"][0] == 0).nonzero()[:, 0].tolist()
    assert len(places) == round(share * words)
    assert places == list(range(places[0], places[-1] + 1)) if places else True


def test_a_span_begins_anywhere():
    inputs = batch([[5] * 4] * 200)
    seen = Hiding(span(1 / 2))(inputs, seeded())["attention_mask"]
    assert len(seen.unique(dim=0)) == 3


@pytest.mark.parametrize("share", [1 / 8, 1 / 2])
def test_a_share_of_the_tokens_is_hidden_and_another_seed_hides_others(share):
    inputs = batch([[5] * 38] * 100)
    one, other = (
        Hiding(scattered(share))(inputs, seeded(seed))["attention_mask"] for seed in (0, 1)
    )
    assert float(1 - one[:, 1:-1].double().mean()) == pytest.approx(share, abs=0.03)
    assert not torch.equal(one, other)


def test_without_special_tokens_the_first_and_the_last_word_stay():
    inputs = batch([[4, 5, 6], [7, 8, 9, 10], [11], []], special=False)
    kept = ~droppable(inputs, Vocabulary())
    assert kept.tolist() == [
        [True, False, True, True],
        [True, False, False, True],
        [True, True, True, True],
        [True, True, True, True],
    ]


def test_a_token_that_ends_nearly_all_texts_stays_inside_them_too():
    """As between a premise and its hypothesis."""
    pairs = batch([[5, 6, END, 7, 8]] * 9 + [[9, 9, END, 9, 10]])
    pairs["input_ids"][9, -1] = 11  # cut off at the longest length
    assert not droppable(pairs, Vocabulary())[:, 3].any()
    assert droppable(pairs, Vocabulary())[:, [1, 2, 4, 5]].all()
    pairs["input_ids"][8, -1] = 12
    assert droppable(pairs, Vocabulary())[:, 3].all()


def test_what_the_network_calls_special_stays():
    class Tokenizer:
        mask_token_id = HIDDEN

    class Config:
        pad_token_id, sep_token_id, eos_token_id, mask_token_id = PAD, 9, [1, 2], None

    network = torch.nn.Linear(2, 2)
    network.config, network.tokenizer = Config(), Tokenizer()
    vocabulary = Vocabulary.of(network)
    assert vocabulary == Vocabulary(HIDDEN, PAD, frozenset({HIDDEN, PAD, 9}))
    assert not droppable(batch([[5, 9, HIDDEN, 6]]), vocabulary)[0, [0, 2, 3, 5]].any()
    assert Vocabulary.of(torch.nn.Linear(2, 2)) == Vocabulary()


def test_a_lone_tensor_is_hidden_by_its_mask_token_but_for_padding():
    inputs, vocabulary = batch([[5, 6, 7], [8]]), Vocabulary(HIDDEN, PAD, frozenset({HIDDEN, PAD}))
    seen = Hiding(scattered(1.0), vocabulary)(inputs["input_ids"], seeded())
    assert seen.tolist() == [[1, 3, 3, 3, 2], [1, 3, 2, 0, 0]]


def test_tokens_that_cannot_be_hidden_are_refused():
    ids = torch.ones(2, 5, dtype=torch.long)
    for inputs, seen in [
        (ids, "inputs of shape (2, 5) and type torch.int64 for a view of tokens"),
        ({"input_ids": ids, "b": ids}, "inputs b, input_ids for a view that hides tokens"),
    ]:
        assert not hides(inputs, Vocabulary())
        with pytest.raises(DataError) as caught:
            VIEWS["span/2"](inputs, seeded())
        assert str(caught.value) == (
            f"{seen}; wanted token numbers in 'input_ids' (texts x tokens) with an "
            "'attention_mask' of that shape, or a network with config.mask_token_id. Yield both as "
            "transformers' tokenizers give them, or choose a view of noise."
        )


def test_texts_whose_network_is_not_known_have_views_of_their_tokens_alone():
    assert [view.name for view in auto_views(batch([[5, 6]]))] == HIDING
    assert auto_views(torch.ones(3, 4, dtype=torch.long)) == []
