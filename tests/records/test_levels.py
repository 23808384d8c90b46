"""Rows that compare prompts, made of pairs."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from prefine.errors import ConfigError
from prefine.records import Message, Part, Records
from prefine.records.instructions import FAMILIES, TEXTS, Instruction
from prefine.records.levels import with_instructions


@pytest.fixture
def pairs(make_record, vote):
    """Return `pairs(n)`: a view of n pairs of two sentences that differ."""

    def make(count: int = 40, replies: Any = ("A calm reply, café.", "no"), **fields: Any) -> Any:
        return Records.of(
            make_record(replies, [vote("c0")], prompt=f"Is it {n}?", row=n, **fields)
            for n in range(count)
        ).pairs()

    return make


def texts(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (prompt, response) of each item."""
    prompts = [json.loads(prompt)["messages"][-1]["content"] for prompt in row["prompts"]]
    replies = [json.loads(reply)[0]["content"] for reply in row["responses"]]
    return [(prompts[item["prompt"]], replies[item["response"]]) for item in row["items"]]


def obeyed(prompt: str, reply: str) -> list[bool]:
    """Return which of a prompt's instructions a response obeys, read from the words."""
    found = []
    for line in re.split(r"(?<=\.) |\n", prompt)[1:]:
        for kind, text in TEXTS.items():
            read = re.fullmatch(re.escape(text).replace(r"\{\}", "(.+)"), line)
            if read:
                found.append(Instruction(kind, *read.groups()).holds(reply))
    return found


def test_one_response_under_two_prompts(pairs):
    view = with_instructions(pairs(), {"intra": 0.5}, seed=0)
    rows = list(view.rows)
    assert (view.kind, len(rows)) == ("pair", 80)
    kinds: set[str] = set()
    for plain, made in zip(rows[::2], rows[1::2], strict=True):
        (better, reply), (worse, same) = texts(made)
        assert reply == same
        assert (reply, plain["weight"], made["weight"]) == (reply, 1.0, 0.5)
        assert better.startswith(json.loads(plain["prompts"][0])["messages"][0]["content"])
        told, not_told = obeyed(better, reply), obeyed(worse, reply)
        assert 1 <= len(told) == len(not_told) <= 3
        if all(told) and not all(not_told):
            kinds.add("all against not all")
        else:
            assert any(told)
            assert not any(not_told)
            kinds.add("some against none")
        assert [item["role"] for item in made["items"]] == ["chosen", "rejected"]
    assert kinds == {"all against not all", "some against none"}
    assert {texts(made)[0][1] for made in rows[1::2]} == {"A calm reply, café.", "no"}


def test_two_margins_that_a_prompt_widens_or_narrows(pairs):
    view = with_instructions(pairs(), {"inter": 1.0}, seed=0, as_lists=True)
    wider = 0
    for made in list(view.rows)[1::2]:
        first, second = texts(made)[:2], texts(made)[2:]
        assert [reply for _, reply in first] == [reply for _, reply in second]
        assert [reply for _, reply in first] == ["A calm reply, café.", "no"]
        plain, asked = sorted({first[0][0], second[0][0]}, key=len)
        assert re.fullmatch(r"Is it \d+\?", plain)
        chosen, rejected = (obeyed(asked, reply) for _, reply in first)
        if first[0][0] == asked:
            wider += 1
            assert (all(chosen), any(rejected)) == (True, False)
        else:
            assert (any(chosen), all(rejected)) == (False, True)
        assert [item["role"] for item in made["items"]] == [f"response_{n}" for n in range(4)]
    assert 10 < wider < 30, "both directions"


def test_lists_without_levels_are_the_pairs(pairs):
    view = with_instructions(pairs(3), {}, seed=0, as_lists=True)
    assert (view.kind, len(view)) == ("list", 3)
    assert [item["role"] for item in view.rows[0]["items"]] == ["response_0", "response_1"]


def test_the_seed_decides(pairs):
    def drawn(seed: int) -> list[Any]:
        return list(with_instructions(pairs(), {"intra": 1.0}, seed).rows)

    assert drawn(0) == drawn(0) != drawn(1)


def test_what_no_row_can_be_made_of_is_counted(pairs, make_record, vote):
    levels = {"intra": 1.0, "inter": 1.0}
    alike = with_instructions(
        pairs(2, ("same words", "same  words")), {"inter": 1.0}, 0, as_lists=True
    )
    assert (len(alike), alike.set_aside) == (2, {"inter: no checker tells the responses apart": 2})
    picture = (Message("user", (Part("image", uri="a.png"),)),)
    seen = Records.of([replace(make_record(judgments=[vote("c0")]), context=picture)]).pairs()
    aside = with_instructions(seen, levels, 0, as_lists=True).set_aside
    assert aside == {f"{level}: the prompt does not end in a user's text": 1 for level in levels}
    tie = Records.of([make_record(judgments=[vote("tie")])]).pairs(ties="keep")
    assert len(with_instructions(tie, levels, 0, as_lists=True)) == 1, "a tie has no margin to move"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": {"both": 1.0}}, "`instructions` must give"),
        ({"weights": {"intra": 0.0}}, "`instructions` must give"),
        ({"weights": {"inter": 1.0}}, "Train margin_dpo"),
        ({"checkers": ["rhyme"]}, "`checkers` must be of"),
        ({"checkers": []}, "`checkers` must be of"),
    ],
)
def test_options_that_make_no_sense(pairs, change: dict[str, Any], said: str):
    options: dict[str, Any] = {"weights": {"intra": 1.0}, "checkers": list(FAMILIES), **change}
    with pytest.raises(ConfigError, match=said):
        with_instructions(pairs(1), seed=0, **options)


def test_only_pairs(make_record):
    with pytest.raises(ConfigError, match="this view is of points"):
        with_instructions(Records.of([make_record()]).points(), {}, 0)
