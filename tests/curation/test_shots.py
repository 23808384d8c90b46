"""A person's other pairs in front of a query."""

from dataclasses import replace
from typing import Any

import pytest

from prefine.curation import Shots, curate
from prefine.errors import ConfigError
from prefine.records import Message, Part, Principal, Records
from prefine.records.votes import SetAside


@pytest.fixture
def of_ann(make_record, vote):
    """Return `of_ann(n)`: the n-th record of ann, who prefers the first response."""

    def make(n: int, person: str = "ann", **fields: Any) -> Any:
        given = {"prompt": f"Is it {n}?", "row": n, "principal": Principal(person), **fields}
        return make_record((f"yes {n}", f"no {n}"), [vote("c0")], **given)

    return make


def reasons(operator: Shots, records: list[Any]) -> list[str]:
    ready = operator.over(records)
    found = [one for record in records for one in ready(record)]
    return [one.reason for one in found if isinstance(one, SetAside)]


def test_the_layout(of_ann):
    records = [of_ann(0), of_ann(1), of_ann(2)]
    (made,) = Shots(count=2, take="earlier").over(records)(records[2])
    assert made.context == (
        Message(
            "user",
            "Example 1\nQuestion: Is it 0?\nPreferred: yes 0\nDispreferred: no 0\n\n"
            "Example 2\nQuestion: Is it 1?\nPreferred: yes 1\nDispreferred: no 1\n\n"
            "Task\nQuestion: Is it 2?",
        ),
    )
    assert made.candidates == records[2].candidates
    assert made.judgments == records[2].judgments
    assert made.principal == Principal("ann")
    assert made.meta["shots"] == [records[0].id, records[1].id]
    assert made.cluster == records[2].cluster


def test_a_query_is_never_shown_itself_nor_its_prompt(of_ann):
    records = [of_ann(n) for n in range(4)] + [of_ann(9, prompt="Is it 0?")]
    ready = Shots(count=3).over(records)
    for record in records:
        for made in ready(record):
            query, shots = made.context[0].text.split("Task\n")[::-1]
            assert query.removeprefix("Question: ") not in shots
    (first,) = ready(records[0])
    assert set(first.meta["shots"]) == {record.id for record in records[1:4]}


def test_shots_are_of_the_same_person(of_ann):
    records = [of_ann(n, person) for n in range(6) for person in ("ann", "bob")]
    mine = {p: {r.id for r in records if r.principal == Principal(p)} for p in ("ann", "bob")}
    ready = Shots(count=4).over(records)
    for record in records:
        (made,) = ready(record)
        assert set(made.meta["shots"]) <= mine[record.principal.id]


def test_who_has_too_few_pairs_is_set_aside(of_ann, make_record, vote):
    records = [of_ann(0), of_ann(1), of_ann(2, "bob"), make_record(judgments=[vote("c0")], row=3)]
    assert reasons(Shots(count=1), records) == ["fewer than 1 other pairs of the principal",
                                                "no principal"]  # fmt: skip
    assert reasons(Shots(count=1, take="earlier"), records[:2]) == [
        "fewer than 1 earlier pairs of the principal"
    ]


def test_ties_are_neither_shots_nor_queries(of_ann, vote):
    tie = of_ann(0).__class__.from_json(
        {**of_ann(0).to_json(), "judgments": [vote("tie").to_json()]}
    )
    assert reasons(Shots(count=1), [tie, of_ann(1)]) == [
        "tie",
        "fewer than 1 other pairs of the principal",
    ]


def test_each_rater_sees_their_own(make_record, vote):
    records = [
        make_record(("yes", "no"), [vote("c0", by="ann"), vote("c1", by="bob")],
                    prompt=f"Is it {n}?", row=n)
        for n in range(2)
    ]  # fmt: skip
    ann, bob = Shots(count=1, by="rater").over(records)(records[1])
    assert "Preferred: yes\n" in ann.context[0].text
    assert "Preferred: no\n" in bob.context[0].text
    assert [j.rater.id for made in (ann, bob) for j in made.judgments] == ["ann", "bob"]
    assert ann.id != bob.id


def test_the_same_seed_draws_the_same(of_ann):
    records = [of_ann(n) for n in range(20)]

    def drawn(seed: int) -> list[Any]:
        made = curate(Records.of(records), Shots(count=3, seed=seed))
        return [record.meta["shots"] for record in made]

    assert drawn(0) == drawn(0) != drawn(1)


def test_pictures_are_no_shots(of_ann):
    seen = of_ann(0, context=(Message("user", (Part("image", uri="a.png"),)),))
    assert reasons(Shots(count=1), [seen, of_ann(1)]) == [
        "the turn holds more than text",
        "fewer than 1 other pairs of the principal",
    ]


def test_a_description_comes_before_every_response(of_ann):
    tall = Principal("ann", profile=" Likes short words. ")
    records = [of_ann(n, principal=tall) for n in range(2)]
    (made,) = Shots(count=1, describe="profile").over(records)(records[1])
    assert [candidate.text for candidate in made.candidates] == [
        "Description: Likes short words.\n\nResponse: yes 1",
        "Description: Likes short words.\n\nResponse: no 1",
    ]
    assert made.judgments == records[1].judgments
    assert "Likes" not in made.context[0].text, "what is to be written is not shown"
    (plain,) = Shots(count=1).over(records)(records[1])
    assert plain.context == made.context
    assert plain.candidates == records[1].candidates


def test_a_tag_may_describe(of_ann):
    records = [of_ann(n, tags={"persona": "A cook."} if n else {}) for n in range(3)]
    ready = Shots(count=1, describe="persona").over(records)
    (made,) = ready(records[2])
    assert made.candidates[0].text == "Description: A cook.\n\nResponse: yes 2"
    assert reasons(ready, records) == ["no description of the principal"]


def test_numbers_about_the_response_alone_go(of_ann):
    records = [of_ann(n, principal=Principal("ann", profile="Old.")) for n in range(2)]
    counted = replace(records[1].candidates[0], stats={"n_chars": 5})
    record = replace(records[1], candidates=(counted, records[1].candidates[1]))
    (made,) = Shots(count=1, describe="profile").over(records)(record)
    assert made.candidates[0].stats == {}


@pytest.mark.parametrize(
    "asked",
    [
        Message("assistant", "", tool_calls=({"name": "look"},)),
        Message("assistant", (Part("text", text="so"),)),
        Message("assistant", "so", thinking="Well."),
        Message("tool", "so"),
    ],
)
def test_what_begins_with_no_text_cannot_be_described(of_ann, asked):
    whole = of_ann(1, principal=Principal("ann", profile="Old."))
    calls = replace(whole.candidates[0], messages=(asked, *whole.candidates[0].messages))
    record = replace(whole, candidates=(calls, whole.candidates[1]))
    ready = Shots(count=1, describe="profile")
    assert reasons(ready, [of_ann(0), record])[-1] == "a response that does not begin with text"


def test_descriptions_that_are_nowhere(of_ann):
    with pytest.raises(ConfigError, match=r"no record has `principal\.profile`"):
        Shots(describe="profile").over([of_ann(0)])
    with pytest.raises(ConfigError, match=r"no record has `tags\.persona`"):
        Shots(describe="persona").over([of_ann(0, tags={"persona": 3})])
    with pytest.raises(ConfigError, match="of the record's principal"):
        Shots(describe="profile", by="rater")
    with pytest.raises(ConfigError, match="describe="):
        Shots(describe="")


@pytest.mark.parametrize("wrong", [{"count": 0}, {"by": "me"}, {"take": "all"}, {"place": "end"}])
def test_options_that_make_no_sense(wrong: dict[str, Any]):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Shots(**wrong)
