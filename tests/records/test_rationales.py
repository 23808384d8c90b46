"""A reason becomes an item whose prompt shows both responses, in an order that says nothing."""

import json
from typing import Any

import pytest

from prefine.errors import ConfigError
from prefine.records import Candidate, Judgment, Message, Rater, Record, Records, Source
from prefine.records.rationales import with_rationales


def record(row: int, why: str | None, *, winner: str = "c0", kind: str = "pair") -> Record:
    replies = ("good", "bad") if winner == "c0" else ("bad", "good")
    said: dict[str, Any] = {"winner": winner}
    if kind == "rank":
        said = {"ranks": {"c0": 1 + (winner != "c0"), "c1": 1 + (winner == "c0")}}
    judgment = Judgment("j0", kind, ("c0", "c1"), Rater("p", "human"), rationale=why, **said)
    return Record(
        source=Source("test", row=row),
        context=(Message("user", f"prompt {row}"),),
        candidates=tuple(
            Candidate(f"c{k}", (Message("assistant", f"{text} {row}"),))
            for k, text in enumerate(replies)
        ),
        judgments=(judgment,),
    )


def explained(records: list[Record], seed: int = 0) -> list[dict[str, Any]]:
    found = Records.of(records)
    return list(with_rationales(found.pairs(), found, seed=seed).rows)


def asked(row: dict[str, Any]) -> str:
    return json.loads(row["prompts"][1])["messages"][-1]["content"]


def test_the_prompt_shows_both_and_the_response_is_the_reason() -> None:
    (row,) = explained([record(0, "it is true.")])
    assert [item["role"] for item in row["items"]] == ["chosen", "rejected", "rationale"]
    assert row["items"][2] == {"prompt": 1, "response": 2, "role": "rationale"}
    assert json.loads(row["responses"][2]) == [{"role": "assistant", "content": "it is true."}]
    assert asked(row).startswith("prompt 0\n\nTwo responses")
    assert len(json.loads(row["prompts"][1])["messages"]) == 1, "no two turns of one user"
    assert json.loads(row["prompts"][0])["messages"][0]["content"] == "prompt 0"
    assert len(row["utility"]) == len(row["label"]) == 3


@pytest.mark.parametrize("kind", ["pair", "rank"])
@pytest.mark.parametrize("winner", ["c0", "c1"])
def test_letters_are_drawn_and_the_reason_keeps_its_meaning(winner: str, kind: str) -> None:
    first = "1" if winner == "c0" else "2"
    why = f"@Response {first} is right, response {3 - int(first)} is not."
    rows = explained([record(n, why, winner=winner, kind=kind) for n in range(60)])
    first_is_chosen = 0
    for n, row in enumerate(rows):
        a = asked(row).split("Response A:\n")[1].split("\n")[0]
        good = "A" if a == f"good {n}" else "B"
        assert a in (f"good {n}", f"bad {n}")
        assert f"preferred response {good}." in asked(row)
        other = "B" if good == "A" else "A"
        said = json.loads(row["responses"][2])[0]["content"]
        assert said == f"Response {good} is right, response {other} is not."
        first_is_chosen += good == "A"
    assert 15 < first_is_chosen < 45  # half of 60, give or take four deviations
    again = explained([record(n, why, winner=winner, kind=kind) for n in range(60)])
    assert rows == again


def test_rows_without_a_reason_stay_and_are_counted() -> None:
    found = Records.of([record(0, "why"), record(1, None), record(2, "  ")])
    view = with_rationales(found.pairs(), found, seed=0)
    assert [len(row["items"]) for row in view.rows] == [3, 2, 2]
    assert view.recipe["without rationale"] == 2


def test_a_reason_for_the_other_response_is_not_taken() -> None:
    one = record(0, "for the first")
    against = Judgment(
        "j1", "pair", ("c0", "c1"), Rater("q", "human"), winner="c1", rationale="for the second"
    )
    agrees = Judgment("j2", "pair", ("c0", "c1"), Rater("r", "human"), winner="c0")
    both = Record(
        source=one.source, context=one.context, candidates=one.candidates,
        judgments=(*one.judgments, against, agrees),
    )  # fmt: skip
    for seed in range(5):
        (row,) = explained([both], seed=seed)
        assert json.loads(row["responses"][2])[0]["content"] == "for the first"


def test_plain_text_prompts_stay_text() -> None:
    one = record(0, "because")
    plain = Record(
        source=one.source, context=one.context, candidates=one.candidates,
        judgments=one.judgments, tags={"form": "text"},
    )  # fmt: skip
    (row,) = explained([plain])
    prompt = json.loads(row["prompts"][1])
    assert prompt["form"] == "text"
    assert prompt["messages"][0]["content"].endswith("Explain why.\n\n")


def test_points_are_refused() -> None:
    found = Records.of([record(0, "why")])
    with pytest.raises(ConfigError, match="this view is of points"):
        with_rationales(found.points(), found, seed=0)
