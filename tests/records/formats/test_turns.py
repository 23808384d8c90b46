"""Conversations with a choice at every turn: PRISM and Community Alignment.

The rows hold the columns that the sources document; no row of theirs could be quoted whole, but for
PRISM's first utterance, which its notebook prints.
"""

import copy
import json
from pathlib import Path

import pytest

from prefine.errors import RecordError
from prefine.records import load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

SAMPLES = Path(__file__).parent / "samples"
PRISM = json.loads((SAMPLES / "prism.json").read_text("utf-8"))
UTTERANCE = json.loads((SAMPLES / "prism_utterances.json").read_text("utf-8"))
CHOICES = json.loads((SAMPLES / "community_alignment.json").read_text("utf-8"))


def read(name, row):
    return FORMATS[name].read(row, Where("x.jsonl", 0))


def test_each_turn_of_prism_is_a_record():
    first, second = read("prism", PRISM)
    assert [m.text for m in first.context] == ["Hi"]
    assert [m.text for m in second.context] == ["Hi", "Hi!", "And?"]  # goes on with the chosen one
    choice, score = first.judgments
    assert choice.ranks == {"r0": 2, "r1": 1}
    assert (score.scores, score.scale) == ({"r0": 70, "r1": 90}, (1, 100))
    assert choice.rater.id == first.principal.id == "user0"
    assert [c.origin.model for c in first.candidates] == ["m0", "m1"]
    assert (first.source.row, second.source.row) == ("c0/0", "c0/1")
    assert first.meta["open_feedback"] == "Good."
    assert second.meta == {"follows": "c0/0"}
    assert second.tags["turn"] == 1


def test_prism_gives_pairs_of_both_turns():
    view = load([PRISM]).pairs()
    assert len(view) == 2
    # The principal of a record is the person; only persons' ratings are there.
    assert view.principals == ("user0",)


def changed(at, **change):
    row = copy.deepcopy(PRISM)
    row["conversation_history"][at].update(change)
    return row


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (changed(0, turn=1), "not in order: 1 after 0"),
        (changed(1, turn=5), "expected the user's words, got 'model'"),
        (changed(1, role="tool"), "got 'tool'"),
        (changed(1, if_chosen=True), "different responses of one turn are chosen: r0, r1"),
        (changed(2, if_chosen=False), "turn 1 follows a turn of which no response was chosen"),
        (changed(1, score=101), "at most 100"),
        ({**PRISM, "conversation_history": []}, "is empty"),
    ],
)
def test_prism_refuses(row, said):
    with pytest.raises(RecordError, match=said):
        read("prism", row)


def test_equal_responses_are_chosen_together():
    """The source marks a response by its text, so two models that said the same are both marked."""
    first, second = read("prism", changed(1, content="Hi!", if_chosen=True))
    assert first.judgments[0].ranks == {"r0": 1, "r1": 1}
    assert [m.text for m in second.context] == ["Hi", "Hi!", "And?"]


# The second row that the notebook prints, its answer cut.
NEXT = UTTERANCE | {
    "utterance_id": "ut1",
    "within_turn_id": 1,
    "model_response": "As an AI language model, I cannot express pers[…]",
    "model_name": "command-light",
    "model_provider": "cohere",
    "score": 92,
    "if_chosen": True,
}


def test_utterances_of_a_turn_are_one_record():
    records = load([UTTERANCE, NEXT])
    assert (records.format, len(records)) == ("prism_utterances", 1)
    record = records[0]
    assert record.context[0].text == "What can you do about the inequality  of wealth?"
    assert [c.origin.model for c in record.candidates] == ["google/flan-t5-xxl", "command-light"]
    low, high, choice = record.judgments
    assert (low.scores, high.scores, low.scale) == ({"r0": 17}, {"r1": 92}, (1, 100))
    assert (choice.kind, choice.target, choice.polarity) == ("signal", "r1", 1)
    assert record.principal.id == low.rater.id == "user0"
    assert record.source.row == "int0"
    [pair] = records.pairs().rows
    assert pair["utility"] == [92, 17]


def test_an_utterance_without_its_history_is_in_no_view():
    later = [{**row, "turn": 1, "interaction_id": "int1"} for row in (UTTERANCE, NEXT)]
    records = load([UTTERANCE, NEXT, *later])
    assert [record.tags.get("malformed") for record in records] == [None, True]
    assert len(records.pairs()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"turn": 0.5}, "`turn` must be a whole number"),
        ({"score": 101}, "at most 100"),
        ({"user_id": None}, "`user_id` is missing"),
        ({"if_chosen": "maybe"}, "must be true or false"),
    ],
)
def test_utterances_refused(change, said):
    with pytest.raises(RecordError, match=said):
        read("prism_utterances", UTTERANCE | change)


def test_each_turn_of_community_alignment_is_a_record():
    first, second = read("community_alignment", CHOICES)
    [choice] = first.judgments
    assert choice.ranks == {"response_a": 2, "response_b": 1, "response_c": 2, "response_d": 2}
    assert choice.rationale == "Short."
    assert choice.rater.group == {"country": "india", "age": "18-34"}
    assert [m.text for m in second.context] == ["Hi", "B", "And?"]
    assert first.tags == {"conversation": "1", "language": "en", "turn": 0}
    assert second.meta == {"follows": "1/0"}
    assert len(load([CHOICES]).lists()) == 2


THIRD = {key.replace("second", "third"): CHOICES[key] for key in CHOICES if "second" in key}
GAP = {key: None for key in CHOICES if "second" in key}


@pytest.mark.parametrize("change", [GAP | THIRD, {"first_turn_preferred_response": None}])
def test_a_turn_whose_context_has_a_gap_is_in_no_view(change):
    """The full file has such conversations; the turn must not be taken for what it is not."""
    records = load([CHOICES | change])
    assert [record.tags.get("malformed") for record in records] == [None, True]
    lists = records.lists()
    assert len(lists) == ("first_turn_preferred_response" not in change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first_turn_preferred_response": "response_e"}, "must be one of the responses"),
        ({"second_turn_prompt": None}, "`second_turn_prompt` is missing"),
        ({"first_turn_mood": "x"}, "unknown key `first_turn_mood`"),
    ],
)
def test_community_alignment_refuses(change, said):
    with pytest.raises(RecordError, match=said):
        read("community_alignment", CHOICES | change)
