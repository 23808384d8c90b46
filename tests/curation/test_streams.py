"""Translations become trajectories; what cannot is counted."""

from dataclasses import replace

import pytest

from prefine.curation import Streams
from prefine.errors import ConfigError
from prefine.records import Message, Record
from prefine.records.votes import SetAside


def text(record: Record, at: int) -> str:
    return "".join(message.text for message in record.candidates[at].messages)


def test_both_responses_follow_one_rule_and_judgments_stay(make_record, vote):
    record = make_record(("a b c", "d"), [vote("c0")], prompt="x y z")
    (made,) = Streams(wait=2, instruction="Go.")(record)
    assert made.context == (Message("user", "Go.\n"),)
    assert text(made, 0) == "<read> x<read> y a<read> z\n b c"
    assert text(made, 1) == "<read> x<read> y d<read> z\n"
    assert [m.role for m in made.candidates[0].messages[:3]] == ["assistant", "user", "assistant"]
    assert made.judgments == record.judgments
    assert made.tags == {"form": "text", "cluster": record.cluster}
    assert made.source.license == "mit"
    (done,) = made.meta["curation"]
    assert done["operator"] == "streams"
    assert done["options"]["wait"] == 2
    assert Record.from_json(made.to_json()) == made


def test_records_of_one_source_stay_on_one_side_and_others_apart(make_record):
    one, other = (make_record(prompt=prompt, row=n) for n, prompt in enumerate("xy"))
    made = [next(Streams()(record)) for record in (one, other)]
    assert made[0].cluster == one.cluster != made[1].cluster
    assert made[0].id != made[1].id


def test_of_several_waits_each_record_draws_one_for_both_responses(make_record):
    seen = set()
    for row in range(12):
        record = make_record(("A B C", "D E F"), prompt="x y z", row=row)
        (made,) = Streams(wait=(1, 3))(record)
        again = next(Streams(wait=(1, 3))(record))
        assert made == again
        paths = {text(made, at).index(word) for at, word in enumerate("AD")}
        assert len(paths) == 1
        seen |= paths
    assert len(seen) == 2


def test_characters(make_record):
    (made,) = Streams(wait=1, source="character")(make_record(("I am", "I"), prompt="我是"))
    assert text(made, 0) == "<read>我 I<read>是\n am"


def test_numbers_of_the_plain_text_stay_behind(make_record):
    record = make_record(("a",))
    counted = replace(record.candidates[0], stats={"n_tokens": 1})
    (made,) = Streams()(replace(record, candidates=(counted,)))
    assert made.candidates[0].stats == {}


@pytest.mark.parametrize(
    ("replies", "fields", "reason"),
    [
        ((), {}, "no response"),
        (("a", " "), {}, "an empty translation"),
        (("a", "<read>"), {}, "a text holds <read>"),
        (("a",), {"prompt": "x <read>"}, "a text holds <read>"),
        (("a",), {"prompt": " "}, "the source is empty, or no text"),
        (("a",), {"context": ()}, "the prompt is more than a source"),
        (("a",), {"context": (Message("system", "s"), Message("user", "x"))}, "more than a source"),
        (("a",), {"tools": ({"type": "function"},)}, "a prompt with tools is no source"),
    ],
)
def test_what_cannot_be_cut_is_set_aside(make_record, replies, fields, reason):
    (aside,) = Streams()(make_record(replies, **fields))
    assert isinstance(aside, SetAside)
    assert reason in aside.reason


def test_a_dialogue_is_no_translation(make_record):
    record = make_record(("a",))
    two = replace(record.candidates[0], messages=(Message("assistant", "a"), Message("user", "b")))
    (aside,) = Streams()(replace(record, candidates=(two,)))
    assert aside.reason == "a translation is more than one text"


@pytest.mark.parametrize(
    "options",
    [
        {"wait": 0},
        {"wait": ()},
        {"wait": (1, 0)},
        {"read": ""},
        {"read": "a b"},
        {"source": "line"},
        {"target": "x"},
    ],
)
def test_impossible_options(options):
    with pytest.raises(ConfigError, match=f"`{next(iter(options))}` must be"):
        Streams(**options)
