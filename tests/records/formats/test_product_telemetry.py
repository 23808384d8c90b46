"""Product telemetry: what was done is said, and no more than that."""

import json
from pathlib import Path

import pytest

from prefine.errors import RecordError
from prefine.records import load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

# The documented columns, with values of our own.
COPY = json.loads((Path(__file__).parent / "samples" / "product_telemetry.json").read_text("utf-8"))


def read(**change):
    return FORMATS["product_telemetry"].read(COPY | change, Where("x.jsonl", 0))


def test_who_did_what():
    record = read(seconds=3.5)
    [signal] = record.judgments
    assert (signal.kind, signal.polarity, signal.category) == ("signal", 1, ("copy",))
    assert (signal.rater.id, signal.rater.type, signal.seconds) == ("u7", "user", 3.5)
    assert json.loads(signal.raw) == {"timestamp": "2025-03-01T10:00:05Z"}
    assert record.principal.id == "u7"
    assert record.context[0].text == "A name for a cat?"
    assert (record.candidates[0].text, record.candidates[0].origin.model) == ("Miso.", "small-1")


@pytest.mark.parametrize(
    ("event", "polarity"),
    [
        ("accept", 1),
        ("reject", -1),
        ("click", 1),
        ("persist", 1),
        ("shown", 0),
        ("dwell", 0),
        ("regenerate", 0),
    ],
)
def test_signals(event, polarity):
    assert read(event=event).judgments[0].polarity == polarity


@pytest.mark.parametrize(("event", "score"), [("thumbs_up", 1), ("thumbs_down", 0)])
def test_thumbs_are_ratings(event, score):
    [rate] = read(event=event).judgments
    assert (rate.kind, list(rate.scores.values()), rate.scale) == ("rate", [score], (0, 1))


def test_edits():
    record = read(event="edit", edited="Miso!")
    [edit] = record.judgments
    assert record.candidate(edit.edit_to).text == "Miso!"
    assert record.candidate(edit.edit_to).origin.parent == edit.edit_from
    [unchanged] = read(event="edit", edited="Miso.").judgments
    assert (unchanged.kind, unchanged.polarity) == ("signal", 1)


def test_a_session_is_one_record():
    """Two answers to one prompt; the thumbs make a pair, and being shown says nothing."""
    rows = [
        COPY | {"event": "shown"},
        COPY | {"event": "regenerate"},
        COPY | {"event": "thumbs_down"},
        COPY | {"event": "shown", "response": "Tofu."},
        COPY | {"event": "thumbs_up", "response": "Tofu."},
        COPY | {"event": "copy", "session": "s2"},
    ]
    records = load(rows)
    assert (records.format, len(records)) == ("product_telemetry", 2)
    assert [c.text for c in records[0].candidates] == ["Miso.", "Tofu."]
    assert [j.repeat for j in records[0].judgments] == [0] * 5
    [pair] = records.pairs().rows
    assert [json.loads(said)[0]["content"] for said in pair["responses"]] == ["Tofu.", "Miso."]


def test_nothing_is_made_of_what_says_nothing():
    view = load([COPY | {"event": event} for event in ("shown", "dwell", "regenerate")]).points()
    assert len(view) == 0


def test_items():
    record = read(response=None, item="track-9", event="click", prompt=None)
    [part] = record.candidates[0].messages[0].content
    assert (part.type, part.id, record.context) == ("item", "track-9", ())


@pytest.mark.parametrize(
    "row",
    [
        COPY,
        COPY | {"event": "thumbs_down", "seconds": 2},
        COPY | {"event": "edit", "edited": "Miso!"},
        COPY | {"event": "edit", "edited": "Miso."},
        COPY | {"event": "feedback", "text": "Shorter."},
        {"item": "track-9", "event": "click"},
        COPY | {"prompt": [{"role": "system", "content": "Be brief."}], "timestamp": 12},
    ],
)
def test_written_back(row):
    format = FORMATS["product_telemetry"]
    record = format.read(row, Where("memory", 0))
    [back] = format.write(record)
    assert back == row
    assert format.losses(record) == frozenset()


def test_a_file_is_written_back(tmp_path):
    rows = [COPY, COPY | {"event": "thumbs_up"}, COPY | {"session": "s2"}]
    exported = load(rows).export("product_telemetry", tmp_path / "out.csv")
    assert (exported.rows, exported.losses) == (3, {})
    again = load(tmp_path / "out.csv")
    assert [len(record.judgments) for record in again] == [2, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"event": "liked"}, "`event` must be one of thumbs_up"),
        ({"event": "edit"}, "`edited` is missing"),
        ({"edited": "x"}, "`edited` belongs to the event edit, this is 'copy'"),
        ({"text": "x"}, "`text` belongs to the event feedback"),
        ({"item": "x"}, "`response` and `item` are both given"),
        ({"response": None}, "`item` is missing"),
        ({"response": None, "item": "x", "event": "edit", "edited": "y"}, "cannot be edited"),
        ({"timestamp": [1]}, "`timestamp` must be text or a number"),
        ({"seconds": -1}, "at least 0"),
    ],
)
def test_refused(change, said):
    with pytest.raises(RecordError, match=said):
        read(**change)
