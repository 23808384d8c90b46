"""TRL prompt-completion rows: `prompt`, `completion`. Demonstrations, without a judgment.

A row of TRL's documentation:

    {"prompt": "The sky is", "completion": " blue."}
"""

from collections.abc import Iterable

from prefine.errors import ConfigError, RecordError
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
    reply,
    side,
    user,
)
from prefine.records.message import Message
from prefine.records.points import points_of
from prefine.records.schema import Candidate, Record
from prefine.records.views import Draft, Who

NAME = "trl_prompt_completion"
KNOWN = ("prompt", "completion", *EXTRAS)


def matches(row: RowDict) -> bool:
    """A completion without a label."""
    sides = is_side(row.get("prompt")) and is_side(row.get("completion"))
    return sides and "label" not in row


def prompt_and_completion(row: RowDict) -> tuple[tuple[Message, ...], tuple[Message, ...], str]:
    """Return context, response and form (text or chat).

    Raises:
        RecordError: If one is text and the other messages.
    """
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, str) and isinstance(completion, str):
        return user(prompt), reply("completion", completion), "text"
    if isinstance(prompt, str) or isinstance(completion, str):
        raise RecordError("`prompt` and `completion` must both be text or both be messages.")
    return messages_of(row, "prompt"), messages_of(row, "completion"), "chat"


def read(row: RowDict, where: Where) -> Record:
    """Make a record with one candidate that nobody judged."""
    only(row, KNOWN, NAME)
    context, completion, form = prompt_and_completion(row)
    return Record(
        source=where.source(),
        candidates=(Candidate("c0", completion),),
        **extras(row, context, form=form),
    )


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for each response that is not known to be undesirable."""
    try:
        points = list(points_of(record, None, Who()))
    except ConfigError:  # ratings that need a threshold: the record gives no row
        return
    for point in points:
        if isinstance(point, Draft) and point.items[0].label is not False:
            candidate = point.items[0].candidate
            if not record.context or not holds(record, candidate):
                continue
            as_text = is_text(record, candidate)
            row = prompt_columns(record, as_text=as_text)
            yield row | {"completion": side(candidate, as_text=as_text)}


FORMAT = Format(
    name=NAME,
    description="TRL prompt-completion: prompt, completion",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_except("tools", "thinking", "parts of messages"),
    generic=True,
)
