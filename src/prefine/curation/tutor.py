"""Tutoring: what a student says at a step of a solution, and which reply a rule table asks for."""

import random
from dataclasses import dataclass
from typing import ClassVar, Literal

from prefine.curation.edits import applied, possible
from prefine.curation.operator import Made, derived
from prefine.errors import ConfigError
from prefine.records import Candidate, Judgment, Message, Rater, Record
from prefine.records.votes import SetAside

RULES = {
    "right": "confirm",
    "partly_right": "hint",
    "wrong": "question",
    "stuck": "hint",
    "asks_for_answer": "question",
}
"""What the student did -> what a tutor does. The answer is never given."""

ACTIONS = ("confirm", "hint", "question", "answer")
OPENING = "Let us go step by step. So far we have: {before}\nWhat is the next step?"
STUDENT = {
    "right": "{step}",
    "partly_right": "It begins like this: {half} ...",
    "wrong": "{wrong}",
    "stuck": "I do not know how to go on.",
    "asks_for_answer": "Can you just tell me?",
}
REPLIES = {
    "confirm": "That is right. What follows from it?",
    "hint": "Think of how it might begin: {more} ... How does it go on?",
    "question": "Let us look again. What do we know, and what are we asked to find here?",
    "answer": "The next step is: {step}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tutor:
    """A solution in steps becomes tutoring: at each step a student's turn and a tutor's replies.

    The student is a machine of five states: right, partly right, wrong, stuck, asking for the
    answer. One is drawn for each step; a wrong turn is the step with a number or a negation
    changed, so a step without either is never said wrongly. Of four replies (confirm, hint,
    question, answer) a rule table says which one is right, and it wins against the others.

    The tag `student` holds the state; a `signal` judgment of the aspect `action` labels each reply.
    What was judged of the whole solution does not carry over to its steps.

    Attributes:
        against: answer: the right reply against the plain answer; all: against all three.
        seed: Of states and of what is wrong.

    Raises:
        ConfigError: If `against` is neither.

    Source:
        Pedagogical alignment, Sonkar et al. 2024, arXiv:2402.05000. Rules, states and words are
        ours, after its description: there a model plays the student.

    Example:
        >>> from prefine.records import Step
        >>> steps = (Step("2 + 2 is 4."), Step("4 times 3 is 12."))
        >>> told = Candidate("c0", (Message("assistant", "12"),), steps=steps)
        >>> record = Record(context=(Message("user", "(2 + 2) x 3?"),), candidates=(told,))
        >>> made = list(Tutor()(record))
        >>> len(made), [candidate.id for candidate in made[0].candidates]
        (2, ['confirm', 'hint', 'question', 'answer'])
        >>> made[0].judgments[0].winner == RULES[made[0].tags["student"]]
        True
    """

    name: ClassVar[str] = "tutor"

    against: Literal["answer", "all"] = "answer"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.against not in ("answer", "all"):
            raise ConfigError(f"`against` must be answer or all, got {self.against!r}.")

    def __call__(self, record: Record) -> Made:
        """Yield a record for each step, or why there is none."""
        stepped = [candidate for candidate in record.candidates if candidate.steps]
        right = [candidate for candidate in stepped if is_right(candidate)]
        if record.tags.get("form") == "text":
            yield SetAside("raw text, not a dialogue")
        elif not stepped:
            yield SetAside("no solution in steps")
        elif not right:
            yield SetAside("a step that is wrong, or is no text")
        else:
            steps = [str(step.text) for step in right[0].steps]
            for number in range(len(steps)):
                yield self._turn(record, steps, number)

    def _turn(self, record: Record, steps: list[str], number: int) -> Record:
        rng = random.Random(f"{self.seed}/{record.id}/{number}")
        step = steps[number]
        edits = possible(step, (), ("number", "negation"), rng)
        state = rng.choice([one for one in RULES if one != "wrong" or edits])
        parts = {
            "step": step,
            "half": beginning(step, 0.5),
            "more": beginning(step, 0.75 if state == "partly_right" else 0.5),
            "wrong": applied(step, [rng.choice(edits)]) if edits else "",
        }
        before = " ".join(steps[:number]) or "nothing yet."
        context = (
            *record.context,
            Message("assistant", OPENING.format(before=before)),
            Message("user", STUDENT[state].format(**parts)),
        )
        replies = {name: REPLIES[name].format(**parts) for name in ACTIONS}
        rater, winner = Rater(self.name, "rule"), RULES[state]
        losers = [n for n in ACTIONS if n != winner and self.against in ("all", n)]
        verdicts = [
            Judgment(f"rule-{loser}", "pair", (winner, loser), rater, winner=winner)
            for loser in losers
        ]
        labels = [
            Judgment(
                f"action-{name}", "signal", (name,), rater, "action",
                target=name, polarity=0, category=(name,),
            )
            for name in ACTIONS
        ]  # fmt: skip
        return derived(
            record, self, number,
            context=context,
            candidates=tuple(
                Candidate(name, (Message("assistant", text),)) for name, text in replies.items()
            ),
            judgments=(*verdicts, *labels),
            tags={"student": state},
        )  # fmt: skip


def is_right(solution: Candidate) -> bool:
    """Whether all steps are texts that nobody found wrong."""
    return all(
        step.text and (step.label is None or step.label is True or step.label > 0)
        for step in solution.steps
    )


def beginning(text: str, share: float) -> str:
    """Return the first words of a text: a share of them, but one at least, and never all of many.

    Example:
        >>> beginning("4 times 3 is 12.", 0.5)
        '4 times'
    """
    found = text.split()
    return " ".join(found[: max(1, int(share * len(found)))])
