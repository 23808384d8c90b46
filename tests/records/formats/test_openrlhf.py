"""OpenRLHF: rows by the defaults of its key options, pairs as of TRL, other names by rename."""

import json
from pathlib import Path

import pytest

from prefine.errors import FormatError, RecordError
from prefine.records import load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

# The defaults of the options, with values of our own.
ROW = json.loads((Path(__file__).parent / "samples" / "openrlhf.json").read_text("utf-8"))
ASKED = {"role": "user", "content": "Name a prime."}
SAID = {"role": "assistant", "content": "Seven."}
WRONG = {"role": "assistant", "content": "Nine."}


def read(row):
    return FORMATS["openrlhf"].read(row, Where("x.jsonl", 0))


@pytest.mark.parametrize(("label", "score"), [(True, 1), (False, 0), ("0", 0), (1, 1)])
def test_answers_with_a_label(label, score):
    record = read({**ROW, "label": label})
    assert (record.context[0].text, record.candidates[0].text) == ("Name a prime.", "Seven.")
    [rate] = record.judgments
    assert (rate.scores, rate.scale) == ({"c0": score}, (0, 1))
    assert record.tags == {"form": "text"}


@pytest.mark.parametrize(
    "row",
    [
        {"input": [ASKED, SAID]},
        {"input": [ASKED], "output": [SAID]},
        {"input": [ASKED], "output": "Seven."},
    ],
)
def test_three_ways_to_write_a_conversation(row):
    """`apply_chat_template` takes each of them."""
    assert load([row]).format == "openrlhf"
    record = read(row)
    assert [m.role for m in record.context] == ["user"]
    assert record.candidates[0].messages[0].text == "Seven."
    assert record.judgments == ()
    assert "form" not in record.tags


def test_prompts():
    assert read({"input": "Name a prime."}).candidates == ()
    assert read({"input": [ASKED]}).candidates == ()
    assert len(load([{"input": "Why?"}, ROW]).points()) == 1


def test_pairs_are_read_if_the_format_is_named():
    row = {"chosen": [ASKED, SAID], "rejected": [ASKED, WRONG], "margin": 2}
    assert load([row]).format == "trl_preference"
    records = load([row], format="openrlhf")
    assert records[0].judgments[0].strength == 2
    assert [m.text for m in records[0].context] == ["Name a prime."]


def test_other_names_by_rename():
    rows = [{"question": "Name a prime.", "answer": "Seven.", "good": 1}]
    names = {"question": "input", "answer": "output", "good": "label"}
    assert load(rows, rename=names)[0].judgments[0].scores == {"c0": 1}


@pytest.mark.parametrize(
    ("row", "back"),
    [
        (ROW, ROW),
        ({"input": "Why?"}, {"input": "Why?"}),
        ({"input": [ASKED]}, {"input": [ASKED]}),
        ({"input": [ASKED, SAID]}, {"input": [ASKED], "output": [SAID]}),
        (
            {"chosen": [ASKED, SAID], "rejected": [ASKED, WRONG]},
            {"prompt": [ASKED], "chosen": [SAID], "rejected": [WRONG]},
        ),
        (
            {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "margin": 1.5},
            {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "margin": 1.5},
        ),
    ],
)
def test_written(row, back):
    record = read(row)
    assert list(FORMATS["openrlhf"].write(record)) == [back]
    assert FORMATS["openrlhf"].losses(record) == frozenset()


def test_losses_are_listed():
    row = {"prompt": [ASKED], "chosen": [SAID], "rejected": [WRONG], "tools": [{"name": "f"}]}
    [record] = load([row])
    # The record's id is made of prompt and tools.
    assert FORMATS["openrlhf"].losses(record) == {"tools", "id and source"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"input": "Why?", "label": True}, "unknown key `label`"),
        ({**ROW, "label": "maybe"}, "must be true or false"),
        ({"input": 3}, "`input` must be a list of messages"),
        ({"chosen": "a", "rejected": "b"}, "there is no `prompt`"),
        ({**ROW, "chosen": "a"}, "unknown key `input`"),
    ],
)
def test_refused(row, said):
    with pytest.raises(RecordError, match=said):
        read(row)


def test_a_further_column_is_not_guessed_away():
    """The reference answer of PPO is no judgment: it is kept by name, or the row fits nothing."""
    rows = [{"input": "2 + 2?", "answer": "4"}]
    with pytest.raises(FormatError):
        load(rows)
    assert load(rows, format="openrlhf", keep_columns=["answer"])[0].meta == {"answer": "4"}
