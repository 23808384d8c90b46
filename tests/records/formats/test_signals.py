"""Signals nobody was asked for: accepted suggestions, copied replies, tracks liked and disliked."""

import json
from pathlib import Path

import pytest

from prefine.errors import RecordError
from prefine.records import load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

SAMPLES = Path(__file__).parent / "samples"
# The documented columns, with values of our own.
SUGGESTED = {
    "prefix_code": "def add(a, b):\n    return",
    "suffix_code": "",
    "suggestion": " a + b",
    "logprobs": "[-0.1]",
    "accepted": "True",
    "programmer_id": "3",
    "timestamp": "1700000000000.0",
    "model": "CodeLlama7b",
    "task_name": "sum_product",
    "requested": "False",
}
# A row of chat_data.csv.
REPLIED = json.loads((SAMPLES / "realhumaneval.json").read_text("utf-8"))
# The first dialogue, its turns and lists shortened.
DIALOG = json.loads((SAMPLES / "cpcd.json").read_text("utf-8"))


def read(name, row):
    return FORMATS[name].read(row, Where("x.csv", 0))


@pytest.mark.parametrize(("said", "polarity"), [("True", 1), ("False", -1), (True, 1)])
def test_suggestions(said, polarity):
    record = read("realhumaneval", {**SUGGESTED, "accepted": said})
    [signal] = record.judgments
    assert (signal.polarity, signal.category, signal.rater.type) == (polarity, ("accept",), "user")
    assert record.context[0].content == "def add(a, b):\n    return"
    assert record.candidates[0].origin.model == "CodeLlama7b"
    assert record.tags == {"task": "sum_product", "time": 1700000000000.0}
    assert record.meta == {"logprobs": "[-0.1]", "requested": "False"}


def test_code_behind_the_suggestion_is_a_document():
    [message] = read("realhumaneval", {**SUGGESTED, "suffix_code": "\nadd(1, 2)"}).context
    assert [(p.type, p.text) for p in message.content] == [
        ("text", "def add(a, b):\n    return"),
        ("document", "\nadd(1, 2)"),
    ]


@pytest.mark.parametrize(("events", "polarity"), [("[]", 0), ("[{'copied': 1}]", 1), ("", 0)])
def test_replies(events, polarity):
    [signal] = read("realhumaneval", {**REPLIED, "copy_events": events}).judgments
    assert (signal.polarity, signal.category, signal.raw) == (polarity, ("copy",), events)


def test_one_real_reply():
    record = read("realhumaneval", REPLIED)
    assert [(m.role, m.text) for m in record.context] == [("user", "hello")]
    assert record.candidates[0].text == "Hello! How can I assist you today?"
    assert record.candidates[0].origin.model == "GPT-4o (chat)"
    assert record.judgments[0].rater.id == "94"


def test_a_reply_to_a_conversation():
    """The source writes the conversation as Python does, not as JSON."""
    said = "[{'content': 'hi', 'role': 'user'}, {'content': \"It's\", 'role': 'assistant'}]"
    record = read("realhumaneval", {**REPLIED, "request": said})
    assert [(m.role, m.text) for m in record.context] == [("user", "hi"), ("assistant", "It's")]
    assert read("realhumaneval", {**REPLIED, "request": "[]"}).context == ()
    assert read("realhumaneval", {**REPLIED, "request": "Sort?"}).context[0].text == "Sort?"


def test_signals_make_points():
    view = load([SUGGESTED, {**SUGGESTED, "accepted": "False"}]).points()
    assert [row["label"] for row in view.rows] == [[True], [False]]


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("realhumaneval", {**SUGGESTED, "accepted": "maybe"}, "must be true or false"),
        ("realhumaneval", {**SUGGESTED, "programmer_id": None}, "`programmer_id` is missing"),
        ("realhumaneval", {**REPLIED, "request": "[print()]"}, "must be a list of messages"),
        ("realhumaneval", {**REPLIED, "request": "[1]"}, "a message must be an object"),
        ("cpcd", {**DIALOG, "turns": []}, "`turns` is empty"),
        ("cpcd", {**DIALOG, "turns": [{"user_query": 1}]}, "`user_query` must be text"),
    ],
)
def test_refused(name, row, said):
    with pytest.raises(RecordError, match=said):
        read(name, row)


def test_turns_of_a_real_dialogue():
    first, second = read("cpcd", DIALOG)
    assert first.candidates == ()
    assert [m.role for m in second.context] == ["user", "assistant", "user"]
    liked = DIALOG["turns"][1]["liked_results"]
    assert [j.target for j in second.judgments if j.polarity == 1] == liked
    [item] = second.candidates[0].messages[0].content
    assert (item.type, item.id) == ("item", liked[0])
    assert item.title == DIALOG["tracks"][liked[0]]["track_titles"]
    assert second.principal.id == DIALOG["id"]
    assert first.meta["goal_playlist"] == DIALOG["goal_playlist"]
    assert set(second.meta) == {"search_queries", "search_results"}


def test_agrees_with_the_facts(shared_data):
    facts = json.loads(shared_data("FACTS.json").read_text())["cpcd"]
    records = load(shared_data("cpcd/cpcd_v1.dialogs.dev.val.jsonl.gz"))
    assert (records.format, len(records)) == ("cpcd", facts["turns"])
    signals = [judgment for record in records for judgment in record.judgments]
    assert sum(signal.polarity == 1 for signal in signals) == facts["liked"]
    assert sum(signal.polarity == -1 for signal in signals) == facts["disliked"]
    assert len({record.principal.id for record in records}) == facts["dialogs"]
