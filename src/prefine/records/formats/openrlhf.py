"""OpenRLHF rows (github.com/OpenRLHF/OpenRLHF, Apache-2.0), by the defaults of its key options.

`input` is a prompt, text or messages. Alone it is a prompt (PPO); with `output` an answer that
nobody judged (SFT); with `output` and `label` an answer that is desirable or not (KTO, in versions
that had it). If `input` is a whole conversation that ends with the assistant, its last message is
the answer. `chosen` and `rejected`, with or without `prompt`, are pairs as of TRL, and `margin` the
strength; they are read here too if the format is named. The reference answer of PPO's
`--data.label_key` is not a judgment: keep that column (`--keep-column`).

Who gave OpenRLHF other names by an option gives them here by `--rename`:

| OpenRLHF | prefine |
|---|---|
| `--data.input_key question` | `--rename question=input` |
| `--data.output_key answer` | `--rename answer=output` |
| `--label_key good` (KTO) | `--rename good=label` |
| `--data.prompt_key question` | `--rename question=prompt` |
| `--data.chosen_key good` | `--rename good=chosen` |
| `--data.rejected_key bad` | `--rename bad=rejected` |
| `--data.apply_chat_template` | nothing to say: messages are messages, text is text |
| `--data.input_template` | nothing: the template of a run belongs to the run |

The row follows the options' defaults in openrlhf/cli/train_sft.py and, before its removal,
train_kto.py; no set has exactly these columns:

    {"input": "Name a prime.", "output": "Seven.", "label": true}
"""

from collections.abc import Iterable
from typing import Any

from prefine.records.formats import trl_preference
from prefine.records.formats.format import JSON_OR_TABLE, Format, RowDict, Where, flag_of, only
from prefine.records.formats.rows import losses_by_reading, verdict
from prefine.records.formats.trl import (
    chat,
    is_side,
    is_text,
    messages_of,
    reply,
    side,
    user,
)
from prefine.records.message import Message
from prefine.records.schema import UNKNOWN_RATER, Candidate, Judgment, Record

NAME = "openrlhf"
PAIR = ("prompt", "chosen", "rejected", "margin")
KNOWN = ("input", "output", "label")
Messages = tuple[Message, ...]


def matches(row: RowDict) -> bool:
    """A prompt or conversation called input, with no columns but those of its kind."""
    return is_side(row.get("input")) and set(row) <= set(KNOWN) and "ки" not in row["input"]


def read(row: RowDict, where: Where) -> Record:
    """Make a record of a pair, or of a prompt with at most one answer."""
    if "chosen" in row or "rejected" in row:
        only(row, PAIR, NAME)
        return trl_preference.read(row, where)
    only(row, KNOWN, NAME)
    context, answer, form = _said(row)
    judgments: tuple[Judgment, ...] = ()
    if answer and row.get("label") is not None:
        scores = {"c0": float(flag_of(row, "label"))}
        judgments = (Judgment("j0", "rate", ("c0",), UNKNOWN_RATER, scores=scores, scale=(0, 1)),)
    elif row.get("label") is not None:
        only(row, ("input",), f"a row of {NAME} without an answer")
    return Record(
        source=where.source(),
        context=context,
        candidates=(Candidate("c0", answer),) if answer else (),
        judgments=judgments,
        tags={"form": form} if form == "text" else {},
    )


def _said(row: RowDict) -> tuple[Messages, Messages, str]:
    """Return the prompt, the answer, and whether both were text."""
    given, output = row.get("input"), row.get("output")
    if isinstance(given, str):
        context, form = user(given), "text"
    else:
        context, form = messages_of(row, "input"), "chat"
    if output is None:
        ends = form == "chat" and context[-1].role == "assistant"
        return (context[:-1], context[-1:], form) if ends else (context, (), form)
    if isinstance(output, str):
        return context, reply("output", output), form
    return context, messages_of(row, "output"), "chat"


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for each decided pair, for each thumb, or for answers nobody judged."""
    said = [*record.context, *(m for c in record.candidates for m in c.messages)]
    if not record.context or any(not isinstance(message.content, str) for message in said):
        return
    pairs = [{k: v for k, v in row.items() if k in PAIR} for row in trl_preference.write(record)]
    if pairs:
        yield from pairs
        return
    if not record.candidates and record.context[-1].role != "assistant":
        yield {"input": _side(record.context, as_text=is_text(record))}
    rate = verdict(record, "rate")
    thumbs: dict[str, Any] = dict(rate.scores or {}) if rate and rate.scale == (0, 1) else {}
    for candidate in record.candidates:
        thumb = thumbs.get(candidate.id)
        as_text = is_text(record, candidate)
        row: RowDict = {
            "input": _side(record.context, as_text=as_text),
            "output": side(candidate, as_text=as_text),
        }
        if thumb in (0, 1):
            yield row | {"label": bool(thumb)}
        elif not record.judgments:
            yield row


def _side(messages: Messages, *, as_text: bool) -> Any:
    return messages[0].text if as_text else chat(messages)


FORMAT = Format(
    name=NAME,
    description="OpenRLHF: input, with output and label; prompt, chosen, rejected if named",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
    generic=True,
)
