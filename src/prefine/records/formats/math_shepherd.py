r"""Math-Shepherd solutions (Wang et al. 2023, arXiv:2312.08935): steps, each right or not.

huggingface.co/datasets/peiyi9979/Math-Shepherd; the card names no licence. `input` is a question
and its solution, each step followed by `ки`; `label` is the same text with `+` (the step can still
lead to the right answer) or `-` in that place. Rows for OpenRLHF's process rewards are read too:
there `label` is a list of `+` and `-`, or of numbers. `task` is the set of the question. The
example of the data card, the question cut at [...]:

    {
      "input": "If Buzz bought a pizza with 78 slices at a restaurant [...]? Step 1: The total
                ratio representing the pizza is 5+8 = <<5+8=13>>13. ки\nStep 2: The waiter ate
                13 x 8 / 13 = <<13*8/13=6>>6 slices of the pizza. ки\n […]",
      "label": "If Buzz bought a pizza with 78 slices at a restaurant [...]? Step 1: The total
                ratio representing the pizza is 5+8 = <<5+8=13>>13. +\nStep 2: The waiter ate
                13 x 8 / 13 = <<13*8/13=6>>6 slices of the pizza. -\n […]",
      "task": "GSM8K"
    }
"""

import re
from collections.abc import Iterable
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    list_of,
    number_of,
    only,
    text_of,
)
from prefine.records.formats.rows import kept, losses_by_reading, question
from prefine.records.formats.trl import user
from prefine.records.message import Message, Step
from prefine.records.schema import Candidate, Record

NAME = "math_shepherd"
KNOWN = ("input", "label", "task")
TAG = "ки"
FIRST = re.compile(r"\s*(?=Step 1: )")
LABELS = {"+": True, "-": False}


def matches(row: RowDict) -> bool:
    """A question whose steps end in the tag, and labels."""
    said = row.get("input")
    return isinstance(said, str) and TAG in said and isinstance(row.get("label"), str | list)


def read(row: RowDict, where: Where) -> Record:
    """Make a record with one candidate, whose steps carry the labels."""
    only(row, KNOWN, NAME)
    said = text_of(row, "input")
    *pieces, rest = said.split(TAG)
    if not pieces or rest.strip():
        raise RecordError(f"`input` must end each step with {TAG}, got {short(said[-40:])}.")
    starts = list(FIRST.finditer(pieces[0]))
    if not starts:
        raise RecordError("`input` has no `Step 1: `: where the question ends is not known.")
    # Of an empty match behind the spaces and the one before them, the one before is meant.
    asked = pieces[0][: starts[-1].start()].rstrip()
    steps = [pieces[0][len(asked) :].strip(), *(piece.strip() for piece in pieces[1:])]
    labels = _labels(row, pieces)
    marked = tuple(Step(text=step, label=label) for step, label in zip(steps, labels, strict=True))
    return Record(
        source=where.source(),
        context=user(asked),
        candidates=(Candidate("c0", (Message("assistant", "\n".join(steps)),), steps=marked),),
        tags={"task": text_of(row, "task")} if row.get("task") is not None else {},
    )


def _labels(row: RowDict, pieces: list[str]) -> list[bool | float | None]:
    value = row.get("label")
    if isinstance(value, str):
        return [LABELS[sign] for sign in _signs(value, pieces)]
    values = list_of(row, "label")
    if len(values) != len(pieces):
        raise RecordError(f"{len(pieces)} steps in `input`, but {len(values)} in `label`.")
    return [
        LABELS[v] if isinstance(v, str) and v in LABELS else number_of({"label": v}, "label")
        for v in values
    ]


def _signs(label: str, pieces: list[str]) -> Iterable[str]:
    """Yield what stands in the label where the input has the tag; the rest must be the same."""
    at = 0
    for step, piece in enumerate(pieces, 1):
        at += len(piece)
        if label[at - len(piece) : at] != piece or label[at : at + 1] not in LABELS:
            raise RecordError(
                f"`label` must repeat step {step} of `input` with + or - for {TAG}, got "
                f"{short(label[at - len(piece) : at + 1][-40:])}."
            )
        yield label[at]
        at += 1
    if label[at:].strip():
        raise RecordError(f"`label` goes on where `input` ends: {short(label[at:])}.")


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for each candidate whose steps have a yes-or-no label and are numbered."""
    asked = question(record)
    if asked is None or asked != asked.rstrip() or FIRST.search(asked):
        return
    for candidate in record.candidates:
        steps: list[tuple[str, Any]] = [(step.text or "", step.label) for step in candidate.steps]
        texts = [text for text, _ in steps]
        sound = all(isinstance(label, bool) and TAG not in text for text, label in steps)
        if not steps or not sound or TAG in asked or not texts[0].startswith("Step 1: "):
            continue
        signs = ["+" if label else "-" for _, label in steps]
        whole = [f"{text} " for text in texts]
        yield {
            "input": f"{asked} " + "\n".join(f"{text}{TAG}" for text in whole),
            "label": f"{asked} " + "\n".join(map("".join, zip(whole, signs, strict=True))),
            **kept(record.tags, "task"),
        }


FORMAT = Format(
    name=NAME,
    description="Math-Shepherd: input with steps that end in ки, label with + or - for each",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
)
