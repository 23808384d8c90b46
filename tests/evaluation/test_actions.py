"""The action of the likeliest reply, against the action of the reply that wins."""

from typing import Any

import numpy as np
import pytest

from prefine.curation import Tutor
from prefine.errors import NonFiniteError, StatisticError
from prefine.evaluation import Actions, action_report, actions_of
from prefine.evaluation.actions import macro_f1
from prefine.records import Candidate, Judgment, Message, Rater, Record, Step

RULE = Rater("rule", "rule")
NAMES = ("hint", "question", "answer")


def turn(number: int, right: str, cluster: str | None = None) -> Actions:
    return Actions(f"r{number}", cluster or f"r{number}", NAMES, right)


def reported(turns: list[Actions], values: list[list[float]], tokens: Any = None) -> Any:
    names = [one.record for one in turns]
    lengths = tokens or [[1.0] * 3] * len(turns)
    return action_report(
        turns, dict(zip(names, values, strict=True)), dict(zip(names, lengths, strict=True))
    )


def test_accuracy_and_f1_by_hand() -> None:
    # right: hint hint question answer; taken: hint answer question question
    turns = [turn(n, right) for n, right in enumerate(("hint", "hint", "question", "answer"))]
    report = reported(turns, [[-1, -2, -3], [-3, -2, -1], [-3, -1, -2], [-2, -1, -3]])
    assert report["action_scored"].value == 1.0
    assert report["action_accuracy"].value == 0.5
    # hint: 1 of 2 found, never in vain, 2 / 3; question: 2 / 3; answer: 0
    assert report["action_f1"].value == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert report["action_f1"].low < report["action_f1"].value < report["action_f1"].high
    assert report["action_f1"].n_clusters == 4


def test_tokens_not_sums_decide() -> None:
    # -8 over 8 tokens is likelier a token than -3 over 1, though the sum is lower
    report = reported([turn(0, "hint")], [[-8, -9, -3]], [[8, 3, 1]])
    assert report["action_accuracy"].value == 1.0


def test_turns_of_one_record_stand_together() -> None:
    turns = [turn(n, "hint", "same") for n in range(3)]
    report = reported(turns, [[-1, -2, -3]] * 3)
    assert report["action_accuracy"].n_clusters == 1
    assert "no interval" in report["action_f1"].method


def test_what_was_not_scored_is_counted() -> None:
    turns = [turn(0, "hint"), turn(1, "hint"), turn(2, "hint")]
    nan = float("nan")
    report = action_report(
        turns, {"r0": [-1, -2, -3], "r1": [-1, nan, -2]}, {"r0": [1, 1, 1], "r1": [1, 1, 1]}
    )
    assert report["action_scored"].value == pytest.approx(1 / 3)
    assert report["action_accuracy"].value == 1.0
    assert report["action_accuracy"].n == 1


def test_always_the_same_action_has_a_low_f1() -> None:
    """Nine of ten are hints: accuracy 0.9, and F1 half of 18 / 19."""
    both = [[0.0, 0.0]] * 9 + [[1.0, 0.0]]
    assert macro_f1(np.array(both)) == pytest.approx((18 / 19 + 0) / 2)


def test_numbers_that_do_not_fit() -> None:
    one = [turn(0, "hint")]
    with pytest.raises(StatisticError, match="No turn names the actions"):
        action_report([], {}, {})
    with pytest.raises(StatisticError, match="has 3 replies, but numbers of shape"):
        reported(one, [[-1, -2]])
    with pytest.raises(StatisticError, match="is empty"):
        reported(one, [[-1, -2, -3]], [[1, 0, 1]])
    with pytest.raises(NonFiniteError, match="infinite log-probability"):
        reported(one, [[-1, float("-inf"), -3]])


@pytest.fixture
def tutoring() -> Record:
    told = Candidate("c0", (Message("assistant", "4"),), steps=(Step("2 + 2 is 4."),))
    question = Record(context=(Message("user", "2 + 2?"),), candidates=(told,))
    (made,) = Tutor(against="all")(question)
    assert isinstance(made, Record)
    return made


def changed(record: Record, judgments: list[Judgment]) -> Record:
    return Record(context=record.context, candidates=record.candidates, judgments=tuple(judgments))


def test_labels_and_the_winner_are_read(tutoring: Record) -> None:
    found = actions_of(tutoring)
    assert found is not None
    assert found.of == ("confirm", "hint", "question", "answer")
    assert found.right == tutoring.judgments[0].winner


def test_who_won_and_lost_is_not_the_best(tutoring: Record) -> None:
    labels = [j for j in tutoring.judgments if j.kind == "signal"]
    steps = [("question", "hint"), ("hint", "answer")]
    chain = [
        Judgment(f"p{n}", "pair", names, RULE, winner=names[0]) for n, names in enumerate(steps)
    ]
    found = actions_of(changed(tutoring, [*chain, *labels]))
    assert found is not None
    assert found.right == "question"
    circle = Judgment("p2", "pair", ("answer", "question"), RULE, winner="answer")
    assert actions_of(changed(tutoring, [*chain, circle, *labels])) is None


def test_turns_that_say_too_little(tutoring: Record) -> None:
    verdicts = [j for j in tutoring.judgments if j.kind == "pair"]
    labels = [j for j in tutoring.judgments if j.kind == "signal"]
    right = verdicts[0].winner
    assert actions_of(changed(tutoring, verdicts)) is None
    assert actions_of(changed(tutoring, labels)) is None, "nobody won"
    unlabelled = [j for j in labels if j.target != right]
    assert actions_of(changed(tutoring, [*verdicts, *unlabelled])) is None
    again = Judgment(
        "again", "signal", ("hint",), RULE, "action", target="hint", polarity=0, category=("other",)
    )
    assert actions_of(changed(tutoring, [*verdicts, *labels, again])) is None
    other = next(j.target for j in labels if j.target not in (right, "answer"))
    some = [j for j in labels if j.target != other]
    found = actions_of(changed(tutoring, [*verdicts, *some]))
    assert found is not None
    assert found.of.count(None) == 1
