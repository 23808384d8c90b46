"""Words tokenised alone give the tokens of the whole, for the tokenizers that are let through."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.adapters.tokenizers_for_tests import TOKENIZERS, byte_level, tokenizer

from prefine.adapters.token_ids import TokenIds
from prefine.adapters.words import PATTERNS, WORD, are_independent

pytestmark = pytest.mark.usefixtures("word_by_word")

BY_WORD = ["GPT-2", *PATTERNS]

SAID = ["the", "It", "'s", "'RE", "don't", "12345", "3.14", "(x)", "...", "?!", "/", "na\u00efve"]
MARKS = ["e\u0301", "\u0308", "\u212a", "\u0130", "\u6570\u636e", "\U0001f600", "\u200d", "\u180e"]
SPACES = [" ", " ", " ", "  ", "\n", "\r\n", " \n ", "\t", "\u00a0", "\u2003", "\x1c", "\x85"]
CONTROL = ["<|im_end|>", "<|bos|>", "<|im", "_start|>"]
PARTS = st.one_of(
    st.sampled_from(SAID + MARKS + CONTROL),
    st.sampled_from(SPACES),
    st.characters(exclude_categories=["Cs"]),
)
TEXTS = st.lists(PARTS, max_size=14).map("".join)


@pytest.mark.parametrize("name", BY_WORD)
@settings(max_examples=300, deadline=None)
@given(start=TEXTS, more=TEXTS)
@example("", "")
@example("a", " b")
@example("a ", "b")
@example("Yes.", "\nNo.\n\n")
@example("a \n", " b")
@example("say: \u00a0", " \u0308x")
@example("x<|im_end|>", "  y")
def test_ids_put_together_from_words_are_those_of_the_text(
    name: str, start: str, more: str
) -> None:
    made = TokenIds(tokenizer(name))
    assert made.by_word
    made.learn([[start, start + more]])
    for text in (start, start + more, more):
        expected = tokenizer(name)(text, add_special_tokens=False)["input_ids"]
        assert made[text].tolist() == expected


@given(TEXTS)
def test_words_are_the_text(text: str) -> None:
    assert "".join(WORD.findall(text)) == text


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_only_known_tokenizers_are_taken_apart(name: str) -> None:
    assert TokenIds(tokenizer(name)).by_word == (name in BY_WORD)


def test_anything_that_may_reach_over_a_cut_is_refused() -> None:
    from tokenizers import AddedToken, normalizers, pre_tokenizers

    def changed(change: Any) -> bool:
        backend = byte_level().backend_tokenizer
        assert are_independent(backend)
        change(backend)
        return are_independent(backend)

    def lower(backend: Any) -> None:
        backend.normalizer = normalizers.Lowercase()

    def prefixed(backend: Any) -> None:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)

    def unknown(backend: Any) -> None:
        parts = [pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        backend.pre_tokenizer = pre_tokenizers.Sequence(parts)

    def random_merges(backend: Any) -> None:
        backend.model.dropout = 0.1

    changes = [lower, prefixed, unknown, random_merges]
    for token in (
        AddedToken("<|two words|>"),
        AddedToken("<|strips|>", rstrip=True),
        AddedToken("<|apart|>", single_word=True),
    ):
        changes.append(lambda backend, token=token: backend.add_tokens([token]))
    assert [changed(change) for change in changes] == [False] * len(changes)


def test_digits_apart_are_let_through() -> None:
    from tokenizers import pre_tokenizers

    made = byte_level()
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), made.backend_tokenizer.pre_tokenizer]
    )
    ids = TokenIds(made)
    text = "In 2024 there were 1,234 ways"
    assert ids.by_word
    assert ids[text].tolist() == made(text, add_special_tokens=False)["input_ids"]
