"""TRL language-modelling rows: `text` or `messages`. One candidate without a context.

A row of TRL's documentation:

    {"text": "The sky is blue."}
"""

from collections.abc import Iterable

from prefine.records.formats.format import JSON_OR_TABLE, Format, RowDict, Where, only, text_of
from prefine.records.formats.losses import losses_except
from prefine.records.formats.trl import chat, extras, holds, is_chat, messages_of, reply
from prefine.records.schema import Candidate, Record

NAME = "trl_language_modelling"
RESPONSES = ("prompt", "completion", "completions", "chosen", "rejected")


def matches(row: RowDict) -> bool:
    """Text or messages, and nothing that splits them."""
    if any(key in row for key in RESPONSES):
        return False
    return isinstance(row.get("text"), str) or is_chat(row.get("messages"))


def read(row: RowDict, where: Where) -> Record:
    """Make a record with an empty context and all messages as its one candidate."""
    key = "messages" if row.get("text") is None else "text"
    only(row, (key, "tools", "weight"), NAME)
    if key == "text":
        messages, form = reply("text", text_of(row, "text")), "text"
    else:
        messages, form = messages_of(row, "messages"), "chat"
    return Record(
        source=where.source(),
        candidates=(Candidate("c0", messages),),
        **extras(row, (), form=form),
    )


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for each candidate: the whole conversation."""
    for candidate in record.candidates:
        if not holds(record, candidate):
            continue
        plain = isinstance(candidate.messages[0].content, str) and len(candidate.messages) == 1
        if record.tags.get("form") == "text" and not record.context and plain:
            yield {"text": candidate.messages[0].text}
        else:
            row: RowDict = {"messages": chat((*record.context, *candidate.messages))}
            if record.tools is not None:
                row["tools"] = [dict(tool) for tool in record.tools]
            yield row


FORMAT = Format(
    name=NAME,
    description="TRL language modelling: text or messages",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=lambda record: {
        *losses_except("tools", "thinking", "parts of messages")(record),
        *(["border between prompt and response"] if record.context else []),
    },
    generic=True,
)
