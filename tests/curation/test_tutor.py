"""A student of five states, and the reply that a rule table asks for."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from prefine.curation import Tutor, Writer, curate
from prefine.curation.tutor import ACTIONS, OPENING, REPLIES, RULES, STUDENT
from prefine.errors import ConfigError
from prefine.records import Message, Part, Records, Step
from prefine.records.votes import SetAside

STEPS = ("2 + 2 is 4.", "4 times 3 is 12.", "So we are done.")


@pytest.fixture
def solved(make_record):
    """Return `solved(*labels)`: a question with a solution in three steps."""

    def make(*labels: Any, texts: Any = STEPS, row: int = 0) -> Any:
        labels = labels or (None,) * len(texts)
        record = make_record((" ".join(texts),), prompt="(2 + 2) x 3?", row=row)
        steps = tuple(Step(text, label=label) for text, label in zip(texts, labels, strict=True))
        return replace(record, candidates=(replace(record.candidates[0], steps=steps),))

    return make


def test_every_step_is_a_turn(solved):
    made = list(Tutor()(solved()))
    assert len(made) == 3
    assert [m.text for m in made[1].context[:2]] == [
        "(2 + 2) x 3?",
        OPENING.format(before="2 + 2 is 4."),
    ]
    assert "nothing yet." in made[0].context[1].text
    assert [m.role for m in made[0].context] == ["user", "assistant", "user"]
    assert len({one.id for one in made}) == 3
    assert len({one.cluster for one in made}) == 1, "steps of a problem stay together"


def test_the_answer_is_never_the_right_reply():
    assert "answer" not in RULES.values()
    assert set(RULES.values()) == set(ACTIONS) - {"answer"}
    assert RULES.keys() == STUDENT.keys()


def test_the_rules_decide(solved):
    found: Counter[str] = Counter()
    for row in range(40):
        for one in Tutor(against="all")(solved(row=row)):
            state = str(one.tags["student"])
            found[state] += 1
            verdicts = [j for j in one.judgments if j.kind == "pair"]
            assert {j.winner for j in verdicts} == {RULES[state]}
            assert {j.shown[1] for j in verdicts} == set(ACTIONS) - {RULES[state]}
            labels = {j.target: j.category for j in one.judgments if j.kind == "signal"}
            assert labels == {name: (name,) for name in ACTIONS}
    assert found.keys() == RULES.keys()


def test_what_the_student_says(solved):
    for row in range(40):
        for number, one in enumerate(Tutor()(solved(row=row))):
            said, step = one.context[-1].text, STEPS[number]
            match one.tags["student"]:
                case "right":
                    assert said == step
                case "wrong":
                    assert said != step
                    assert abs(len(said.split()) - len(step.split())) <= 1
                case "partly_right":
                    assert step not in said
                case other:
                    assert said == STUDENT[other]
            answer = one.candidate("answer").text
            assert answer == REPLIES["answer"].format(step=step)
            assert step not in one.candidate("hint").text, "a hint gives nothing away"


def test_a_step_that_no_rule_can_change_is_never_said_wrongly(solved):
    states = {
        one.tags["student"]
        for row in range(60)
        for one in Tutor()(solved(texts=("Add both sides.",), row=row))
    }
    assert "wrong" not in states
    assert len(states) == 4


def test_views_hold_the_right_reply_against_the_answer(solved):
    made = curate(Records.of([solved()]), Tutor())
    assert len(made.pairs()) == 3
    assert len(curate(Records.of([solved()]), Tutor(against="all")).pairs()) == 9
    assert all("The next step is" in row["responses"][1] for row in made.pairs().rows)


def test_what_is_no_solution_is_set_aside(solved, make_record):
    def reason(record: Any) -> list[str]:
        return [one.reason for one in Tutor()(record) if isinstance(one, SetAside)]

    assert reason(make_record()) == ["no solution in steps"]
    assert reason(solved(True, False, True)) == ["a step that is wrong, or is no text"]
    assert reason(solved(1, -1, 1)) == ["a step that is wrong, or is no text"]
    assert reason(solved(True, 1, None)) == []
    raw = replace(solved(), context=(Message("user", "2?"),), tags={"form": "text"})
    assert reason(raw) == ["raw text, not a dialogue"]


def test_options_that_make_no_sense():
    with pytest.raises(ConfigError, match="`against` must be"):
        Tutor(against="hint")  # type: ignore[arg-type]


# --- A model that plays the student ---


@pytest.fixture
def student(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return `make(words)`: a function as a student, who says these words to everything."""

    def make(words: str, heard: list[Any] | None = None) -> Writer:
        def write(prompts: list[str], completions: list[str]) -> list[str]:
            if heard is not None:
                heard.extend(zip(prompts, completions, strict=True))
            return [words] * len(prompts)

        monkeypatch.setattr("prefine.curation.tutor.said_for_tests", write, raising=False)
        return Writer("prefine.curation.tutor:said_for_tests")

    return make


def test_a_student_says_wrong_steps_in_words_of_its_own(solved, student):
    heard: list[Any] = []
    records = Records.of(solved(row=row) for row in range(20))
    made = curate(records, Tutor(student=student("It is a fish.", heard)))
    assert len(made) == 60
    wrong = [one for one in made if one.tags["student"] == "wrong"]
    assert len(heard) == len(wrong) > 0
    for one in wrong:
        assert one.context[-1].text == "It is a fish."
        assert one.meta["student"]["model"] == "prefine.curation.tutor:said_for_tests"
        assert next(j.winner for j in one.judgments if j.kind == "pair") == RULES["wrong"]
    others = [one for one in made if one.tags["student"] != "wrong"]
    assert all("fish" not in one.context[-1].text and "student" not in one.meta for one in others)
    prompt, step = heard[0]
    assert prompt.startswith("user: (2 + 2) x 3?\nassistant: Let us go step by step.")
    assert step in STEPS


def test_any_step_may_be_said_wrongly(solved, student):
    """A rule cannot say `Add both.` wrongly; the states of the other steps do not change."""
    texts = (*STEPS[:2], "Add both.")
    records = Records.of(solved(texts=texts, row=row) for row in range(30))
    by_rule = list(curate(records, Tutor()))
    by_model = list(curate(records, Tutor(student=student("It is a fish."))))
    states = [[one.tags["student"] for one in made] for made in (by_rule, by_model)]
    assert states[0][0::3] == states[1][0::3]
    assert states[0][1::3] == states[1][1::3]
    assert "wrong" in states[1][2::3]
    assert "wrong" not in states[0][2::3]


@pytest.mark.parametrize(
    ("words", "is_right"),
    [
        ("I think that 4 times  3 is 12, no?", True),
        ("4 TIMES 3 IS 12", True),
        ("4 times 3 is 120.", False),
        ("4 times 3 is 12.5", False),
        ("4 times 3 is 7.", False),
    ],
)
def test_a_student_that_says_the_right_step_makes_no_turn(solved, student, words, is_right):
    records = Records.of(solved(texts=("4 times 3 is 12.",), row=row) for row in range(20))
    made = curate(records, Tutor(student=student(words)))
    wrong = sum(one.tags["student"] == "wrong" for one in made)
    aside = made.set_aside.get("the student says the right step", 0)
    assert (wrong > 0, aside > 0) == (not is_right, is_right)
    assert len(made) + aside == 20


def test_what_a_student_cannot_say_is_counted(solved, student):
    records = [solved(row=row) for row in range(20)]
    pictures = (Message("user", (Part("image", uri="a.png"),)),)
    seen = Records.of(replace(record, context=pictures) for record in records)
    made = curate(seen, Tutor(student=student("It is a fish.")))
    assert made.set_aside.keys() == {"the prompt is more than text, which a student does not see"}
    silent = curate(Records.of(records), Tutor(student=student(" ")))
    assert silent.set_aside.keys() == {"an empty answer"}
    wrongly = next(r for r in records if any(m.tags["student"] == "wrong" for m in Tutor()(r)))
    with pytest.raises(ConfigError, match="`student` has not written"):
        list(Tutor(student=student("fish"))(wrongly))
