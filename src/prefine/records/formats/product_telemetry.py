"""Product telemetry: what people did with what they were shown, an event a row.

Nobody was asked, so only what was done is said (as in RealHumanEval, Mozannar et al. 2024,
arXiv:2404.02806). `event` is one of

- `thumbs_up`, `thumbs_down`: a rating of 1 or 0;
- `accept`, `copy`, `click`, `persist` (still there after `seconds`): a signal for it;
- `reject`: a signal against it;
- `shown`, `dwell`, `regenerate`, `feedback`: a signal of polarity 0, for seeing, staying, asking
  once more or saying something (`text`) does not say which is better;
- `edit`: an edit into `edited`; one that changed nothing is a signal for it (`unchanged`).

What was shown is `response` (text or messages) or `item` (an id); `prompt` (text or messages) came
before it. `user` is rater and principal in one; `model`, `timestamp` and `seconds` are kept. Rows
of one `session` with the same prompt are one record if they follow each other: sort a log by
session. Events by other names need another word in the file. The columns are ours: no published
set has exactly these.

    {
      "user": "u7",
      "session": "s1",
      "prompt": "A name for a cat?",
      "response": "Miso.",
      "event": "copy",
      "timestamp": "2025-03-01T10:00:05Z",
      "model": "small-1"
    }
"""

from collections.abc import Iterable
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import compact, short
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    name_of,
    number_of,
    only,
    text_of,
)
from prefine.records.formats.rows import losses_by_reading, model_of, raw_object
from prefine.records.formats.trl import chat, messages_of, reply, user
from prefine.records.message import Message, Part
from prefine.records.schema import (
    UNKNOWN_RATER,
    Candidate,
    Judgment,
    Origin,
    Principal,
    Rater,
    Record,
)
from prefine.storage import content_hash

NAME = "product_telemetry"
KNOWN = (
    "user",
    "session",
    "prompt",
    "response",
    "item",
    "event",
    "edited",
    "seconds",
    "text",
    "timestamp",
    "model",
)
THUMBS = {"thumbs_up": 1, "thumbs_down": 0}
POLARITY = {
    "accept": 1,
    "copy": 1,
    "click": 1,
    "persist": 1,
    "reject": -1,
    "shown": 0,
    "dwell": 0,
    "regenerate": 0,
    "feedback": 0,
}
UNCHANGED = "unchanged"


def matches(row: RowDict) -> bool:
    """An event, and what it was about."""
    return isinstance(row.get("event"), str) and ("response" in row or "item" in row)


def read(row: RowDict, where: Where) -> Record:
    """Make a record of one event, which those of the same session and prompt join."""
    only(row, KNOWN, NAME)
    person = name_of(row, "user") if row.get("user") not in (None, "") else None
    session = name_of(row, "session") if row.get("session") not in (None, "") else None
    shown = _shown(row)
    candidates, judgment = [shown], _judgment(row, shown, person)
    if judgment.edit_to is not None:
        edited = Origin("edit", parent=shown.id)
        messages = reply("edited", text_of(row, "edited"))
        candidates.append(Candidate(judgment.edit_to, messages, origin=edited))
    return Record(
        source=where.source(row=session),
        context=_prompt(row),
        candidates=tuple(candidates),
        judgments=(judgment,),
        principal=Principal(person) if person else None,
        tags={"session": session} if session else {},
    )


def _prompt(row: RowDict) -> tuple[Message, ...]:
    if row.get("prompt") in (None, ""):
        return ()
    return user(row["prompt"]) if isinstance(row["prompt"], str) else messages_of(row, "prompt")


def _shown(row: RowDict) -> Candidate:
    """Return what was shown, called by its content: the same in all rows."""
    model = text_of(row, "model") if row.get("model") else None
    origin = Origin("model", model=model) if model else None
    if row.get("response") is None:
        item = name_of(row, "item")
        return Candidate(item, (Message("assistant", (Part("item", id=item),)),), origin=origin)
    if row.get("item") is not None:
        raise RecordError("`response` and `item` are both given: which was shown is not known.")
    said = row["response"]
    messages = reply("response", said) if isinstance(said, str) else messages_of(row, "response")
    name = content_hash([*(compact(m.to_json()) for m in messages), model or ""], length=12)
    return Candidate(f"r{name}", messages, origin=origin)


def _judgment(row: RowDict, shown: Candidate, person: str | None) -> Judgment:
    event = text_of(row, "event")
    rater = Rater(person, "user") if person else UNKNOWN_RATER
    about = {key: row[key] for key in ("timestamp",) if row.get(key) is not None}
    for value in about.values():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise RecordError(f"`timestamp` must be text or a number, got {short(value)}.")
    if isinstance(about.get("timestamp"), int | float):
        number_of(about, "timestamp")
    common: dict[str, Any] = {
        "id": f"{event} {shown.id}",
        "shown": (shown.id,),
        "rater": rater,
        "seconds": number_of(row, "seconds", low=0),
        "raw": compact(about) if about else None,
    }
    for key, of in (("edited", "edit"), ("text", "feedback")):
        if row.get(key) is not None and event != of:
            raise RecordError(f"`{key}` belongs to the event {of}, this is {short(event)}.")
    if event in THUMBS:
        scores = {shown.id: THUMBS[event]}
        return Judgment(kind="rate", scores=scores, scale=(0, 1), **common)
    if event == "edit":
        edited = text_of(row, "edited")
        if isinstance(shown.messages[0].content, str) and edited != shown.text:
            name = f"e{content_hash([shown.id, edited], length=12)}"
            return Judgment(kind="edit", edit_from=shown.id, edit_to=name, **common)
        if edited != shown.text:
            raise RecordError("an `item` cannot be edited.")
        event = UNCHANGED
    elif event not in POLARITY:
        known = ", ".join((*THUMBS, *POLARITY, "edit"))
        raise RecordError(f"`event` must be one of {known}, got {short(event)}.")
    return Judgment(
        kind="signal",
        target=shown.id,
        polarity=POLARITY.get(event, 1),
        category=(event,),
        text=text_of(row, "text") if row.get("text") is not None else None,
        **common,
    )


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for each thumb, signal or edit on one candidate."""
    for judgment in record.judgments:
        event = _event(judgment)
        target = judgment.target or judgment.edit_from or next(iter(judgment.shown), None)
        if event is None or target is None or not judgment.valid:
            continue
        candidate = record.candidate(target)
        shown = _columns(candidate)
        if shown is None or _unsaid(record):
            continue
        row: RowDict = {}
        if judgment.rater.type == "user":
            row["user"] = judgment.rater.id
        if isinstance(record.tags.get("session"), str):
            row["session"] = record.tags["session"]
        if record.context:
            row["prompt"] = _side(record.context, "user")
        row |= {**shown, "event": event}
        if judgment.edit_to is not None:
            row["edited"] = record.candidate(judgment.edit_to).text
        elif judgment.category == (UNCHANGED,):
            row["edited"] = candidate.text
        if judgment.seconds is not None:
            row["seconds"] = judgment.seconds
        if judgment.text is not None and event == "feedback":
            row["text"] = judgment.text
        time = raw_object(judgment).get("timestamp")
        if isinstance(time, str | int | float) and not isinstance(time, bool):
            row["timestamp"] = time
        if model := model_of(candidate):
            row["model"] = model
        yield row


def _unsaid(record: Record) -> bool:
    """Whether the prompt holds what the columns cannot say."""
    parts = any(not isinstance(message.content, str) for message in record.context)
    return parts or (len(record.context) == 1 and not record.context[0].text)


def _columns(candidate: Candidate) -> RowDict | None:
    content = candidate.messages[0].content
    if all(isinstance(message.content, str) for message in candidate.messages):
        return {"response": _side(candidate.messages, "assistant")}
    if isinstance(content, str) or len(content) != 1 or len(candidate.messages) > 1:
        return None
    return {"item": content[0].id} if content[0].type == "item" and content[0].id else None


def _side(messages: tuple[Message, ...], role: str) -> Any:
    """Return messages, or the text of the only one."""
    plain = len(messages) == 1 and messages[0].to_json().keys() == {"role", "content"}
    return messages[0].text if plain and messages[0].role == role else chat(messages)


def _event(judgment: Judgment) -> str | None:
    if judgment.kind == "edit":
        return "edit"
    if judgment.kind == "rate" and judgment.scale == (0, 1) and judgment.aspect == "overall":
        score = next(iter((judgment.scores or {}).values()), None)
        only_one = len(judgment.scores or {}) == 1 and score in (0, 1)
        return ("thumbs_up" if score else "thumbs_down") if only_one else None
    if judgment.kind != "signal" or judgment.category is None or len(judgment.category) != 1:
        return None
    [word] = judgment.category
    if word == UNCHANGED:
        return "edit" if judgment.polarity == 1 else None
    return word if POLARITY.get(word) == judgment.polarity else None


FORMAT = Format(
    name=NAME,
    description="Product telemetry: user, session, prompt, response or item, event",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
    joins=True,
)
