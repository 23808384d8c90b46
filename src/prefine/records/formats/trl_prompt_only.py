"""TRL prompt-only rows: `prompt`. A record without candidates, for generation.

A row of TRL's documentation:

    {"prompt": "The sky is"}
"""

from collections.abc import Iterable

from prefine.records.formats.format import JSON_OR_TABLE, Format, RowDict, Where, only
from prefine.records.formats.losses import losses_except
from prefine.records.formats.trl import (
    EXTRAS,
    extras,
    holds,
    is_side,
    is_text,
    messages_of,
    prompt_columns,
    user,
)
from prefine.records.schema import Record

NAME = "trl_prompt_only"
RESPONSES = ("completion", "completions", "chosen", "rejected", "text", "messages")


def matches(row: RowDict) -> bool:
    """A prompt and no response."""
    return is_side(row.get("prompt")) and not any(key in row for key in RESPONSES)


def read(row: RowDict, where: Where) -> Record:
    """Make a record without candidates."""
    only(row, ("prompt", *EXTRAS), NAME)
    if isinstance(row.get("prompt"), str):
        context, form = user(row["prompt"]), "text"
    else:
        context, form = messages_of(row, "prompt"), "chat"
    return Record(source=where.source(), candidates=(), **extras(row, context, form=form))


def write(record: Record) -> Iterable[RowDict]:
    """Yield the prompt."""
    if record.context and holds(record):
        yield prompt_columns(record, as_text=is_text(record))


FORMAT = Format(
    name=NAME,
    description="TRL prompt-only: prompt",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=lambda record: {
        *losses_except("tools", "thinking", "parts of messages")(record),
        *(["candidates"] if record.candidates else []),
    },
    generic=True,
)
