"""Few-shot preferences: what a person preferred elsewhere, in front of what is asked."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from prefine.curation.goals import placed
from prefine.curation.operator import Made, derived
from prefine.errors import ConfigError
from prefine.records import Candidate, Judgment, Record
from prefine.records.message import spoken
from prefine.records.views import Who
from prefine.records.votes import Pair, PairRule, SetAside, pairs_of

LAYOUT = "Example {number}\nQuestion: {prompt}\nPreferred: {chosen}\nDispreferred: {rejected}"
TASK = "Task\nQuestion:"
DESCRIBED = "Description: {description}\n\nResponse: {response}"


@dataclass(frozen=True, slots=True)
class Shot:
    """A decided pair of one person.

    Attributes:
        record: Id of its record.
        cluster: The record's cluster; no query of the same cluster is shown it.
        at: Position of the record in the data.
        prompt: What was asked, as text.
        chosen: The preferred response, as text.
        rejected: The other one.
    """

    record: str
    cluster: str
    at: int
    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """Some of a person's other pairs in the prompt, so that a policy learns to read them.

    A model trained on such records with a pair loss adapts to a new person from a few of their
    pairs, without training. Everything in the record stays: responses, judgments, raters and
    principal. The query's own pair is never shown, nor any pair with the same prompt. What was
    shown stands in `meta.shots`.

    With `describe`, the words are the same before both responses of a pair, so that they cancel in
    a loss of the two: `sft` on the preferred ones, which the source begins with, teaches a policy
    to write them, and the pairs then teach it what to answer once they are written.

    Shots that are picked from the whole data carry labels across a later split: divide by person
    first (`prefine data split --by principal`), then put each part through this operator.

    Attributes:
        count: How many.
        by: Whose: those of the record's principal, or of the rater. A record that several raters
            judged becomes one for each, with that rater's judgments.
        take: any: drawn at random from all of the person's other pairs; earlier: the last ones
            before the query, in the data's order.
        aspect: Which aspect of the judgments decides a pair.
        place: user: before the first user turn; system: in the system message.
        describe: What every response begins with, so that a policy first says who asks and then
            answers: `profile`, the words on the record's principal, or the name of a tag that
            holds such words. None for the response alone. `by` must be `principal`.
        seed: For `any`.
        pool: Person -> shots, found by `over`.

    Raises:
        ConfigError: If `count` is below 1, or a word is none that it takes; from `over`, if no
            record describes its principal.

    Source:
        Singh et al. 2025, FSPO, arXiv:2502.19312; order of the parts as in the official code. Train
        with `ipo` on summed log-probabilities.

    Example:
        >>> from prefine.records import Principal, load
        >>> rows = [{"prompt": f"{n}?", "chosen": "yes", "rejected": "no"} for n in range(3)]
        >>> by_ann = [replace(r, principal=Principal("ann")) for r in load(rows)]
        >>> (made,) = Shots(count=1).over(by_ann)(by_ann[0])
        >>> print(made.context[0].text[:60])  # doctest: +ELLIPSIS
        Example 1
        Question: ...
        Preferred: yes
        Dispreferred: no
        ...
    """

    name: ClassVar[str] = "shots"

    count: int = 4
    by: Literal["principal", "rater"] = "principal"
    take: Literal["any", "earlier"] = "any"
    aspect: str = "overall"
    place: Literal["user", "system"] = "user"
    describe: str | None = None
    seed: int = 0
    pool: Mapping[str, Sequence[Shot]] = field(
        default_factory=dict[str, Sequence[Shot]], repr=False
    )

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"`count` must be at least 1, got {self.count}.")
        for key, allowed in (
            ("by", ("principal", "rater")),
            ("take", ("any", "earlier")),
            ("place", ("user", "system")),
        ):
            if getattr(self, key) not in allowed:
                raise ConfigError(
                    f"`{key}` must be one of {', '.join(allowed)}, got {getattr(self, key)!r}."
                )
        if self.describe is not None and (not self.describe or self.by == "rater"):
            raise ConfigError(
                f"`describe={self.describe}` with `by={self.by}`: a description is of the record's "
                "principal. Name `profile` or a tag, with by=principal, or leave `describe` out."
            )

    def over(self, records: Iterable[Record]) -> "Shots":
        """Return the operator with the pairs of everybody."""
        pool: dict[str, list[Shot]] = {}
        is_described = self.describe is None
        for at, record in enumerate(records):
            is_described = is_described or self._description(record) is not None
            for person, part in self._parts(record):
                pool.setdefault(person, []).extend(self._shots(part, at))
        if not is_described:
            where = "principal" if self.describe == "profile" else "tags"
            raise ConfigError(
                f"`describe={self.describe}`: no record has `{where}.{self.describe}`, so there "
                "are no words on anybody to begin with. Name `profile` or a tag that holds them, "
                "or leave `describe` out."
            )
        return replace(self, pool=pool)

    def __call__(self, record: Record) -> Made:
        """Yield the record with shots in front, once for each person, or why there is none."""
        parts = list(self._parts(record))
        if not parts:
            yield SetAside(f"no {self.by}")
        for number, (person, part) in enumerate(parts):
            decided = list(self._decided(part))
            pairs = [one for one in decided if isinstance(one, Pair)]
            if not pairs:
                yield from (one for one in decided if isinstance(one, SetAside))
                continue
            shots = self._picked(person, record)
            if len(shots) < self.count:
                where = "earlier" if self.take == "earlier" else "other"
                yield SetAside(f"fewer than {self.count} {where} pairs of the {self.by}")
                continue
            context = placed(record.context, shown(shots), self.place, join=" ")
            if isinstance(context, SetAside):
                yield context
                continue
            candidates = self._candidates(part)
            if isinstance(candidates, SetAside):
                yield candidates
                continue
            meta = {"shots": [shot.record for shot in shots]}
            yield derived(
                part, self, number,
                context=context, candidates=candidates, meta=meta, tags={"cluster": record.cluster},
            )  # fmt: skip

    def _parts(self, record: Record) -> Iterator[tuple[str, Record]]:
        """Yield each person with the record as far as they judged it."""
        if self.by == "principal":
            if record.principal is not None:
                yield record.principal.id, record
            return
        said: dict[str, list[Judgment]] = {}
        for judgment in record.judgments:
            if judgment.rater.type != "unknown":
                said.setdefault(judgment.rater.id, []).append(judgment)
        for person, judgments in said.items():
            yield person, replace(record, judgments=tuple(judgments))

    def _description(self, record: Record) -> str | None:
        """Words on the record's principal; None where there are none."""
        if record.principal is None:
            return None
        known = record.principal.profile if self.describe == "profile" else None
        if self.describe != "profile":
            known = record.tags.get(self.describe or "")
        return known.strip() or None if isinstance(known, str) else None

    def _candidates(self, record: Record) -> tuple[Candidate, ...] | SetAside:
        """Return the responses, each behind the description where one is asked for."""
        if self.describe is None:
            return record.candidates
        description = self._description(record)
        if description is None:
            return SetAside("no description of the principal")
        made: list[Candidate] = []
        for candidate in record.candidates:
            first, *others = candidate.messages
            is_text = isinstance(first.content, str) and first.content and not first.thinking
            if first.role != "assistant" or not is_text:
                return SetAside("a response that does not begin with text")
            text = DESCRIBED.format(description=description, response=first.content)
            # Numbers such as its length were those of the response alone.
            messages = (replace(first, content=text), *others)
            made.append(replace(candidate, messages=messages, stats={}))
        return tuple(made)

    def _decided(self, record: Record) -> Iterator[Pair | SetAside]:
        for group in Who(self.aspect).groups(record, ("pair", "rank", "rate")):
            if isinstance(group, SetAside):
                yield group
            else:
                yield from pairs_of(record, group[1], PairRule())

    def _shots(self, record: Record, at: int) -> Iterator[Shot]:
        """Yield the record's pairs as shots; what holds more than text is none."""
        for pair in self._decided(record):
            if isinstance(pair, SetAside):
                continue
            both = [record.candidate(name) for name in (pair.chosen, pair.rejected)]
            said = [*record.context, *(message for c in both for message in c.messages)]
            if all(isinstance(message.content, str) for message in said):
                texts = (spoken(record.context), both[0].text, both[1].text)
                yield Shot(record.id, record.cluster, at, *texts)

    def _picked(self, person: str, record: Record) -> list[Shot]:
        pool = self.pool.get(person, ())
        others = [shot for shot in pool if shot.cluster != record.cluster]
        if self.take == "any":
            rng = random.Random(f"{self.seed}/{person}/{record.id}")
            return rng.sample(others, min(self.count, len(others)))
        at = next((shot.at for shot in pool if shot.record == record.id), 0)
        return [shot for shot in others if shot.at < at][-self.count :]


def shown(shots: Sequence[Shot]) -> str:
    """Return shots as a prompt shows them, with the line that leads to the query."""
    blocks: list[str] = []
    for number, shot in enumerate(shots, 1):
        parts = {"prompt": shot.prompt, "chosen": shot.chosen, "rejected": shot.rejected}
        blocks.append(LAYOUT.format(number=number, **parts))
    return "\n\n".join([*blocks, TASK])
