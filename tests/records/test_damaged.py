"""Which words count as rare, and what stands in a response once they are taken out."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from prefine.errors import ConfigError
from prefine.records import Candidate, Message, Records, View
from prefine.records.damaged import Rarity, texts_of, with_damage

COMMON = ["one two", "one two", "one two three", "one two four", "one two five"]


def test_the_median_word_counts_every_time_that_it_is_said() -> None:
    # one and two stand in 4 distinct responses, said 8 of 11 times; the others in one each
    found = Rarity.among(COMMON)
    assert (found.responses, found.median) == (4, 4)
    assert found.share == pytest.approx(3 / 11)
    assert [word for word in ("one", "Three", "unheard") if found.is_rare(word)] == [
        "Three", "unheard",
    ]  # fmt: skip


def test_where_all_words_are_alike_none_is_rare() -> None:
    found = Rarity.among(["a b", "c d"])
    assert (found.median, found.share) == (1, 0)
    assert not found.is_rare("a")
    assert Rarity.among([]).share == 0


@pytest.fixture
def pairs(make_record: Callable[..., Any], vote: Callable[..., Any]) -> Callable[..., View]:
    """Return `make(replies, ...)`: a view of pairs, the first reply of each chosen."""

    def make(*replies: tuple[str, str]) -> View:
        return Records.of(
            [make_record(two, [vote("c0")], row=row) for row, two in enumerate(replies)]
        ).pairs()

    return make


def versions(view: View, at: int = 0) -> dict[str, str]:
    row = view.rows[at]
    return {
        item["role"]: json.loads(row["responses"][item["response"]])[0]["content"]
        for item in row["items"]
    }


TWO = ("The cat, don't ask, sat on the mat.", "The dog's bone lay there!")


def test_a_share_of_the_key_words_goes_and_the_rest_stays(pairs: Callable[..., View]) -> None:
    view = pairs(TWO)
    rarity = Rarity(9, {"the": 9, "on": 8, "there": 8, "sat": 7, "lay": 7, "ask": 7}, 5, 0.3)
    made, of = with_damage(view, rarity, seed=0, steps=2, filler="…")
    assert of == [0]
    found = versions(made)
    assert list(found) == [f"{side}_{d}" for side in ("chosen", "rejected") for d in (0, 1, 2)]
    assert (found["chosen_0"], found["rejected_0"]) == TWO
    # three keys: a half of them, rounded to even, is two
    assert found["chosen_2"] == "The …, … ask, sat on the …."
    assert found["chosen_1"].count("…") == 2
    # two keys: dog's and bone
    assert found["rejected_2"] == "The … … lay there!"
    assert found["rejected_1"] in ("The … bone lay there!", "The dog's … lay there!")
    assert [*texts_of(view)] == [*TWO]
    again, _ = with_damage(view, rarity, seed=0, steps=2, filler="…")
    assert versions(again) == found
    row = made.rows[0]
    assert row["prompts"] == view.rows[0]["prompts"]
    assert row["weight"] == view.rows[0]["weight"]


def test_pairs_with_too_few_key_words_are_left_out_and_told_apart(
    pairs: Callable[..., View],
) -> None:
    view = pairs(("the cat sat", "the dog lay"), ("the cat", "the the"))
    rarity = Rarity(9, {"the": 9}, 5, 0.5)
    made, of = with_damage(view, rarity, seed=0, steps=1)
    assert of == [0]
    assert len(made) == 1
    assert with_damage(view, rarity, seed=0, steps=3)[1] == []


def test_at_random_as_many_words_go(pairs: Callable[..., View]) -> None:
    view = pairs(("a b c d e f g h rare1 rare2", "a b c d e f g h rare3 rare4"))
    rarity = Rarity(9, dict.fromkeys("abcdefgh", 9), 5, 0.2)
    gone = set[str]()
    for seed in range(8):
        made, _ = with_damage(view, rarity, seed=seed, steps=2, keys="random", filler="_")
        text = versions(made)["chosen_2"].split()
        assert text.count("_") == 2
        gone |= {str(at) for at, word in enumerate(text) if word == "_"}
    assert len(gone) > 2, "not the rare words alone"


def test_what_is_no_text_of_an_assistant_stays(make_record: Any, vote: Any) -> None:
    call = ({"type": "function", "function": {"name": "f", "arguments": {}}},)
    messages = (
        Message("assistant", "alpha beta", tool_calls=call),
        Message("tool", "gamma delta"),
        Message("assistant", "epsilon zeta"),
    )
    record = make_record(judgments=[vote("c0")])
    candidates: Sequence[Candidate] = (Candidate("c0", messages), Candidate("c1", messages[2:]))
    view = Records.of([type(record)(**{**vars_of(record), "candidates": candidates})]).pairs()
    made, of = with_damage(view, Rarity(9, {}, 5, 1.0), seed=0, steps=2, filler="_")
    assert of == [0]
    row = made.rows[0]
    said = json.loads(row["responses"][2])
    assert [message["content"] for message in said] == ["_ _", "gamma delta", "_ _"]
    assert said[0]["tool_calls"], "calls stay"


def vars_of(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_only_pairs(make_record: Any) -> None:
    with pytest.raises(ConfigError, match="damaged in pairs, and this view is of points"):
        with_damage(Records.of([make_record()]).points(), Rarity(0, {}, 0, 0.0), seed=0)
