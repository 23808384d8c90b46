"""TRL preference rows: `prompt`, `chosen`, `rejected`; the prompt may be left to the messages.

Sides are text or lists of messages. Without `prompt` the context is the longest common prefix of
the MESSAGES of the two sides. Text without `prompt` is refused: where a prompt ends cannot be
known from its characters.

`margin` becomes the strength of the preference, `rationale` the reason for it, `weight` a tag,
`score_chosen` and `score_rejected` a rating, `images` parts of the prompt, `tools` the record's
tools.

A row of TRL's documentation:

    {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}
"""

from collections.abc import Iterable
from typing import Any

from prefine.errors import RecordError
from prefine.records.formats.format import JSON_OR_TABLE, Format, RowDict, Where, number_of, only
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
from prefine.records.schema import UNKNOWN_RATER, Candidate, Judgment, Record
from prefine.records.votes import decided

NAME = "trl_preference"
KNOWN = (
    "prompt", "chosen", "rejected", "margin", "rationale", "score_chosen", "score_rejected", *EXTRAS
)  # fmt: skip
Messages = tuple[Message, ...]


def matches(row: RowDict) -> bool:
    """Both sides, and no transcript of HH-RLHF."""
    sides = (row.get("chosen"), row.get("rejected"))
    if not all(is_side(value) for value in sides):
        return False
    hh = all(isinstance(value, str) and value.startswith("\n\nHuman:") for value in sides)
    return row.get("prompt") is not None or not hh


def read(row: RowDict, where: Where) -> Record:
    """Make a record with two candidates, c0 chosen and c1 rejected."""
    only(row, KNOWN, NAME)
    context, chosen, rejected, form = _sides(row)
    return Record(
        source=where.source(),
        candidates=(Candidate("c0", chosen), Candidate("c1", rejected)),
        judgments=_judgments(row),
        **extras(row, context, form=form),
    )


def _judgments(row: RowDict) -> tuple[Judgment, ...]:
    shown = ("c0", "c1")
    margin = number_of(row, "margin")
    if margin is not None and margin < 0:
        raise RecordError(
            f"`margin` must be at least 0, got {margin}: a negative one says that the rejected "
            "side is better. Swap the sides."
        )
    pair = Judgment(
        "j0", "pair", shown, UNKNOWN_RATER, winner="c0", strength=margin,
        rationale=row.get("rationale"),
    )  # fmt: skip
    scores = {"c0": number_of(row, "score_chosen"), "c1": number_of(row, "score_rejected")}
    if all(score is None for score in scores.values()):
        return (pair,)
    rate = Judgment("j1", "rate", shown, UNKNOWN_RATER, scores=scores, scale=(None, None))
    return (pair, rate)


def _sides(row: RowDict) -> tuple[Messages, Messages, Messages, str]:
    prompt, chosen, rejected = row.get("prompt"), row.get("chosen"), row.get("rejected")
    for key in ("chosen", "rejected"):
        if row.get(key) is None:
            raise RecordError(f"`{key}` is missing.")
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise RecordError("`chosen` and `rejected` must both be text or both be messages.")
    if isinstance(chosen, str) and isinstance(rejected, str):
        if isinstance(prompt, str):
            return user(prompt), reply("chosen", chosen), reply("rejected", rejected), "text"
        if prompt is None:
            raise RecordError(
                "`chosen` and `rejected` are text and there is no `prompt`: where the prompt "
                "ends cannot be known from characters. Give a `prompt` column, or messages."
            )
        return (
            messages_of(row, "prompt"),
            reply("chosen", chosen),
            reply("rejected", rejected),
            "chat",
        )
    best, worst = messages_of(row, "chosen"), messages_of(row, "rejected")
    if prompt is None or isinstance(prompt, str):
        context, best, worst = _split(best, worst)
        if prompt is not None and (not context or context[-1].text != prompt):
            raise RecordError(
                "`prompt` is text but the sides are messages that do not begin with it. Make the "
                "prompt a list of messages."
            )
        return context, best, worst, "chat"
    context = messages_of(row, "prompt")
    return context, _after(context, best), _after(context, worst), "chat"


def _split(best: Messages, worst: Messages) -> tuple[Messages, Messages, Messages]:
    """Split two conversations at their longest common prefix of messages."""
    at, longest = 0, min(len(best), len(worst)) - 1
    while at < longest and best[at] == worst[at]:
        at += 1
    if at == 0 and "assistant" not in (best[0].role, worst[0].role):
        raise RecordError("`chosen` and `rejected` begin with different prompts.")
    return best[:at], best[at:], worst[at:]


def _after(context: Messages, messages: Messages) -> Messages:
    """Drop a prompt that a side repeats message by message."""
    repeated = len(messages) > len(context) and messages[: len(context)] == context
    return messages[len(context) :] if repeated else messages


def _prompt_is_clear(record: Record, best: Candidate, worst: Candidate) -> bool:
    """Whether the sides can stand without a prompt, if there is none: nothing is taken for one."""
    if record.context:
        return True
    try:
        return _split(best.messages, worst.messages)[0] == ()
    except RecordError:
        return False


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for each decided pair."""
    for pair in decided(record):
        best, worst = record.candidate(pair.chosen), record.candidate(pair.rejected)
        if not holds(record, best, worst) or not _prompt_is_clear(record, best, worst):
            continue
        as_text = is_text(record, best, worst)
        row: dict[str, Any] = prompt_columns(record, as_text=as_text)
        row["chosen"], row["rejected"] = side(best, as_text=as_text), side(worst, as_text=as_text)
        if pair.margin is not None:
            row["margin"] = pair.margin
        yield row


FORMAT = Format(
    name=NAME,
    description="TRL preference: prompt (or left to the messages), chosen, rejected",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_except("comparisons", "strengths", "tools", "thinking", "parts of messages"),
    generic=True,
)
