"""Bad responses made of good ones by rule or by a model, or good ones that it makes of bad ones."""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from prefine.curation.differences import differences
from prefine.curation.goals import earlier
from prefine.curation.operator import Made, derived
from prefine.curation.rules import RULES, Edit, Kind, applied, possible
from prefine.curation.writer import Answer, Request, Writer, answer_to, is_text
from prefine.errors import ConfigError
from prefine.records import Candidate, Judgment, Message, Origin, Rater, Record
from prefine.records.message import spoken
from prefine.records.views import Who
from prefine.records.votes import Pair, PairRule, SetAside, pairs_of

KINDS: tuple[Kind, ...] = ("number", "negation", "name")
COUNT = 2

SHOWN = "\n\nThe request:\n{prompt}\n\nThe response:\n{response}"
INSTRUCTIONS = {
    "worse": (
        "Below are a request and a response to it. Make the response factually wrong in at most "
        "{count} places: change a fact, leave one out that matters, or add one that nothing in the "
        "request supports. Keep every other word as it is. Write the edited response and nothing "
        "else." + SHOWN
    ),
    "better": (
        "Below are a request and a response to it. Correct the facts of the response: change what "
        "is wrong, take out what nothing in the request supports, and add what matters and is "
        "missing. Keep every other word as it is. Write the corrected response and nothing else."
        + SHOWN
    ),
}
"""What an editor is asked, by direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """A good response against a copy of it in which facts are changed, by rule or by a model.

    A record that was judged gives a pair for each response that won and is never beaten; one that
    nobody judged is a demonstration, and each of its responses gives a pair. The edited response
    names its parent, and an `edit` judgment holds what was changed; what raters had said stands
    under `"<aspect>, before edits"`. `salt` and `dpo` train on such pairs.

    Rules know no facts: a changed number is wrong only if the number was right and mattered. Nor
    does anybody check a model's edits: the verdict is what it was asked for.

    With `direction=better` a model corrects each response that lost and never won, or each of a
    record that nobody judged, and the corrected one wins.

    Attributes:
        kinds: number, negation (`not` set or taken away after a verb such as `is`), name (another
            one of the response or its prompt, so there must be two). Of rules alone.
        count: Most edits of a response, in places drawn at random; {count} in an instruction.
        editor: Who edits in place of rules: a model, or `module:function`.
        direction: worse, or better, which takes an editor.
        kept: Least share of words that an editor leaves as they were, of either text; None for a
            half. An answer that keeps fewer is another response, or none.
        aspect: Which aspect of the judgments says what is good, and which the new verdict has.
        seed: Of places and changes, or of what the editor draws.
        answers: What the editor wrote, found by `with_answers`.

    Raises:
        ConfigError: If `count` is below 1 or a kind is none, or an option has no meaning beside the
            others; from a call, if there is an editor that was not asked yet.

    Source:
        SYNFAC-EDIT, Mishra et al. 2024, arXiv:2402.13919: its two directions, and a model that
        edits. The rules, and the words of the instructions, are ours.

    Example:
        >>> from prefine.records import load
        >>> (record,) = load([{"prompt": "How much?", "completion": "It is 5 mg."}])
        >>> (made,) = Edits(kinds=("negation",))(record)
        >>> [candidate.text for candidate in made.candidates]
        ['It is 5 mg.', 'It is not 5 mg.']
    """

    name: ClassVar[str] = "edits"

    kinds: tuple[Kind, ...] = KINDS
    count: int = COUNT
    editor: Writer | None = None
    direction: Literal["worse", "better"] = "worse"
    kept: float | None = None
    aspect: str = "overall"
    seed: int = 0
    answers: Mapping[str, Answer] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"`count` must be at least 1, got {self.count}.")
        if not self.kinds or set(self.kinds) - set(RULES):
            raise ConfigError(f"`kinds` must be of {', '.join(RULES)}, got {list(self.kinds)}.")
        if self.direction not in INSTRUCTIONS:
            raise ConfigError(f"`direction` must be worse or better, got {self.direction!r}.")
        if self.kept is not None and not 0 <= self.kept <= 1:
            raise ConfigError(f"`kept` must lie within 0 and 1, got {self.kept}.")
        if self.editor is None:
            self._check_rules()
        else:
            self._check_editor(self.editor)

    def _check_rules(self) -> None:
        if self.direction == "better":
            raise ConfigError(
                "`direction=better` asks for corrections, and rules know no facts to correct. Name "
                "a model that does: editor=MODEL."
            )
        if self.kept is not None:
            raise ConfigError(
                "`kept` guards against an editor that writes something else, and rules never do. "
                "Leave it out, or name an editor."
            )

    def _check_editor(self, editor: Writer) -> None:
        if self.kinds != KINDS:
            raise ConfigError(
                "`kinds` are of rules, and a model edits here. Say in editor.instruction what it "
                "is to change, or leave the editor out."
            )
        unread = editor.is_function or "{count}" not in self._asked_of(editor)
        if self.count != COUNT and unread:
            raise ConfigError(
                f"`count={self.count}` does nothing: no {{count}} stands in what the editor is "
                "asked. Leave `count` out, or put {count} into editor.instruction."
            )

    def _asked_of(self, editor: Writer) -> str:
        return editor.instruction or INSTRUCTIONS[self.direction]

    def with_answers(self, records: Iterable[Record], *, progress: bool = False) -> "Edits":
        """Return the operator with what its editor wrote for these records, if it has one."""
        if self.editor is None:
            return self
        requests = (one for record in records for one in self._requests(record))
        instruction = self._asked_of(self.editor).replace("{count}", str(self.count))
        answers = self.editor.write(requests, instruction, seed=self.seed, progress=progress)
        return replace(self, answers=answers)

    def _requests(self, record: Record) -> Iterator[Request]:
        for one in self._picked(record):
            if isinstance(one, Candidate) and not _unread(record, one):
                yield Request(_key(record, one), spoken(record.context), one.text)

    def __call__(self, record: Record) -> Made:
        """Yield a pair for each response that is edited, or why there is none."""
        number = 0
        for one in self._picked(record):
            made = one if isinstance(one, SetAside) else self._pair(record, one, number)
            number += isinstance(made, Record)
            yield made

    def _picked(self, record: Record) -> list[Candidate | SetAside]:
        """Return the responses to edit, and why groups of judgments name none."""
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
        picked = won - lost if self.direction == "worse" else lost - won
        return aside + [c for c in record.candidates if c.id in picked]

    def _pair(self, record: Record, old: Candidate, number: int) -> Record | SetAside:
        if not _is_one_text(old):
            return SetAside("the response is more than one text")
        by = self._by_rule if self.editor is None else self._by_editor
        text = old.text
        edits = by(record, old, text)
        if isinstance(edits, SetAside):
            return edits
        new = self._edited(old, applied(text, edits))
        names = (old.id, new.id)
        winner = old.id if self.direction == "worse" else new.id
        ops = tuple({"kind": e.kind, "start": e.start, "old": e.old, "new": e.new} for e in edits)
        rater = Rater(self.name, "rule")
        verdicts = (
            Judgment("edits", "pair", names, rater, self.aspect, winner=winner),
            Judgment(
                "ops", "edit", names, rater, self.aspect,
                edit_from=old.id, edit_to=new.id, ops=ops,
            ),
        )  # fmt: skip
        return derived(
            record, self, number,
            candidates=(old, new),
            judgments=(*verdicts, *earlier(record.judgments, names, ", before edits")),
        )  # fmt: skip

    def _by_rule(self, record: Record, old: Candidate, text: str) -> list[Edit] | SetAside:
        rng = random.Random(f"{self.seed}/{record.id}/{old.id}")
        edits = possible(text, [message.text for message in record.context], self.kinds, rng)
        if not edits:
            return SetAside("nothing that a rule can edit")
        return sorted(rng.sample(edits, min(self.count, len(edits))), key=lambda edit: edit.start)

    def _by_editor(self, record: Record, old: Candidate, text: str) -> list[Edit] | SetAside:
        if reason := _unread(record, old):
            return SetAside(reason)
        answer = answer_to(_key(record, old), self.answers, "editor")
        if isinstance(answer, SetAside):
            return answer
        if answer == text.strip():
            return SetAside("the editor changed nothing")
        before, _, after = text.partition(text.strip())
        edits, kept = differences(text, f"{before}{answer}{after}", "model")
        if kept < (0.5 if self.kept is None else self.kept):
            return SetAside("the editor kept too few words")
        return edits

    def _edited(self, old: Candidate, text: str) -> Candidate:
        message: Message = replace(old.messages[0], content=text)
        origin = Origin("edit", parent=old.id)
        if self.editor is not None:
            origin = replace(
                origin, model=self.editor.called, sampling=self.editor.sampling(self.seed)
            )
        return Candidate(f"{old.id}-edited", (message,), origin)


def _key(record: Record, old: Candidate) -> str:
    return f"{record.id}/{old.id}"


def _is_one_text(old: Candidate) -> bool:
    return len(old.messages) == 1 and isinstance(old.messages[0].content, str)


def _unread(record: Record, old: Candidate) -> str:
    """Why an editor is not asked about a response; empty if it is."""
    if not _is_one_text(old):
        return "the response is more than one text"
    if not is_text(record.context):
        return "the prompt is more than text, which an editor does not see"
    return "" if old.text.strip() else "an empty response"
