"""What a record holds, in words: what a format does not keep of it is a loss."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

from prefine.records.codec import encode
from prefine.records.judgment import Judgment
from prefine.records.message import Part
from prefine.records.schema import Candidate, Record

KINDS = {
    "pair": "comparisons",
    "rank": "rankings",
    "rate": "ratings",
    "edit": "edits",
    "signal": "signals",
}


def losses_except(*kept: str) -> Callable[[Record], Collection[str]]:
    """Return a function that lists what a record holds beyond what a format keeps.

    Args:
        *kept: Words that `held` uses.
    """
    keeps = frozenset(kept)

    def losses(record: Record) -> Collection[str]:
        return held(record) - keeps

    return losses


def held(record: Record) -> frozenset[str]:
    """Return what a record holds besides messages, each in a word or two.

    Example:
        >>> from prefine.records.schema import Message
        >>> sorted(held(Record(context=(Message("user", "Hi"),), candidates=(), meta={"a": 1})))
        ['id and source', 'meta']
    """
    return frozenset(_of_record(record))


def _of_record(record: Record) -> Iterator[str]:
    yield "id and source"
    if record.tools is not None:
        yield "tools"
    if record.principal is not None:
        yield "principal"
    if record.meta:
        yield "meta"
    if "weight" in record.tags:
        yield "weight"
    if set(record.tags) - {"weight", "form"}:
        yield "tags"
    if len(record.candidates) > 2:
        yield "candidates beyond a pair"
    if len(record.judgments) > 1:
        yield "judgments beyond one"
    for candidate in record.candidates:
        yield from _of_candidate(candidate)
    for judgment in record.judgments:
        yield from _of_judgment(judgment)
    messages = [*record.context, *(m for c in record.candidates for m in c.messages)]
    for message in messages:
        if message.loss is not None:
            yield "loss flags of messages"
        if message.thinking is not None:
            yield "thinking"
        if not isinstance(message.content, str):
            yield "parts of messages"
            if any(_detailed(part) for part in message.content):
                yield "details of parts"


def _detailed(part: Part) -> bool:
    """Whether a part says more than a text, an address or a content."""
    more = (part.mime, part.sha256, part.span, part.box, part.id, part.title)
    caption = None if part.type == "text" else part.text
    return any(value is not None for value in (*more, caption))


def _of_candidate(candidate: Candidate) -> Iterator[str]:
    if candidate.origin is not None:
        yield "origins of candidates"
    if candidate.steps:
        yield "steps"
    if candidate.stats:
        yield "statistics of candidates"
    if candidate.gold is not None:
        yield "gold flags"


def _of_judgment(judgment: Judgment) -> Iterator[str]:
    yield KINDS[judgment.kind]
    if judgment.rater.type != "unknown":
        yield "raters"
    if judgment.aspect != "overall":
        yield "aspects"
    if not judgment.valid:
        yield "unreadable verdicts"
    if judgment.winner in ("tie", "both_bad", "skip"):
        yield "ties and skips"
    if judgment.strength is not None:
        yield "strengths"
    if judgment.prob is not None:
        yield "soft labels"
    if judgment.rationale is not None:
        yield "rationales"
    if judgment.confidence is not None:
        yield "confidences"
    if judgment.count != 1 or judgment.repeat:
        yield "counts and repeats"
    if judgment.seconds is not None or judgment.price is not None:
        yield "seconds and prices"


def lost(record: Record, back: Record) -> frozenset[str]:
    """Return what a record lost on its way through a format and back, each in a word or two.

    Names of candidates and judgments do not count, only what is said.

    Example:
        >>> from prefine.records.schema import Message
        >>> record = Record(context=(Message("user", "Hi"),), candidates=(), meta={"a": 1})
        >>> sorted(lost(record, Record(context=record.context, candidates=())))
        ['meta']
    """
    before, after = _said(record), _said(back)
    return frozenset(word for word, said in before.items() if said and said != after.get(word))


def _said(record: Record) -> dict[str, Any]:
    """Return all that a record says, by what it is called when it is lost."""
    place = {candidate.id: str(at) for at, candidate in enumerate(record.candidates)}
    said: dict[str, Any] = {
        "id and source": (record.id, record.source),
        "prompt": record.context,
        "tools": record.tools,
        "principal": record.principal,
        "tags": dict(record.tags),
        "meta": dict(record.meta),
        "responses": [c.messages for c in record.candidates],
        "origins of candidates": _known([_moved(c.origin, place) for c in record.candidates]),
        "steps": _known([c.steps for c in record.candidates]),
        "statistics of candidates": _known([dict(c.stats) for c in record.candidates]),
        "gold flags": [c.gold for c in record.candidates if c.gold is not None],
    }
    for kind, word in KINDS.items():
        judgments = (j for j in record.judgments if j.kind == kind)
        said[word] = [_moved(j, place) for j in judgments]
    return said


def _known(values: list[Any]) -> list[Any]:
    return values if any(values) else []


def _moved(part: Any, place: dict[str, str]) -> Any:
    """Return a part as JSON without its id, its candidates called by their places."""
    if part is None:
        return None
    encoded = encode(part)
    encoded.pop("id", None)
    for key in ("winner", "from", "to", "target", "parent"):
        if key in encoded:
            encoded[key] = place.get(encoded[key], encoded[key])
    if "shown" in encoded:
        encoded["shown"] = [place[name] for name in encoded["shown"]]
    for key in ("scores", "ranks"):
        if key in encoded:
            encoded[key] = {place[name]: value for name, value in encoded[key].items()}
    return encoded
