"""Tutoring: what a student says at a step of a solution, and which reply a rule table asks for."""

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from prefine.curation.operator import Made, derived
from prefine.curation.rules import Edit, applied, possible
from prefine.curation.writer import Answer, Request, Writer, answer_to, is_text
from prefine.errors import ConfigError
from prefine.records import Candidate, Judgment, Message, Rater, Record
from prefine.records.message import spoken
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

WORD = re.compile(r"\w[\w.]*\w|\w|[^\w\s]")

ASKED = (
    "You play a student who gets things wrong. Below are a problem with the steps so far, and the "
    "right next step. Say what a student would say who makes a plausible mistake in that step: a "
    "wrong number, a rule that does not hold here, a misread word. Do not say that it is wrong. "
    "Write the student's words and nothing else.\n\nSo far:\n{prompt}\n\nThe right next step:\n"
    "{response}"
)
"""What a model is asked that plays the student; {response} is the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tutor:
    """A solution in steps becomes tutoring: at each step a student's turn and a tutor's replies.

    The student is a machine of five states: right, partly right, wrong, stuck, asking for the
    answer. One is drawn for each step; a wrong turn is the step with a number or a negation
    changed, so a step without either is never said wrongly. Of four replies (confirm, hint,
    question, answer) a rule table says which one is right, and it wins against the others.

    With a `student`, a model writes the wrong turns, so that any step may be said wrongly; the
    other states stay as they are. It is told the right step and asked for a mistake. An answer that
    says the right step becomes no turn; nobody checks otherwise that it is wrong.

    The tag `student` holds the state; a `signal` judgment of the aspect `action` labels each reply.
    What was judged of the whole solution does not carry over to its steps.

    Attributes:
        against: answer: the right reply against the plain answer; all: against all three.
        student: Who writes wrong turns in place of rules: a model, or `module:function`.
        seed: Of states and of what is wrong.
        answers: What the student wrote, found by `with_answers`.

    Raises:
        ConfigError: If `against` is neither; from a call, if there is a student that was not asked
            yet.

    Source:
        Pedagogical alignment, Sonkar et al. 2024, arXiv:2402.05000. Rules, states and words are
        ours, after its description, in which a model plays the student.

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
    student: Writer | None = None
    seed: int = 0
    answers: Mapping[str, Answer] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.against not in ("answer", "all"):
            raise ConfigError(f"`against` must be answer or all, got {self.against!r}.")

    def with_answers(self, records: Iterable[Record], *, progress: bool = False) -> "Tutor":
        """Return the operator with what its student says to these records, if it has one."""
        if self.student is None:
            return self
        requests = (one for record in records for one in self._requests(record))
        instruction = self.student.instruction or ASKED
        answers = self.student.write(requests, instruction, seed=self.seed, progress=progress)
        return replace(self, answers=answers)

    def _requests(self, record: Record) -> Iterator[Request]:
        steps = steps_of(record)
        if isinstance(steps, SetAside) or not is_text(record.context):
            return
        for number, step in enumerate(steps):
            if self._state(record, step, number)[0] == "wrong":
                said = spoken((*record.context, opening(steps[:number])))
                yield Request(_key(record, number), said, step)

    def __call__(self, record: Record) -> Made:
        """Yield a record for each step, or why there is none."""
        steps = steps_of(record)
        if isinstance(steps, SetAside):
            yield steps
            return
        for number in range(len(steps)):
            yield self._turn(record, steps, number)

    def _state(self, record: Record, step: str, number: int) -> tuple[str, str]:
        """Return the student's state, and the step as a rule says it wrongly, if one can."""
        rng = random.Random(f"{self.seed}/{record.id}/{number}")
        edits: list[Edit] = possible(step, (), ("number", "negation"), rng)
        may_err = edits or self.student is not None
        state = rng.choice([one for one in RULES if one != "wrong" or may_err])
        return state, applied(step, [rng.choice(edits)]) if edits else ""

    def _said_wrongly(self, record: Record, step: str, number: int) -> Answer:
        if not is_text(record.context):
            return SetAside("the prompt is more than text, which a student does not see")
        answer = answer_to(_key(record, number), self.answers, "student")
        if isinstance(answer, str) and _words(step) in _words(answer):
            return SetAside("the student says the right step")
        return answer

    def _turn(self, record: Record, steps: list[str], number: int) -> Record | SetAside:
        step = steps[number]
        state, wrong = self._state(record, step, number)
        meta: dict[str, Any] = {}
        if state == "wrong" and self.student is not None:
            said = self._said_wrongly(record, step, number)
            if isinstance(said, SetAside):
                return said
            wrong, sampling = said, self.student.sampling(self.seed)
            meta = {"student": {"model": self.student.called, "sampling": sampling}}
        parts = {
            "step": step,
            "half": beginning(step, 0.5),
            "more": beginning(step, 0.75 if state == "partly_right" else 0.5),
            "wrong": wrong,
        }
        context = (
            *record.context,
            opening(steps[:number]),
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
            meta=meta,
        )  # fmt: skip


def steps_of(record: Record) -> list[str] | SetAside:
    """Return the steps of the first solution that is right, or why there are none."""
    stepped = [candidate for candidate in record.candidates if candidate.steps]
    right = [candidate for candidate in stepped if is_right(candidate)]
    if record.tags.get("form") == "text":
        return SetAside("raw text, not a dialogue")
    if not stepped:
        return SetAside("no solution in steps")
    if not right:
        return SetAside("a step that is wrong, or is no text")
    return [str(step.text) for step in right[0].steps]


def opening(before: list[str]) -> Message:
    """Return the tutor's turn that asks for the next step."""
    return Message("assistant", OPENING.format(before=" ".join(before) or "nothing yet."))


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


def _key(record: Record, number: int) -> str:
    return f"{record.id}/{number}"


def _words(text: str) -> str:
    """Words, numbers and signs with a space around each; the end of a sentence is none."""
    found = " ".join(WORD.findall(text.casefold().strip(" .!?\n")))
    return f" {found} "
