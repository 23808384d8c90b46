r"""PRM800K (Lightman et al. 2023, arXiv:2305.20050, MIT): solutions rated step by step.

A row of github.com/openai/prm800k is one labeler's pass over a solution. Each step has one or more
completions, rated -1, 0 or 1 (a flagged one may have no rating), of which one was gone on with, or
a completion written by the labeler. The candidate `chosen` is what was gone on with from first to
last; every other completion is a candidate of its own, called `s0c1` for the second of the first
step, after the steps that were chosen before it. All have their ratings as labels of their steps.
Where the labeling stopped at an error there is no `chosen`. Who labeled when, the given solution
and why it ended stay in `meta`. The row of the project's README, texts cut at [...]:

    {
      "labeler": "340d89bc-f5b7-45e9-b272-909ba68ee363",
      "timestamp": "2023-01-22T04:34:27.052924",
      "generation": 9,
      "is_quality_control_question": false,
      "is_initial_screening_question": false,
      "question": {"problem": "What is the greatest common factor of [...]", […]},
      "label": {
        "steps": [
          {
            "completions": [
              {"text": "I want to find the largest [...]", "rating": 0, "flagged": null}
            ],
            "human_completion": null,
            "chosen_completion": 0
          },
          […]
        ],
        "total_time": 278270,
        "finish_reason": "found_error"
      }
    }
"""

from collections.abc import Iterator
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    Format,
    RowDict,
    Where,
    number_of,
    object_of,
    only,
    text_of,
)
from prefine.records.formats.rows import kept, objects
from prefine.records.formats.trl import user
from prefine.records.message import Message, Step
from prefine.records.schema import Candidate, Origin, Record

NAME = "prm800k"
META = (
    "labeler",
    "timestamp",
    "generation",
    "is_quality_control_question",
    "is_initial_screening_question",
)
OF_LABEL = ("total_time", "finish_reason")
OF_STEP = ("completions", "human_completion", "chosen_completion")
OF_COMPLETION = ("text", "rating", "flagged", "source", "corrected_rating")


def matches(row: RowDict) -> bool:
    """A problem, and labels of steps."""
    question, label = row.get("question"), row.get("label")
    return isinstance(question, dict) and isinstance(label, dict) and "steps" in label


def read(row: RowDict, where: Where) -> Record:
    """Make a record with a candidate for what was chosen, and for each completion that was not."""
    only(row, ("question", "label", *META), NAME)
    question, label = object_of(row, "question"), object_of(row, "label")
    only(label, ("steps", *OF_LABEL), f"`label` of {NAME}")
    candidates = tuple(_candidates(objects(label, "steps")))
    if not candidates:
        raise RecordError("`label.steps` has no completion.")
    about = {key: value for key, value in question.items() if key != "problem"}
    return Record(
        source=where.source(),
        context=user(text_of(question, "problem")),
        candidates=candidates,
        meta={
            **kept(row, *META),
            **kept(label, *OF_LABEL),
            **({"question": about} if about else {}),
        },
    )


def _candidates(steps: list[RowDict]) -> Iterator[Candidate]:
    before: list[Step] = []
    human = stopped = False
    for at, step in enumerate(steps):
        only(step, OF_STEP, f"a step of {NAME}")
        if stopped:
            raise RecordError(f"step {at} follows a step of which no completion was chosen.")
        given = [_step(value) for value in objects(step, "completions")]
        chosen = step.get("chosen_completion")
        if chosen is not None and (type(chosen) is not int or not 0 <= chosen < len(given)):
            raise RecordError(
                f"`chosen_completion` of step {at} must be one of {len(given)}, got "
                f"{short(chosen)}."
            )
        for number, other in enumerate(given):
            if number != chosen:
                yield _candidate(f"s{at}c{number}", [*before, other], human=human)
        if chosen is not None:
            before.append(given[chosen])
        elif step.get("human_completion") is not None:
            before.append(_human(step["human_completion"]))
            human = True
        else:
            stopped = True
    if before and not stopped:
        yield _candidate("chosen", before, human=human)


def _step(value: RowDict) -> Step:
    only(value, OF_COMPLETION, f"a completion of {NAME}")
    return Step(text=text_of(value, "text"), label=number_of(value, "rating", low=-1))


def _human(value: Any) -> Step:
    """Return a step that the labeler wrote, as text or as an object with its rating."""
    return _step({"text": value} if isinstance(value, str) else object_of({"step": value}, "step"))


def _candidate(name: str, steps: list[Step], *, human: bool) -> Candidate:
    text = "\n".join(step.text or "" for step in steps)
    origin = None if human else Origin("model")
    return Candidate(name, (Message("assistant", text),), origin=origin, steps=tuple(steps))


FORMAT = Format(
    name=NAME,
    description="PRM800K: question and label, whose steps have rated completions",
    kinds=frozenset({"json"}),
    matches=matches,
    read=read,
)
