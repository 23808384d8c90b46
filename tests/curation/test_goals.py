"""Each pair twice, under the score of the winner and of the loser."""

from typing import Any

import pytest

from prefine.curation import Goals, curate
from prefine.errors import ConfigError
from prefine.records import Message, Rater, Records

NINE = "Give a response that would earn 9 on a scale from 1 to 10."


def reasons(goals: Goals, record: Any) -> list[str]:
    return [one.reason for one in goals(record)]


def test_the_loser_wins_under_its_own_score(make_record, rating):
    record = make_record(("good", "bad"), [rating(9, 2)])
    first, second = Goals()(record)
    assert [m.text for m in first.context] == [NINE, "Is it?"]
    assert first.context[0].role == "system"
    assert second.context[0].text == NINE.replace("9", "2")
    assert (first.judgments[0].winner, second.judgments[0].winner) == ("c0", "c1")
    assert (first.tags["goal"], second.tags["goal"]) == (9, 2)


def test_what_was_judged_stays_under_another_aspect(make_record, rating, vote):
    given = [rating(9, 2), vote("c0", by="bob")]
    (record, _) = Goals()(make_record(judgments=given))
    verdict, *said = record.judgments
    assert verdict.rater == Rater("bob", "human"), "the pair was bob's; the scores are ann's"
    assert [(j.aspect, j.rater.id, j.kind) for j in said] == [
        ("overall, no goal", "ann", "rate"),
        ("overall, no goal", "bob", "pair"),
    ]
    assert said[0].scores == {"c0": 9, "c1": 2}


def test_several_raters_leave_the_verdict_to_the_rule(make_record, rating):
    # means: c0 (9 + 7) / 2 = 8, c1 (2 + 3) / 2 = 2.5
    record = make_record(judgments=[rating(9, 2), rating(7, 3, by="bob")])
    first, second = Goals()(record)
    assert (first.tags["goal"], second.tags["goal"]) == (8, 2.5)
    assert first.judgments[0].rater == Rater("goals", "rule")


def test_views_of_the_new_records_hold_the_swapped_pair(make_record, rating):
    made = curate(Records.of([make_record(("good", "bad"), [rating(9, 2)])]), Goals())
    rows = list(made.pairs().rows)
    assert [row["responses"][0] for row in rows] == [
        '[{"role":"assistant","content":"good"}]',
        '[{"role":"assistant","content":"bad"}]',
    ]
    assert rows[0]["margin"] is None
    assert len(set(row["cluster"] for row in rows)) == 1, "no split may part the two"
    assert len(set(row["record"] for row in rows)) == 2


def test_lists_give_the_pairs_that_are_asked_for(make_record, rating):
    record = make_record(("a", "b", "c"), [rating(9, 2, 5)])
    # best first: c0 9, c2 5, c1 2
    goals = [one.tags["goal"] for one in Goals(how="adjacent")(record)]
    assert goals == [9, 5, 5, 2]
    first = next(iter(Goals(how="adjacent")(record)))
    assert [candidate.id for candidate in first.candidates] == ["c0", "c2"]
    assert first.judgments[1].scores == {"c0": 9, "c2": 5}
    assert len({one.id for one in Goals(how="all")(record)}) == 6


def test_pairs_without_a_goal_are_set_aside(make_record, rating, vote):
    goals = Goals()
    assert reasons(goals, make_record()) == ["no judgment"]
    assert reasons(goals, make_record(judgments=[vote("c0")])) == ["no score"]
    assert reasons(goals, make_record(judgments=[rating(4, 4)])) == ["tie"]
    assert reasons(goals, make_record(judgments=[vote("c0"), rating(4, 4)])) == [
        "both goals read the same"
    ]
    assert reasons(goals, make_record(judgments=[rating(4.001, 4.0)])) == [
        "both goals read the same"
    ]
    assert reasons(goals, make_record(judgments=[vote("c1"), rating(9, 2)])) == [
        "the loser has the higher score"
    ]
    assert reasons(goals, make_record(judgments=[vote("c1"), rating(9, None)])) == [
        "no score of a compared response"
    ]
    mixed = [rating(9, 2), rating(0.9, 0.2, scale=(0, 1))]
    assert reasons(goals, make_record(judgments=mixed)) == ["ratings on different scales"]


def test_the_text_may_not_lie_about_the_scale(make_record, rating):
    open_ended = make_record(judgments=[rating(9, 2, scale=(None, None))])
    assert reasons(Goals(), open_ended) == ["no scale: give low and high"]
    assert len(list(Goals(low=1, high=10)(open_ended))) == 2
    assert reasons(Goals(low=1, high=5), open_ended) == ["a score outside the scale"]
    assert reasons(Goals(low=1, high=5), make_record(judgments=[rating(5, 2)])) == [
        "rated from 1 to 10, not from 1 to 5"
    ]


def test_where_the_words_go(make_record, rating):
    context = (Message("system", "Be brief."), Message("user", "Is it?"))
    first, _ = Goals()(make_record(judgments=[rating(9, 2)], context=context))
    assert [m.text for m in first.context] == [f"Be brief.\n\n{NINE}", "Is it?"]
    first, _ = Goals(place="user")(make_record(judgments=[rating(9, 2)]))
    assert [m.text for m in first.context] == [f"{NINE}\n\nIs it?"]
    bare = make_record(judgments=[rating(9, 2)], context=())
    assert reasons(Goals(place="user"), bare) == ["no user turn", "no user turn"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"low": 1}, "two ends"),
        ({"low": 5, "high": 1}, "must rise"),
        ({"text": "Do well."}, "{score}"),
        ({"how": "gap"}, "`how` must be one of"),
        ({"place": "tool"}, "`place` must be"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        Goals(**options)
