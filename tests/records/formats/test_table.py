"""The table of formats: complete, documented, and safe with any row at all."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import prefine.records.formats as formats
from prefine.errors import RecordError
from prefine.records import Candidate, Judgment, Message, Origin, Part, Rater, Record
from prefine.records.formats import FORMATS, fitting
from prefine.records.formats.format import Where

SHARED = {"__init__", "format", "losses", "rows", "trl"}


def test_every_file_is_in_the_table():
    folder = Path(formats.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - SHARED == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_described(name):
    assert FORMATS[name].description
    assert FORMATS[name].kinds <= {"json", "table", "xml", "preflib"}
    assert FORMATS[name].kinds


USER = {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image"}]}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}
GOOD = {"role": "assistant", "content": "Hello!", "name": "x", "thinking": "Hm"}
ORDERS = {"swap = False": {"winner": "1", "completion": ["a"]}, "swap = True": {"winner": None}}
ARGUMENT = {"id": "arg1", "author": "", "voteUpCount": "1", "stance": "Yes", "text": "So."}
VOTE = {
    "turkID": "W1",
    "hitID": "H1",
    "assignmentAcceptTime": "2016-01-31 16:53:19.0 UTC",
    "assignmentSubmitTime": "2016-01-31 16:59:52.0 UTC",
    "value": "a2",
    "reason": "Short.",
    "assignmentId": "S1",
    "turkRank": "24",
    "turkCompetence": "0.27",
    "workerStance": "none",
}
RATER = {"id": "ann", "type": "human", "group": {"land": "x"}, "params": {"t": 1}}
SAMPLES = {
    "prefine": {
        "schema": "prefine/1",
        "id": "x",
        "source": {"name": "x", "row": 1},
        "context": [{"role": "user", "content": "Hi"}],
        "candidates": [{"id": c, "messages": [GOOD], "origin": {"kind": "model"}} for c in "ab"],
        "judgments": [
            {"id": "1", "kind": "pair", "shown": ["a", "b"], "winner": "a", "rater": RATER},
            {"id": "2", "kind": "rank", "shown": ["a", "b"], "ranks": {"a": 1}, "rater": RATER},
            {
                "id": "3",
                "kind": "rate",
                "shown": ["b"],
                "scores": {"b": 1},
                "scale": [0, 1],
                "rater": RATER,
            },
            {"id": "4", "kind": "edit", "shown": [], "from": "a", "to": "b", "rater": RATER},
            {
                "id": "5",
                "kind": "signal",
                "shown": [],
                "target": "b",
                "polarity": 1,
                "rater": RATER,
            },
        ],
        "principal": {"id": "kim", "attributes": {"brief": {"value": 1}}},
        "tags": {"weight": 1, "form": "text"},
    },
    "trl_preference": {
        "prompt": [USER, CALL],
        "chosen": [GOOD],
        "rejected": [CALL],
        "images": [{"bytes": "YQ==", "path": None}],
        "tools": [{"name": "f"}],
        "margin": 1,
        "weight": 2,
        "score_chosen": 3,
    },
    "trl_unpaired": {"prompt": [USER], "completion": [GOOD], "label": True, "image": "a.png"},
    "trl_prompt_completion": {"prompt": "Hi", "completion": "Hello!", "image": "a.png"},
    "trl_prompt_only": {"prompt": [USER], "tools": "[]"},
    "trl_language_modelling": {"messages": [USER, GOOD]},
    "trl_stepwise": {"prompt": "Hi", "completions": ["a", "b"], "labels": [True, False]},
    "hh_rlhf": {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello",
        "rejected": "\n\nHuman: Hi\n\nAssistant:",
    },
    "llmbar": {"input": "Hi", "output_1": "a", "output_2": "b", "label": 1, "results": [ORDERS]},
    "ukp_convarg_xml": {
        "id": "arg1_arg2",
        "arg1": ARGUMENT,
        "arg2": {**ARGUMENT, "id": "arg2"},
        "debateMetaData": {"title": "Cats?", "description": "", "url": "x"},
        "mTurkAssignments": {"mTurkAssignment": [VOTE, {**VOTE, "assignmentId": "S2"}]},
        "goldLabel": "a1",
    },
    "ukp_convarg_strict": {"#id": "arg1_arg2", "label": "a1", "a1": "So.", "a2": "No."},
}


# A row as the source prints it, long texts shortened: one file for each format.
SAMPLE_FILES = Path(__file__).parent / "samples"
SAMPLES |= {path.stem: json.loads(path.read_text("utf-8")) for path in SAMPLE_FILES.glob("*.json")}


def check(name: str, row: Any) -> None:
    """A row is read or refused; what is read can be stored, and written in every format."""
    found = FORMATS[name]
    assert found.matches(row) in (True, False)
    try:
        records = found.records(row, Where("x", 0))
    except RecordError:
        return
    for record in records:
        assert Record.from_json(record.to_json()) == record
        for other in FORMATS.values():
            if other.write is not None:
                list(other.write(record))
                other.losses(record)


@pytest.mark.parametrize("name", FORMATS)
def test_samples_are_read(name):
    assert [found.name for found in fitting(SAMPLES[name])] == [name]
    records = FORMATS[name].records(SAMPLES[name], Where("x", 0))
    assert records
    assert all(record.context or record.candidates for record in records)
    check(name, SAMPLES[name])


VALUES = st.one_of(
    st.sampled_from([None, True, -1, 0.5, float("nan"), 10**400, "", "a1", "1", "\ud800", "user"]),
    st.sampled_from([[], {}, [[]], [None], [{}], {"a": {}}, {"role": "user", "content": "x"}]),
)


def spots(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values within a row."""
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        inner = ()
    return [path, *(spot for key, item in inner for spot in spots(item, (*path, key)))]


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_row_is_read_or_refused(name, data):
    """No row may end in an internal error: one or two values of a sound row are replaced."""
    row = copy.deepcopy(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from(spots(row)[1:]), label="where")
        place = row
        for key in path:
            place = place[key]
        if data.draw(st.booleans(), label="drop") and isinstance(place, dict):
            del place[last]
        else:
            place[last] = copy.deepcopy(data.draw(VALUES, label="value"))
        if not row:
            break
    check(name, row)


@pytest.mark.parametrize("name", FORMATS)
def test_an_unknown_key_is_never_ignored(name):
    """A column that a format does not know is an error that names it."""
    with pytest.raises(RecordError, match="unknown key `colour`"):
        FORMATS[name].read({**SAMPLES[name], "colour": 1}, Where("x", 0))


def printed(name: str) -> Any:
    """The row that a format's documentation prints as JSON; None if it prints none, or parts."""
    lines = (sys.modules[FORMATS[name].read.__module__].__doc__ or "").splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("    {")]
    text = "\n".join(lines[starts[0] :]).strip() if starts else ""
    if not text or "…" in text:
        return None
    return json.JSONDecoder().raw_decode(text)[0]


WHOLE = [name for name in FORMATS if printed(name)]


@pytest.mark.parametrize("name", WHOLE)
def test_the_documented_row_is_read_and_written(name):
    row, found = printed(name), FORMATS[name]
    assert [other.name for other in fitting(row)] == [name]
    [record] = found.records(row, Where("x", 0))
    assert list(found.write(record)) == [row]


PRINTED = [name for name in WHOLE if (SAMPLE_FILES / f"{name}.json").exists()]

NO_PLACE = {"alpaca": {"id and source", "meta"}, "swift": {"id and source"}}


@pytest.mark.parametrize("name", PRINTED)
def test_an_export_of_the_documented_row_loses_nothing_else(name):
    """And the row is the sample of the tests."""
    assert printed(name) == SAMPLES[name]
    [record] = FORMATS[name].records(SAMPLES[name], Where("x", 0))
    assert FORMATS[name].losses(record) <= NO_PLACE.get(name, set())


COLUMNS = sorted(
    ({key for row in SAMPLES.values() for key in row} | {"num_tokens", "not_text"})
    - {"weight", "form", "malformed"}
)
CONTENT = st.sampled_from(
    [
        "",
        "Hi",
        (Part("text", text="Hi"),),
        (Part("image"),),
        (Part("item"),),
        (Part("document", text="So.", title="A"),),
        (Part("image", uri="a"),),
    ]
)
ASPECTS = ["overall", "overall", "helpful", "safe", "individual", "helpfulness", "verbosity"]
ROLES = st.sampled_from(["user", "assistant", "system"])
MESSAGES = st.lists(st.builds(Message, ROLES, CONTENT), max_size=3).map(tuple)
ASKED = st.one_of(st.just((Message("user", "Hi"),)), MESSAGES)
ANSWERS = st.one_of(
    st.sampled_from(["yes", "no"]).map(lambda text: (Message("assistant", text),)),
    MESSAGES.filter(bool),
)
JSON = VALUES.filter(lambda value: value not in ("\ud800", 10**400) and value == value)


@st.composite
def judgments(draw: Any, ids: list[str]) -> Judgment:
    """A judgment on some candidates, of an aspect that formats know."""
    kind = draw(st.sampled_from(["pair", "rank", "rate"])) if len(ids) > 1 else "rate"
    shown = tuple(ids[:2]) if kind == "pair" else tuple(ids[: draw(st.integers(1, len(ids)))])
    rater = Rater(draw(st.sampled_from(["gpt-4", "helpsteer", "annotator1", "x"])), "human")
    fields: dict[str, Any] = {
        "pair": {
            "winner": draw(st.sampled_from([*shown, "tie", "both_bad", "skip"])),
            "strength": draw(st.sampled_from([None, 0, 1, 2.5, 7])),
        },
        "rank": {"ranks": {name: draw(st.integers(1, 3)) for name in shown}},
        "rate": {
            "scores": {name: draw(st.sampled_from([None, 0, 0.5, 1])) for name in shown},
            "scale": draw(st.sampled_from([(0, 1), (None, None), (0, 4)])),
        },
    }[kind]
    name = draw(st.uuids(version=4)).hex
    raw = draw(st.sampled_from([None, "", "[]", "{", '{"score": 1}', '{"Rating": {}}']))
    return Judgment(
        name, kind, shown, rater, aspect=draw(st.sampled_from(ASPECTS)), raw=raw, **fields
    )


@st.composite
def any_record(draw: Any) -> Record:
    """A record that no source has: columns of all formats as tags and meta."""
    ids = [f"c{at}" for at in range(draw(st.sampled_from([2, 2, 2, 0, 1, 3])))]
    origin = st.sampled_from([None, Origin("human"), Origin("model", model="m")])
    return Record(
        context=draw(ASKED),
        candidates=tuple(Candidate(name, draw(ANSWERS), origin=draw(origin)) for name in ids),
        judgments=tuple(draw(st.lists(judgments(ids), max_size=5))) if ids else (),
        tags=draw(st.dictionaries(st.sampled_from(COLUMNS), st.sampled_from(["x", 1, True]))),
        meta=draw(st.dictionaries(st.sampled_from(COLUMNS), JSON)),
    )


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(record=any_record())
def test_any_record_is_written_in_every_format_or_not_at_all(record):
    """What is written can be read again, and its losses can be listed."""
    for found in FORMATS.values():
        if found.write is not None:
            found.losses(record)
            for row in found.write(record):
                found.read(row, Where("x", 0))
