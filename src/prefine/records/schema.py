"""The record: everything known about one prompt. Schema `prefine/1`.

A record stores what was shown, who judged it and what they said; `chosen` and `rejected` are not
stored, they are asked for (see `prefine.records.views`). On disk a record is one JSON object, in
which fields that hold their default are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefine.errors import RecordError
from prefine.records import codec
from prefine.records.judgment import UNDECIDED, UNKNOWN_RATER, Judgment, Rater
from prefine.records.message import Message, Part, Step
from prefine.storage import content_hash

__all__ = [
    "SCHEMA",
    "UNKNOWN_RATER",
    "Candidate",
    "Judgment",
    "Message",
    "Origin",
    "Part",
    "Principal",
    "Rater",
    "Record",
    "Source",
    "Step",
]

SCHEMA = "prefine/1"
ORIGIN_KINDS = ("model", "human", "edit", "retrieved", "log")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record comes from.

    Attributes:
        name: Name of the data set or file, without the path of any machine.
        split: Split of the data set.
        row: Position in the source (from 0), or the source's own name for the row.
        license: Licence of the data.
        url: Address of the data.
    """

    name: str
    split: str | None = None
    row: int | str | None = None
    license: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        codec.text("name", self.name, empty=False)
        codec.optional_texts(self, "split", "license", "url")
        if isinstance(self.row, str):
            codec.text("row", self.row)
        else:
            codec.optional(codec.whole, "row", self.row, low=0)

    @classmethod
    def from_json(cls, value: Any) -> "Source":
        """Read a source from a JSON object."""
        return codec.decode(cls, value)


@dataclass(frozen=True, slots=True)
class Origin:
    """How a candidate came to be.

    Attributes:
        kind: model, human, edit, retrieved or log.
        model: Which model wrote it.
        sampling: temperature, top_p, seed, n ... of the generation.
        system: System prompt that only this candidate had.
        parent: Id of the candidate it was made from.
    """

    kind: str
    model: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    system: str | None = None
    parent: str | None = None

    def __post_init__(self) -> None:
        codec.one_of("kind", self.kind, ORIGIN_KINDS)
        codec.mapping("sampling", self.sampling)
        codec.optional_texts(self, "model", "system", "parent")

    @classmethod
    def from_json(cls, value: Any) -> "Origin":
        """Read an origin from a JSON object."""
        return codec.decode(cls, value)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible continuation of the context.

    Attributes:
        id: Name within the record, e.g. `"c0"`.
        messages: Usually one assistant message; more for several turns or tool use.
        origin: How it came to be, or None if nothing is known.
        steps: Its steps, with labels, for stepwise supervision.
        stats: Numbers about it: n_tokens, n_chars, logp_ref, logp_policy, cost, and of a drawn one
            log_prob (under what drew it, nats) and finished (0 where it was cut off) ...
        gold: Known-correct flag or grade of a benchmark.
    """

    id: str
    messages: tuple[Message, ...]
    origin: Origin | None = None
    steps: tuple[Step, ...] = ()
    stats: Mapping[str, float] = field(default_factory=dict[str, float])
    gold: bool | float | None = None

    def __post_init__(self) -> None:
        codec.text("id", self.id, empty=False)
        if self.id in UNDECIDED:
            raise RecordError(f"`id` of a candidate must not be the word {self.id!r}.")
        codec.parts("messages", self.messages, Message, at_least=1)
        codec.parts("steps", self.steps, Step)
        codec.mapping("stats", self.stats, codec.number)
        if not isinstance(self.gold, bool):
            codec.optional(codec.number, "gold", self.gold)

    @property
    def text(self) -> str:
        """The text of all its messages, joined by line breaks."""
        return "\n".join(message.text for message in self.messages)

    @classmethod
    def from_json(cls, value: Any) -> "Candidate":
        """Read a candidate from a JSON object."""
        return codec.decode(cls, value, _CANDIDATE)


_CANDIDATE: dict[str, codec.Reader] = {
    "messages": codec.many(Message.from_json),
    "origin": Origin.from_json,
    "steps": codec.many(Step.from_json),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """The person for whom a response should be good. Not the rater.

    Attributes:
        id: Name of the person or persona.
        group: Groups they belong to, by name of the grouping.
        profile: A description in words.
        attributes: What they care about: `{name: {"value": ..., "weight": ...}}`.
    """

    id: str
    group: Mapping[str, str] = field(default_factory=dict[str, str])
    profile: str | None = None
    attributes: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )

    def __post_init__(self) -> None:
        codec.text("id", self.id, empty=False)
        codec.mapping("group", self.group, codec.text)
        codec.optional(codec.text, "profile", self.profile)
        codec.mapping("attributes", self.attributes, _attribute)

    @classmethod
    def from_json(cls, value: Any) -> "Principal":
        """Read a principal from a JSON object."""
        return codec.decode(cls, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything known about one prompt: its candidates, who judged them and how.

    The id is a hash of where the record comes from (name, split, row) and of what precedes the
    candidates (context, tools). So it survives new candidates, new judgments and appended rows,
    and two rows with the same prompt differ; `cluster` is what they share.

    Attributes:
        schema: Always `"prefine/1"`.
        id: Computed when empty.
        source: Where it comes from.
        context: All messages before the candidates; empty for unconditional data.
        tools: JSON schemas of the tools offered, or None.
        candidates: Possible continuations; none for a bare prompt.
        judgments: What was said about them.
        principal: For whom a response should be good, or None.
        tags: Free text, numbers and flags that views, splits and reports may read: domain,
            language, subset, turn, time, `weight` (importance of the record, at least 0),
            `form` ("text" if prompt and response are raw text without a chat template),
            `cluster` (what `cluster` is, for a record made from another by a change of its
            prompt), `malformed` (true if the source row is not one reply against another).
        meta: Anything else; no algorithm reads it.

    Raises:
        RecordError: If ids repeat, or a judgment speaks of a candidate that is not there.

    Example:
        >>> hello = Candidate("c0", (Message("assistant", "Hello!"),))
        >>> r = Record(context=(Message("user", "Hi"),), candidates=(hello,))
        >>> Record.from_json(r.to_json()) == r
        True
    """

    schema: str = field(default=SCHEMA, metadata={"always": True})
    id: str = field(default="", metadata={"always": True})
    source: Source = field(default=Source("memory"), metadata={"always": True})
    context: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] | None = None
    candidates: tuple[Candidate, ...]
    judgments: tuple[Judgment, ...] = field(default=(), metadata={"always": True})
    principal: Principal | None = None
    tags: Mapping[str, str | int | float | bool] = field(
        default_factory=dict[str, str | int | float | bool]
    )
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise RecordError(f"`schema` must be {SCHEMA!r}, got {codec.short(self.schema)}.")
        codec.text("id", self.id)
        if not isinstance(self.source, Source):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecordError("`source` must be a Source.")
        codec.parts("context", self.context, Message)
        codec.optional(codec.sequence, "tools", self.tools, check=codec.mapping)
        codec.parts("candidates", self.candidates, Candidate)
        codec.parts("judgments", self.judgments, Judgment)
        codec.mapping("tags", self.tags, _tag)
        codec.mapping("meta", self.meta)
        self._check_ids()
        if "weight" in self.tags:
            codec.number("tags.weight", self.tags["weight"], low=0)
        if "cluster" in self.tags:
            codec.text("tags.cluster", self.tags["cluster"], empty=False)
        if self.tags.get("form", "chat") not in ("chat", "text"):
            raise RecordError(
                f"`tags.form` must be chat or text, got {codec.short(self.tags['form'])}."
            )
        if not self.id:
            object.__setattr__(self, "id", self._hash())

    def _check_ids(self) -> None:
        ids = [candidate.id for candidate in self.candidates]
        known = set(ids)
        if len(known) != len(ids):
            twice = next(name for name in ids if ids.count(name) > 1)
            raise RecordError(f"two candidates are called `{twice}`.")
        seen: set[str] = set()
        for judgment in self.judgments:
            if judgment.id in seen:
                raise RecordError(f"two judgments are called `{judgment.id}`.")
            seen.add(judgment.id)
            for name in judgment.mentions:
                if name not in known:
                    raise RecordError(
                        f"judgment `{judgment.id}` speaks of candidate `{name}`, but the record "
                        f"has {', '.join(ids) or 'none'}."
                    )

    def _hash(self) -> str:
        where = [self.source.name, self.source.split, self.source.row]
        return content_hash([codec.canonical([where, self.context, self.tools])])

    @property
    def cluster(self) -> str:
        """Hash of the prompt: records with the same prompt share it.

        A record without a prompt stands for itself, by the content of its candidates. Where the
        tag `cluster` is given it is that: a prompt with an instruction added asks for the same
        responses as before, so both must fall on the same side of a split.
        """
        if "cluster" in self.tags:
            return str(self.tags["cluster"])
        if self.context:
            return content_hash([codec.canonical([self.context, self.tools])])
        said = [candidate.messages for candidate in self.candidates]
        return content_hash([codec.canonical([[self.context, self.tools], said])])

    def candidate(self, name: str) -> Candidate:
        """Return the candidate with this id."""
        return next(candidate for candidate in self.candidates if candidate.id == name)

    @classmethod
    def from_json(cls, value: Any) -> "Record":
        """Read a record from a JSON object.

        Raises:
            RecordError: If it breaks the schema; the message says where.
        """
        return codec.decode(cls, value, READERS)

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object, absent fields left out."""
        return codec.encode(self)


READERS: dict[str, codec.Reader] = {
    "source": Source.from_json,
    "context": codec.many(Message.from_json),
    "tools": codec.as_tuple,
    "candidates": codec.many(Candidate.from_json),
    "judgments": codec.many(Judgment.from_json),
    "principal": Principal.from_json,
}
"""How the nested keys of a record are read."""


def _tag(name: str, value: Any) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, str):
        codec.text(name, value)
    else:
        codec.number(name, value)


def _attribute(name: str, value: Any) -> None:
    codec.mapping(name, value)
    if unknown := set(value) - {"value", "weight"}:
        raise RecordError(f"`{name}`: {codec.unknown_key(min(unknown), ('value', 'weight'))}")
