"""TRL unpaired rows: `prompt`, `completion`, `label` (true: desirable). The label is a thumb.

A row of TRL's documentation:

    {"prompt": "The sky is", "completion": " blue.", "label": true}
"""

from collections.abc import Iterable

from prefine.errors import ConfigError
from prefine.records.formats.format import JSON_OR_TABLE, Format, RowDict, Where, flag_of, only
from prefine.records.formats.losses import losses_except
from prefine.records.formats.trl import (
    EXTRAS,
    extras,
    holds,
    is_side,
    is_text,
    prompt_columns,
    side,
)
from prefine.records.formats.trl_prompt_completion import prompt_and_completion
from prefine.records.points import points_of
from prefine.records.schema import UNKNOWN_RATER, Candidate, Judgment, Record
from prefine.records.views import Draft, Who

NAME = "trl_unpaired"
KNOWN = ("prompt", "completion", "label", *EXTRAS)


def matches(row: RowDict) -> bool:
    """A completion with a label."""
    return "label" in row and is_side(row.get("completion")) and is_side(row.get("prompt"))


def read(row: RowDict, where: Where) -> Record:
    """Make a record with one candidate and a thumb."""
    only(row, KNOWN, NAME)
    context, completion, form = prompt_and_completion(row)
    score = 1 if flag_of(row, "label") else 0
    thumb = Judgment("j0", "rate", ("c0",), UNKNOWN_RATER, scores={"c0": score}, scale=(0, 1))
    return Record(
        source=where.source(),
        candidates=(Candidate("c0", completion),),
        judgments=(thumb,),
        **extras(row, context, form=form),
    )


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for each response that is known to be desirable or not."""
    try:
        points = list(points_of(record, None, Who()))
    except ConfigError:  # ratings that need a threshold: the record gives no row
        return
    for point in points:
        if isinstance(point, Draft) and point.items[0].label is not None:
            candidate = point.items[0].candidate
            if not record.context or not holds(record, candidate):
                continue
            as_text = is_text(record, candidate)
            row = prompt_columns(record, as_text=as_text)
            yield row | {
                "completion": side(candidate, as_text=as_text),
                "label": point.items[0].label,
            }


FORMAT = Format(
    name=NAME,
    description="TRL unpaired: prompt, completion, label",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_except("tools", "thinking", "parts of messages"),
    generic=True,
)
