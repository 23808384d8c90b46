"""A picture under its own caption and under one with a word exchanged."""

import json
import random
from typing import Any

import pytest

from prefine.records import Records
from prefine.records.captions import KINDS, LEXICON, WORDS, swapped, with_changed_captions
from prefine.records.message import Message, Part
from prefine.records.schema import Candidate, Record, Source


def pictures(*captions: str) -> Any:
    made = [
        Record(
            source=Source("test", row=at),
            context=(Message("user", caption),),
            candidates=(Candidate("c0", (Message("assistant", (Part("image", uri="a.png"),)),)),),
        )
        for at, caption in enumerate(captions)
    ]
    return Records.of(made).points(keep="desirable")


def texts(row: dict[str, Any]) -> list[str]:
    return [json.loads(row["prompts"][item["prompt"]])["messages"][-1]["content"]
            for item in row["items"]]  # fmt: skip


def test_a_word_is_exchanged_for_another_of_its_kind() -> None:
    for seed in range(50):
        made = swapped("Two RED cars, in front of a house", random.Random(seed))
        assert made is not None
        assert len(WORDS.findall(made)) == 4, "as many words of the lexicon as before"
        assert made.lower() != "two red cars, in front of a house"


def test_no_word_stands_in_two_lines() -> None:
    assert len(KINDS) == sum(map(len, LEXICON))


def test_words_within_words_stay() -> None:
    assert swapped("a covered cathedral", random.Random(0)) is None


def test_pairs_hold_the_picture_once() -> None:
    view = with_changed_captions(pictures("a red disk", "nothing known"), "pair", seed=0)
    (row,) = view.rows
    assert view.kind == "pair"
    assert [item["role"] for item in row["items"]] == ["chosen", "rejected"]
    assert len(row["responses"]) == 1
    own, other = texts(row)
    assert own == "a red disk"
    assert other != own
    assert view.set_aside == {"no word of the caption to exchange": 1}


def test_points_are_a_row_each() -> None:
    view = with_changed_captions(pictures("a red disk"), "point", seed=0)
    assert [row["label"] for row in view.rows] == [[True], [False]]
    assert [texts(row)[0] == "a red disk" for row in view.rows] == [True, False]


@pytest.mark.parametrize("kind", ["pair", "point"])
def test_the_same_seed_gives_the_same_words(kind: Any) -> None:
    given = pictures("a red disk", "a small cat to the left")

    def words(seed: int) -> list[list[str]]:
        return [texts(row) for row in with_changed_captions(given, kind, seed).rows]

    assert words(3) == words(3)
    assert any(words(3) != words(seed) for seed in range(4, 12))
