"""Solutions rated step by step: Math-Shepherd, OpenRLHF's process rewards, PRM800K."""

import copy
import json
from pathlib import Path

import pytest

from prefine.errors import RecordError
from prefine.records import load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

SAMPLES = Path(__file__).parent / "samples"
# The example of the data card, its question cut.
SHEPHERD = json.loads((SAMPLES / "math_shepherd.json").read_text("utf-8"))
# The row of the project's README.
PRM = json.loads((SAMPLES / "prm800k.json").read_text("utf-8"))


def read(name, row):
    return FORMATS[name].read(row, Where("x.jsonl", 0))


def test_one_real_solution():
    record = read("math_shepherd", SHEPHERD)
    assert record.context[0].text.startswith("If Buzz bought a pizza with 78 slices")
    assert record.context[0].text.endswith("?")
    [candidate] = record.candidates
    assert [step.label for step in candidate.steps] == [True, False, False, False, False]
    assert candidate.steps[1].text == (
        "Step 2: The waiter ate 13 x 8 / 13 = <<13*8/13=6>>6 slices of the pizza."
    )
    assert candidate.text == "\n".join(step.text for step in candidate.steps)
    assert record.tags == {"task": "GSM8K"}
    assert list(FORMATS["math_shepherd"].write(record)) == [SHEPHERD]
    assert FORMATS["math_shepherd"].losses(record) == frozenset()


def test_a_question_that_stands_apart():
    row = {"input": "2 + 2?\n\nStep 1: It is 4. ки", "label": "2 + 2?\n\nStep 1: It is 4. +"}
    record = read("math_shepherd", row)
    assert record.context[0].text == "2 + 2?"
    assert record.candidates[0].steps[0].text == "Step 1: It is 4."


@pytest.mark.parametrize(
    ("labels", "steps"), [(["+", "-"], [True, False]), ([1, 0.5], [1, 0.5]), ([None, 1], [None, 1])]
)
def test_process_rewards_of_openrlhf(labels, steps):
    row = {"input": "Why? Step 1: A. ки\nStep 2: B. ки", "label": labels}
    assert load([row]).format == "math_shepherd"
    assert [s.label for s in read("math_shepherd", row).candidates[0].steps] == steps


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input": SHEPHERD["input"] + " More."}, "must end each step with"),
        ({"input": "Why? A. ки", "label": "Why? A. +"}, "has no `Step 1: `"),
        ({"label": SHEPHERD["input"]}, "must repeat step 1"),
        ({"label": SHEPHERD["label"] + "!"}, "goes on where `input` ends"),
        ({"label": ["+"]}, "5 steps in `input`, but 1 in `label`"),
        ({"label": ["*"] * 5}, "must be a number"),
    ],
)
def test_math_shepherd_refuses(change, said):
    with pytest.raises(RecordError, match=said):
        read("math_shepherd", SHEPHERD | change)


def test_a_solution_that_stopped_at_an_error():
    record = read("prm800k", PRM)
    assert record.context[0].text.startswith("What is the greatest common factor of $20 !$")
    names = [candidate.id for candidate in record.candidates]
    assert names == ["s2c0", "s2c1", "s2c2", "s2c3", "s2c4"]
    first, second = record.candidates[:2]
    assert [step.label for step in first.steps] == [0, 0, -1]
    assert [step.label for step in second.steps] == [0, 0, 0]
    assert first.steps[:2] == second.steps[:2]
    assert record.meta["labeler"] == "340d89bc-f5b7-45e9-b272-909ba68ee363"
    assert record.meta["finish_reason"] == "found_error"
    assert record.meta["question"]["pre_generated_answer"] == "320,000"


def finished():
    """The same row, gone on with: the second completion of the last step, then one by hand."""
    row = copy.deepcopy(PRM)
    steps = row["label"]["steps"]
    steps[2]["chosen_completion"] = 1
    steps.append(
        {
            "completions": [{"text": "Wrong.", "rating": -1, "flagged": False}],
            "human_completion": {"text": "Right.", "rating": 1, "flagged": False},
            "chosen_completion": None,
        }
    )
    return row


def test_a_solution_that_was_finished_by_hand():
    record = read("prm800k", finished())
    assert [c.id for c in record.candidates] == ["s2c0", "s2c2", "s2c3", "s2c4", "s3c0", "chosen"]
    wrong, chosen = record.candidates[-2:]
    assert [step.label for step in chosen.steps] == [0, 0, 0, 1]
    assert [step.label for step in wrong.steps] == [0, 0, 0, -1]
    assert wrong.origin.kind == "model"
    assert chosen.origin is None  # partly a person's
    row = finished()
    row["label"]["steps"][-1]["human_completion"] = "Right."
    assert read("prm800k", row).candidates[-1].steps[-1].label is None


@pytest.mark.parametrize(
    ("at", "change", "said"),
    [
        (0, {"chosen_completion": 1}, "must be one of 1, got 1"),
        (0, {"chosen_completion": True}, "must be one of 1, got True"),
        (0, {"chosen_completion": None}, "step 1 follows a step of which no completion was chosen"),
        (0, {"completions": [{"text": "x", "rating": -2}]}, "at least -1"),
        (0, {"mood": "x"}, "unknown key `mood`"),
    ],
)
def test_prm800k_refuses(at, change, said):
    row = copy.deepcopy(PRM)
    row["label"]["steps"][at].update(change)
    with pytest.raises(RecordError, match=said):
        read("prm800k", row)


def test_a_pass_without_completions_is_refused():
    with pytest.raises(RecordError, match=r"`label\.steps` has no completion"):
        read("prm800k", PRM | {"label": {"steps": [], "finish_reason": "bad_problem"}})
