r"""RealHumanEval logs (Mozannar et al. 2024, arXiv:2404.02806, CC0): what programmers accepted.

A row of `autocomplete_data.csv` is a suggestion: the code before it is the prompt (with the code
behind it as a document), and whether the programmer accepted it a signal. A row of `chat_data.csv`
is a reply: `request` is the conversation before it, a Python list in text, and copying from the
reply is a signal for it; not copying says nothing (polarity 0). What was copied stays in `raw`.
Nobody was asked; the raters are of type user.

A row of data/chat_data.csv (github.com/clinicalml/realhumaneval), as JSON, its logprobs shortened:

    {
      "request": "[{'content': 'hello', 'role': 'user'}]",
      "response": "Hello! How can I assist you today?",
      "copy_events": "[]",
      "logprobs": "{'max': 0, 'std': 0.31483461842702987, […]}",
      "programmer_id": "94",
      "timestamp": "0.0",
      "model": "GPT-4o (chat)",
      "task_name": "sum_product"
    }

No suggestion could be quoted; its columns, as the project's release notebook names them:

    prefix_code,suffix_code,suggestion,logprobs,accepted,programmer_id,timestamp,model,task_name,
    requested
"""

import ast
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    flag_of,
    name_of,
    number_of,
    only,
    text_of,
)
from prefine.records.formats.trl import messages_of
from prefine.records.message import Message, Part
from prefine.records.schema import Candidate, Judgment, Origin, Rater, Record

NAME = "realhumaneval"
BOTH = ("logprobs", "programmer_id", "timestamp", "model", "task_name")
SUGGESTION = ("prefix_code", "suffix_code", "suggestion", "accepted", "requested", *BOTH)
REPLY = ("request", "response", "copy_events", *BOTH)
NOT_COPIED = ("", "[]", "nan")
"""How a table writes that nothing was copied."""


def matches(row: RowDict) -> bool:
    """A suggestion that was accepted or not, or a reply that was copied or not."""
    suggestion = all(key in row for key in ("prefix_code", "suggestion", "accepted"))
    return suggestion or all(key in row for key in ("request", "response", "copy_events"))


def read(row: RowDict, where: Where) -> Record:
    """Make a record with one candidate and one signal."""
    suggestion = "suggestion" in row
    only(row, SUGGESTION if suggestion else REPLY, NAME)
    text = text_of(row, "suggestion" if suggestion else "response")
    rater = Rater(name_of(row, "programmer_id"), "user")
    meta: dict[str, Any] = {k: row[k] for k in ("logprobs", "requested") if row.get(k) is not None}
    tags: dict[str, str | float] = {}
    if row.get("task_name"):
        tags["task"] = text_of(row, "task_name")
    time = number_of(row, "timestamp")
    if time is not None:
        tags["time"] = time
    return Record(
        source=where.source(),
        context=(Message("user", _before(row)),) if suggestion else _request(row),
        candidates=(Candidate("c0", (Message("assistant", text),), origin=_origin(row)),),
        judgments=(_accepted(row, rater) if suggestion else _copied(row, rater),),
        tags=tags,
        meta=meta,
    )


def _request(row: RowDict) -> tuple[Message, ...]:
    """Return the conversation before a reply; text that is no list is the user's message."""
    said = row.get("request")
    if isinstance(said, list):
        return messages_of(row, "request") if said else ()
    text = text_of(row, "request")
    if not text.startswith("["):
        return (Message("user", text),)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise RecordError(f"`request` must be a list of messages, got {short(text)}.") from None
    return messages_of({"request": value}, "request") if value != [] else ()


def _before(row: RowDict) -> str | tuple[Part, ...]:
    """Return the code around the suggestion: text alone if nothing stands behind it."""
    prefix = text_of(row, "prefix_code")
    if not row.get("suffix_code"):
        return prefix
    behind = Part("document", id="suffix_code", text=text_of(row, "suffix_code"))
    return (Part("text", text=prefix), behind)


def _origin(row: RowDict) -> Origin | None:
    return Origin("model", model=text_of(row, "model")) if row.get("model") else None


def _accepted(row: RowDict, rater: Rater) -> Judgment:
    polarity = 1 if flag_of(row, "accepted") else -1
    return Judgment(
        "accept", "signal", ("c0",), rater, target="c0", polarity=polarity, category=("accept",)
    )


def _copied(row: RowDict, rater: Rater) -> Judgment:
    events = row.get("copy_events")
    raw = None if events is None else text_of(row, "copy_events")
    polarity = 0 if raw is None or raw.strip().lower() in NOT_COPIED else 1
    return Judgment(
        "copy",
        "signal",
        ("c0",),
        rater,
        target="c0",
        polarity=polarity,
        category=("copy",),
        raw=raw,
    )


FORMAT = Format(
    name=NAME,
    description="RealHumanEval logs: suggestions accepted, replies copied from",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
)
