"""Worse responses made of good ones: numbers, negations and names changed by rule."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from prefine.curation.goals import earlier
from prefine.curation.operator import Made, derived
from prefine.errors import ConfigError
from prefine.records import Candidate, Judgment, Message, Origin, Rater, Record
from prefine.records.views import Who
from prefine.records.votes import Pair, PairRule, SetAside, pairs_of

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """A good response against a copy of it in which facts are changed by rule.

    A record that was judged gives a pair for each response that won and is never beaten; one that
    nobody judged is a demonstration, and each of its responses gives a pair. The edited response
    names its parent, and an `edit` judgment holds what was changed; what raters had said stands
    under `"<aspect>, before edits"`. `salt` and `dpo` train on such pairs.

    Rules know no facts: a changed number is wrong only if the number was right and mattered.

    Attributes:
        kinds: number, negation (`not` set or taken away after a verb such as `is`), name (another
            one of the response or its prompt, so there must be two).
        count: Most edits of a response, in places drawn at random.
        aspect: Which aspect of the judgments says what is good, and which the new verdict has.
        seed: Of places and changes.

    Raises:
        ConfigError: If `count` is below 1 or a kind is none.

    Source:
        The high-to-low direction of SYNFAC-EDIT, Mishra et al. 2024, arXiv:2402.13919, with rules
        where the paper asks a model for one or two edits.

    Example:
        >>> from prefine.records import load
        >>> (record,) = load([{"prompt": "How much?", "completion": "It is 5 mg."}])
        >>> (made,) = Edits(kinds=("negation",))(record)
        >>> [candidate.text for candidate in made.candidates]
        ['It is 5 mg.', 'It is not 5 mg.']
    """

    name: ClassVar[str] = "edits"

    kinds: tuple[Kind, ...] = ("number", "negation", "name")
    count: int = 2
    aspect: str = "overall"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"`count` must be at least 1, got {self.count}.")
        if not self.kinds or set(self.kinds) - set(RULES):
            raise ConfigError(f"`kinds` must be of {', '.join(RULES)}, got {list(self.kinds)}.")

    def __call__(self, record: Record) -> Made:
        """Yield a pair for each good response, or why there is none."""
        number = 0
        for good in self._good(record):
            made = good if isinstance(good, SetAside) else self._pair(record, good, number)
            number += isinstance(made, Record)
            yield made

    def _good(self, record: Record) -> list[Candidate | SetAside]:
        if not record.judgments:
            return list(record.candidates) or [SetAside("no response")]
        won: set[str] = set()
        lost: set[str] = set()
        aside: list[Candidate | SetAside] = []
        for group in Who(self.aspect).groups(record, ("pair", "rank", "rate")):
            found = (
                [group] if isinstance(group, SetAside) else pairs_of(record, group[1], PairRule())
            )
            for pair in found:
                if isinstance(pair, Pair):
                    won.add(pair.chosen)
                    lost.add(pair.rejected)
                else:
                    aside.append(pair)
        return aside + [c for c in record.candidates if c.id in won - lost]

    def _pair(self, record: Record, good: Candidate, number: int) -> Record | SetAside:
        if len(good.messages) != 1 or not isinstance(good.messages[0].content, str):
            return SetAside("the response is more than one text")
        text = good.messages[0].content
        rng = random.Random(f"{self.seed}/{record.id}/{good.id}")
        edits = possible(text, [message.text for message in record.context], self.kinds, rng)
        if not edits:
            return SetAside("nothing that a rule can edit")
        picked = sorted(rng.sample(edits, min(self.count, len(edits))), key=lambda edit: edit.start)
        worse = self._worse(good, applied(text, picked))
        rater = Rater(self.name, "rule")
        names = (good.id, worse.id)
        ops = tuple({"kind": e.kind, "start": e.start, "old": e.old, "new": e.new} for e in picked)
        verdicts = (
            Judgment("edits", "pair", names, rater, self.aspect, winner=good.id),
            Judgment(
                "ops", "edit", names, rater, self.aspect,
                edit_from=good.id, edit_to=worse.id, ops=ops,
            ),
        )  # fmt: skip
        return derived(
            record, self, number,
            candidates=(good, worse),
            judgments=(*verdicts, *earlier(record.judgments, names, ", before edits")),
        )  # fmt: skip

    def _worse(self, good: Candidate, text: str) -> Candidate:
        message: Message = replace(good.messages[0], content=text)
        origin = Origin("edit", parent=good.id)
        return Candidate(f"{good.id}-edited", (message,), origin)
