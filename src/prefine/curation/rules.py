"""Changes of a text by rule: numbers, negations and names."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "negation", "name"]
NUMBER = re.compile(r"(?<![\w.,])\d{1,12}(?:\.\d{1,6})?(?!\w)")
VERBS = "is|are|was|were|has|have|had|can|could|will|would|should|must|may|does|do|did"
NEGATION = re.compile(rf"\b({VERBS})( not)?\b(?! not)", re.IGNORECASE)
NAME = re.compile(r"(?<=[\w,;:] )[A-Z][\w-]+(?: [A-Z][\w-]+)*")
"""Capitalised words, but not at the start of a sentence."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a text.

    Attributes:
        kind: number, negation or name.
        start: Where the old text starts, in characters.
        old: What stood there.
        new: What stands there now.
    """

    kind: str
    start: int
    old: str
    new: str


def changed_number(
    found: re.Match[str], text: str, others: Sequence[str], rng: random.Random
) -> str:
    """Return another number with as many digits after the point."""
    old = found[0]
    digits = len(old.partition(".")[2])
    while True:
        new = f"{float(old) * rng.choice((0.1, 0.5, 2, 10)) + rng.randint(1, 9):.{digits}f}"
        if float(new) != float(old):
            return new


def turned(found: re.Match[str], text: str, others: Sequence[str], rng: random.Random) -> str:
    """Return a verb with `not` behind it, or without."""
    return found[1] if found[2] else f"{found[1]} not"


def other_name(
    found: re.Match[str], text: str, others: Sequence[str], rng: random.Random
) -> str | None:
    """Return another name of the text or of its prompt."""
    names = {one for part in (text, *others) for one in NAME.findall(part)} - {found[0]}
    return rng.choice(sorted(names)) if names else None


Change = Callable[[re.Match[str], str, Sequence[str], random.Random], str | None]
RULES: dict[str, tuple[re.Pattern[str], Change]] = {
    "number": (NUMBER, changed_number),
    "negation": (NEGATION, turned),
    "name": (NAME, other_name),
}


def possible(
    text: str, others: Sequence[str], kinds: Sequence[str], rng: random.Random
) -> list[Edit]:
    """Return an edit of every place of a text that a rule knows, in order; none overlap.

    Example:
        >>> text = "The dose is 5 mg for Anna."
        >>> [edit.old for edit in possible(text, ["For Ben?"], list(RULES), random.Random(0))]
        ['is', '5', 'Anna']
    """
    edits: list[Edit] = []
    for kind in kinds:
        pattern, change = RULES[kind]
        for found in pattern.finditer(text):
            new = change(found, text, others, rng)
            if new is not None:
                edits.append(Edit(kind, found.start(), found[0], new))
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: edit.start):
        if not kept or edit.start >= kept[-1].start + len(kept[-1].old):
            kept.append(edit)
    return kept


def applied(text: str, edits: Sequence[Edit]) -> str:
    """Return a text with edits that do not overlap.

    Example:
        >>> applied("5 mg", [Edit("number", 0, "5", "50")])
        '50 mg'
    """
    for edit in sorted(edits, key=lambda edit: -edit.start):
        text = text[: edit.start] + edit.new + text[edit.start + len(edit.old) :]
    return text
