"""Instructions that a program can check."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefine.records.instructions import CHECKS, FAMILIES, TEXTS, Instruction, drawn, words


@pytest.mark.parametrize(
    ("kind", "value", "obeys", "breaks"),
    [
        ("at_least_words", "3", "a b c", "a b"),
        ("at_most_words", "2", "a, b.", "a b c"),
        ("contains", "bus", "The BUS!", "buses"),
        ("avoids", "bus", "buses", "a bus"),
        ("starts_with", "yes", "Yes, it is.", "Oh yes"),
        ("does_not_start_with", "yes", "Oh yes", "Yes."),
        ("ends_with", "it", "That is it!", "it is"),
        ("does_not_end_with", "it", "it is", "that's it."),
        ("ascii", "", "cafe", "café"),
        ("not_ascii", "", "café", "cafe"),
        ("json", "", '{"a": [1]}', "{a: 1}"),
        ("no_json", "", "yes", "3"),
        ("lower_case", "", "all low", "One"),
        ("upper_case", "", "One", "all low"),
    ],
)
def test_what_each_kind_asks(kind: str, value: str, obeys: str, breaks: str):
    told = Instruction(kind, value)
    assert (told.holds(obeys), told.holds(breaks)) == (True, False)
    assert value in told.text


def test_kinds_are_the_same_everywhere():
    kinds = [kind for pair in FAMILIES.values() for kind in pair]
    assert set(kinds) == set(TEXTS) == set(CHECKS)
    assert len(kinds) == len(set(kinds))


@given(st.text(max_size=60), st.booleans(), st.sampled_from(sorted(FAMILIES)), st.integers(0, 99))
def test_every_checker_has_what_a_text_obeys_and_breaks(
    text: str, truth: bool, family: str, seed: int
):
    told = drawn(family, [text] if truth else [], [] if truth else [text], random.Random(seed))
    assert told is not None
    assert told.holds(text) is truth


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(sorted(FAMILIES)))
def test_what_tells_two_texts_apart_does(one: str, other: str, family: str):
    told = drawn(family, [one], [other], random.Random(0))
    if told is None:
        lengths = {len(words(one)), len(words(other))}
        assert family != "words" or len(lengths) == 1 or 0 in lengths, "at most 0 is never asked"
    else:
        assert (told.holds(one), told.holds(other)) == (True, False)
