"""The schema: what is valid, what is not and how it is said, and the way to JSON and back."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.errors import RecordError
from prefine.records import (
    UNKNOWN_RATER,
    Candidate,
    Judgment,
    Message,
    Origin,
    Part,
    Principal,
    Rater,
    Record,
    Source,
    Step,
)
from prefine.records.codec import compact
from prefine.records.stored import to_object, to_row
from prefine.storage import json_hash

# --- Round trip ---------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NUMBERS = st.one_of(st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False))
POSITIVE = st.floats(0, 1e6)
FREE = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=5,
)
OBJECTS = st.dictionaries(WORDS, FREE, max_size=3)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(st.none(), strategy)


PARTS = st.one_of(
    st.builds(Part, st.just("text"), text=WORDS),
    st.builds(
        Part,
        st.sampled_from(["image", "video", "audio", "document", "item", "action"]),
        uri=maybe(WORDS),
        span=maybe(st.tuples(NUMBERS, NUMBERS)),
        box=maybe(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)),
        data=FREE,
    ),
)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
    st.one_of(WORDS, st.lists(PARTS, min_size=1, max_size=2).map(tuple)),
    name=maybe(WORDS),
    tool_calls=maybe(st.lists(OBJECTS, max_size=2).map(tuple)),
    thinking=maybe(WORDS),
    loss=maybe(st.booleans()),
)
STEPS = st.builds(Step, text=WORDS, label=maybe(st.one_of(st.booleans(), NUMBERS)))
ORIGINS = st.builds(
    Origin, st.sampled_from(["model", "human", "edit"]), model=maybe(WORDS), sampling=OBJECTS
)


def candidates(name: str) -> st.SearchStrategy[Candidate]:
    return st.builds(
        Candidate,
        st.just(name),
        st.lists(MESSAGES, min_size=1, max_size=2).map(tuple),
        origin=maybe(ORIGINS),
        steps=st.lists(STEPS, max_size=2).map(tuple),
        stats=st.dictionaries(WORDS, NUMBERS, max_size=2),
        gold=maybe(st.one_of(st.booleans(), NUMBERS)),
    )


RATERS = st.builds(
    Rater,
    NAMES,
    st.sampled_from(["human", "model", "rule", "user", "unknown"]),
    group=st.dictionaries(WORDS, WORDS, max_size=2),
    params=OBJECTS,
)
COMMON = {
    "rationale": maybe(WORDS),
    "confidence": maybe(st.floats(0, 1)),
    "count": st.integers(1, 9),
    "repeat": st.integers(0, 9),
    "seconds": maybe(POSITIVE),
    "raw": maybe(WORDS),
}


def judgments(name: str) -> st.SearchStrategy[Judgment]:
    def kind(kind: str, shown: object, **fields: st.SearchStrategy) -> st.SearchStrategy[Judgment]:
        return st.builds(
            Judgment, st.just(name), st.just(kind), st.just(shown), RATERS, **fields, **COMMON
        )

    winners = st.sampled_from(["c0", "c1", "tie", "both_bad", "skip"])
    both = ("c1", "c0")
    ranks = st.fixed_dictionaries({"c0": st.integers(1, 3)}, optional={"c1": st.integers(1, 3)})
    scores = st.fixed_dictionaries({"c0": maybe(st.floats(0, 4)), "c1": st.integers(0, 4)})
    return st.one_of(
        kind("pair", both, winner=winners, strength=maybe(POSITIVE), prob=maybe(st.floats(0, 1))),
        kind("pair", both, valid=st.just(False), error=WORDS),
        kind("rank", both, ranks=ranks),
        kind("rate", both, scores=scores, scale=st.sampled_from([(0, 4), (None, None)])),
        kind("edit", ("c0",), edit_from=st.just("c0"), edit_to=st.just("c1"), cost=maybe(POSITIVE)),
        kind(
            "signal",
            (),
            target=st.just("c1"),
            polarity=st.integers(-1, 1),
            category=maybe(st.lists(WORDS, max_size=2).map(tuple)),
            at=maybe(OBJECTS),
        ),
    )


RECORDS = st.builds(
    Record,
    source=st.builds(Source, NAMES, row=maybe(st.one_of(st.integers(0, 99), WORDS))),
    context=st.lists(MESSAGES, max_size=2).map(tuple),
    tools=maybe(st.lists(OBJECTS, max_size=2).map(tuple)),
    candidates=st.tuples(candidates("c0"), candidates("c1")),
    judgments=st.one_of(st.just(()), st.tuples(judgments("j0"), judgments("j1"))),
    principal=maybe(
        st.builds(
            Principal,
            NAMES,
            attributes=st.dictionaries(WORDS, st.fixed_dictionaries({"value": FREE}), max_size=2),
        )
    ),
    tags=st.dictionaries(
        NAMES.filter(lambda name: name not in ("weight", "form")),
        st.one_of(WORDS, st.booleans(), NUMBERS),
        max_size=2,
    ),
    meta=OBJECTS,
)


@settings(deadline=None, max_examples=150)
@given(RECORDS)
def test_round_trip_bit_for_bit(record: Record):
    text = json.dumps(record.to_json())
    again = Record.from_json(json.loads(text))
    assert again == record
    assert json.dumps(again.to_json()) == text


@settings(deadline=None, max_examples=150)
@given(RECORDS)
def test_text_made_in_one_go_is_the_text_of_the_object(record: Record):
    """What is written and hashed straight from the parts, and what `to_json` says, never part."""
    row = record.to_json()
    assert compact(record) == json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    assert to_object(to_row(record)) == row
    where = [record.source.name, record.source.split, record.source.row]
    before = [row["context"], row.get("tools")]
    assert replace(record, id="").id == json_hash([where, *before])
    said = [candidate["messages"] for candidate in row["candidates"]]
    assert record.cluster == json_hash(before if record.context else [before, said])


def test_absent_fields_are_left_out(make_record, vote):
    row = make_record(judgments=[vote("c0")]).to_json()
    assert list(row) == ["schema", "id", "source", "context", "candidates", "judgments"]
    assert row["judgments"][0] == {
        "id": "v0",
        "kind": "pair",
        "shown": ["c0", "c1"],
        "rater": {"id": "ann", "type": "human"},
        "winner": "c0",
    }


def test_zero_and_false_are_not_absent():
    """`0 == False == 0.0` in Python: a comparison with the default must not swallow them."""
    candidate = Candidate("c0", (Message("assistant", ""),), gold=False)
    rated = Judgment("j", "rate", ("c0",), UNKNOWN_RATER, scores={"c0": 0}, scale=(0, 1))
    row = Record(context=(), candidates=(candidate,), judgments=(rated,)).to_json()
    assert row["candidates"][0]["gold"] is False
    assert row["judgments"][0]["scores"] == {"c0": 0}


# --- What is refused ----------------------------------------------------------------------------

SOUND = {
    "schema": "prefine/1",
    "id": "",
    "source": {"name": "test"},
    "context": [{"role": "user", "content": "Hi"}],
    "candidates": [
        {"id": "c0", "messages": [{"role": "assistant", "content": "a"}]},
        {"id": "c1", "messages": [{"role": "assistant", "content": "b"}]},
    ],
    "judgments": [
        {
            "id": "j0",
            "kind": "pair",
            "shown": ["c0", "c1"],
            "rater": {"id": "ann", "type": "human"},
            "winner": "c0",
        }
    ],
}


def judged(**fields: object) -> dict:
    judgment = {**SOUND["judgments"][0], **fields}
    return {**SOUND, "judgments": [{k: v for k, v in judgment.items() if v is not ...}]}


def test_the_sound_row_is_sound():
    assert Record.from_json(SOUND).judgments[0].winner == "c0"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([], "must be an object, got a list."),
        ({**SOUND, "judgements": []}, "unknown key `judgements` (did you mean `judgments`?)."),
        ({**SOUND, "schema": "prefine/2"}, "`schema` must be 'prefine/1', got 'prefine/2'."),
        ({**SOUND, "candidates": None}, "`candidates` is missing."),
        ({**SOUND, "context": "Hi"}, "context: must be a list, got text."),
        ({**SOUND, "candidates": SOUND["candidates"][:1] * 2}, "two candidates are called `c0`."),
        (
            {**SOUND, "candidates": [{"id": "c0", "messages": []}]},
            "candidates[0]: `messages` must hold at least 1.",
        ),
        (
            {**SOUND, "context": [{"role": "bot", "content": "x"}]},
            "context[0]: `role` must be one of system, developer, user, assistant, tool, "
            "got 'bot'.",
        ),
        (
            {**SOUND, "context": [{"role": "user", "content": [{"type": "text"}]}]},
            "context[0]: content[0]: `text` is missing from a part of type text.",
        ),
        (
            {**SOUND, "context": [{"role": "user", "content": "\ud800"}]},
            "context[0]: `content` holds bytes that are not UTF-8 text.",
        ),
        (
            {**SOUND, "candidates": [{"id": "tie", "messages": [{"role": "user", "content": ""}]}]},
            "candidates[0]: `id` of a candidate must not be the word 'tie'.",
        ),
        (
            judged(winner="c7"),
            "judgments[0]: `winner` must be one of the candidates shown (c0, c1) or tie, "
            "both_bad, skip, got 'c7'.",
        ),
        (judged(shown=["c0", "c7"]), "judgment `j0` speaks of candidate `c7`, but the record has"),
        (judged(shown=["c0", "c0"]), "judgments[0]: `shown` names a candidate twice."),
        (judged(shown=["c0"]), "judgments[0]: `shown` of a pair must name 2 candidates, got 1."),
        (judged(winner=...), "judgments[0]: `winner` is missing from a pair judgment."),
        (judged(strength=-1), "judgments[0]: `strength` must be at least 0, got -1."),
        (
            judged(strength=float("nan")),
            "judgments[0]: `strength` must be a finite number, got nan.",
        ),
        (judged(strength=10**400), "judgments[0]: `strength` must be a finite number"),
        (judged(strength=True), "judgments[0]: `strength` must be a number, got a boolean."),
        (judged(prob=1.5), "judgments[0]: `prob` must be at most 1, got 1.5."),
        (judged(count=0), "judgments[0]: `count` must be at least 1, got 0."),
        (judged(rater=...), "judgments[0]: `rater` is missing."),
        (judged(rater={"id": "x", "type": "crowd"}), "judgments[0]: rater: `type` must be one of"),
        (
            judged(ranks={"c0": 1}),
            "judgments[0]: `ranks` belongs to a rank judgment, this is a pair.",
        ),
        (
            judged(kind="edit", winner=..., to="c1"),
            "judgments[0]: `from` is missing from an edit judgment.",
        ),
        (
            judged(**{"kind": "edit", "winner": ..., "from": "c0", "to": "c0"}),
            "judgments[0]: `from` and `to` of an edit are the same candidate",
        ),
        (
            judged(kind="rate", winner=..., scores={"c0": 9}, scale=[1, 5]),
            "judgments[0]: `scores.c0` must be at most 5, got 9.",
        ),
        (
            judged(kind="rate", winner=..., scores={"c0": 1}, scale=[5, 1]),
            "judgments[0]: `scale` must rise, got [5, 1].",
        ),
        (
            judged(kind="rank", winner=..., ranks={"c0": 0}),
            "judgments[0]: `ranks.c0` must be at least 1, got 0.",
        ),
        (
            judged(kind="rank", winner=..., shown=["c0"], ranks={"c1": 1}),
            "judgments[0]: `ranks` names `c1`, which was not shown.",
        ),
        (
            judged(kind="signal", winner=..., target="c0", polarity=2),
            "judgments[0]: `polarity` must be -1, 0 or 1, got 2.",
        ),
        ({**SOUND, "judgments": SOUND["judgments"] * 2}, "two judgments are called `j0`."),
        ({**SOUND, "tags": {"weight": -1}}, "`tags.weight` must be at least 0, got -1."),
        ({**SOUND, "tags": {"form": "raw"}}, "`tags.form` must be chat or text, got 'raw'."),
        ({**SOUND, "tags": {"a": []}}, "`tags.a` must be a number, got a list."),
        ({**SOUND, "meta": {"a": float("inf")}}, "`meta.a` must be a finite number, got inf."),
    ],
)
def test_refused_with_its_place(row, said):
    with pytest.raises(RecordError) as caught:
        Record.from_json(row)
    assert str(caught.value).startswith(said)


def test_deep_nesting_is_refused():
    deep: object = 0
    for _ in range(100):
        deep = [deep]
    with pytest.raises(RecordError, match="nested deeper than 64 levels"):
        Record.from_json({**SOUND, "meta": {"a": deep}})


def test_an_unreadable_verdict_needs_no_winner():
    row = judged(winner=..., valid=False, raw="I like both!")
    assert Record.from_json(row).judgments[0].raw == "I like both!"


# --- Names --------------------------------------------------------------------------------------


def test_id_survives_candidates_and_judgments(make_record, vote):
    bare = make_record(replies=["yes"])
    assert make_record(replies=["yes", "no"], judgments=[vote("c1")]).id == bare.id


def test_same_prompt_same_cluster_but_another_id(make_record):
    first, second = make_record(row=0), make_record(row=1, replies=["other"])
    assert first.cluster == second.cluster
    assert first.id != second.id


def test_cluster_knows_tools(make_record):
    assert make_record().cluster != make_record(tools=({"name": "search"},)).cluster


def test_without_a_prompt_the_content_is_the_cluster(make_record):
    first, second = (replace(make_record(replies=[r]), context=()) for r in ("a", "b"))
    assert first.cluster != second.cluster
    assert first.cluster == replace(first, id="other").cluster


def test_id_is_stable():
    """An id that changes between versions would break every stored judgment and cache."""
    record = Record(
        source=Source("hh", split="train", row=3),
        context=(Message("user", "Hi"),),
        candidates=(),
    )
    assert (record.id, record.cluster) == ("72e16c1d95289971", "352cfba1305b5d64")


def test_a_record_made_of_another_shares_its_cluster(make_record):
    plain = make_record()
    asked = make_record(prompt="Briefly: is it?", tags={"cluster": plain.cluster})
    assert asked.cluster == plain.cluster
    assert asked.id != plain.id
    with pytest.raises(RecordError, match=r"tags.cluster"):
        make_record(tags={"cluster": 3})
