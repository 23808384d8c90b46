"""PRISM conversations (Kirk et al. 2024, arXiv:2404.16019, CC BY 4.0; responses CC BY-NC 4.0).

A row of `conversations.jsonl` is one person's conversation; each of its turns is a record: what the
person wrote, the models' responses, a rating of each from 1 to 100, and the one they went on with
(a ranking: 1 for it, 2 for the others; the source marks every response with the chosen text, so
equal texts share rank 1). The context of a turn holds the responses chosen before, and
`meta.follows` names the record before it. The person is rater and principal in one. What they
said of the whole conversation stays in `meta` of its first turn. The first row, as far as the
project's notebook 01_summary_tables prints it (github.com/HannahKirk/prism-alignment), with the
nested names of its codebook:

    {"conversation_id": "c0", "user_id": "user0", "included_in_balanced_subset": false,
     "generated_datetime": "2023-11-22 15:55:46", "timing_duration_s": 401.07,
     "timing_duration_mins": 6.68, "conversation_type": "unguided",
     "opening_prompt": "What can you do about the inequality  of wealth?",
     "conversation_turns": 5, "conversation_history": [
       {"turn": 0, "role": "user", "content": "What […]"},
       {"turn": 0, "role": "model", "content": "Make it illegal for […]",
        "model_provider": "huggingface_api", "model_name": "google/flan-t5-xxl", "score": 17,
        "if_chosen": false, "within_turn_id": 0}, …],
     "performance_attributes": {"values": null, "fluency": 95, […]},
     "choice_attributes": {"values": null, "fluency": 80, […]},
     "open_feedback": "Shorter blocks would  be nice.  but has  to ha[…]"}

`utterances.jsonl` repeats the same data in rows that lack their context: see `prism_utterances`.
"""

from collections.abc import Iterator
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    flag_of,
    list_of,
    name_of,
    number_of,
    object_of,
    only,
    text_of,
)
from prefine.records.message import Message
from prefine.records.schema import Candidate, Judgment, Origin, Principal, Rater, Record

NAME = "prism"
WHOLE = (
    "opening_prompt",
    "conversation_turns",
    "performance_attributes",
    "choice_attributes",
    "open_feedback",
    "generated_datetime",
    "timing_duration_s",
    "timing_duration_mins",
    "included_in_balanced_subset",
    "included_in_US_REP",
    "included_in_UK_REP",
)
"""Columns that speak of the whole conversation."""
KNOWN = ("conversation_id", "user_id", "conversation_type", "conversation_history", *WHOLE)
SAID = (
    "turn",
    "role",
    "content",
    "model_provider",
    "model_name",
    "score",
    "if_chosen",
    "within_turn_id",
)


def matches(row: RowDict) -> bool:
    """A conversation of somebody, with its history."""
    return isinstance(row.get("conversation_history"), list) and "user_id" in row


def read(row: RowDict, where: Where) -> list[Record]:
    """Make a record of each turn."""
    only(row, KNOWN, NAME)
    user, conversation = name_of(row, "user_id"), name_of(row, "conversation_id")
    tags: dict[str, Any] = {"conversation": conversation}
    if row.get("conversation_type") is not None:
        tags["conversation_type"] = text_of(row, "conversation_type")
    meta: dict[str, Any] = {key: row[key] for key in WHOLE if row.get(key) is not None}
    records: list[Record] = []
    context: tuple[Message, ...] = ()
    for turn, (prompt, replies) in _turns(list_of(row, "conversation_history")).items():
        if context and context[-1].role == "user":
            raise RecordError(f"turn {turn} follows a turn of which no response was chosen.")
        context = (*context, Message("user", prompt))
        names = [f"r{name_of(reply, 'within_turn_id')}" for reply in replies]
        record = Record(
            source=where.source(row=f"{conversation}/{turn}"),
            context=context,
            candidates=tuple(_candidate(*pair) for pair in zip(names, replies, strict=True)),
            judgments=tuple(_judgments(names, replies, user)),
            principal=Principal(user),
            tags={**tags, "turn": turn},
            meta=meta,
        )
        records.append(record)
        chosen = _chosen(names, replies)
        if chosen:
            context = (*context, *record.candidate(chosen[0]).messages)
        meta = {"follows": f"{conversation}/{turn}"}
    if not records:
        raise RecordError("`conversation_history` is empty.")
    return records


def _turns(history: list[Any]) -> dict[int, tuple[str, list[RowDict]]]:
    """Return what the person said and what the models replied, by turn."""
    turns: dict[int, tuple[str, list[RowDict]]] = {}
    for value in history:
        said = object_of({"conversation_history": value}, "conversation_history")
        only(said, SAID, f"`conversation_history` of {NAME}")
        turn, role = number_of(said, "turn", low=0), said.get("role")
        if turn is None or turn != int(turn):
            raise RecordError(f"`turn` must be a whole number, got {short(said.get('turn'))}.")
        if role == "user":
            if int(turn) != len(turns):
                raise RecordError(f"the turns are not in order: {int(turn)} after {len(turns)}.")
            turns[int(turn)] = (text_of(said, "content"), [])
        elif role == "model" and int(turn) == len(turns) - 1:
            turns[int(turn)][1].append(said)
        else:
            raise RecordError(f"turn {int(turn)}: expected the user's words, got {short(role)}.")
    return turns


def _candidate(name: str, reply: RowDict) -> Candidate:
    provider = text_of(reply, "model_provider") if reply.get("model_provider") else None
    origin = Origin(
        "model",
        model=text_of(reply, "model_name") if reply.get("model_name") else None,
        sampling={"provider": provider} if provider else {},
    )
    return Candidate(name, (Message("assistant", text_of(reply, "content")),), origin=origin)


def _chosen(names: list[str], replies: list[RowDict]) -> list[str]:
    """Return the response that the person went on with, if any, and those of the same text."""
    known = [r.get("if_chosen") is not None and flag_of(r, "if_chosen") for r in replies]
    chosen = [at for at, flag in enumerate(known) if flag]
    if len({text_of(replies[at], "content") for at in chosen}) > 1:
        named = ", ".join(names[at] for at in chosen)
        raise RecordError(f"different responses of one turn are chosen: {named}.")
    return [names[at] for at in chosen]


def _judgments(names: list[str], replies: list[RowDict], user: str) -> Iterator[Judgment]:
    rater, shown = Rater(user, "human"), tuple(names)
    chosen = _chosen(names, replies)
    if chosen and len(names) > 1:
        ranks = {name: 1 if name in chosen else 2 for name in names}
        yield Judgment("choice", "rank", shown, rater, ranks=ranks)
    scores = {name: number_of(r, "score") for name, r in zip(names, replies, strict=True)}
    if any(score is not None for score in scores.values()):
        yield Judgment("score", "rate", shown, rater, scores=scores, scale=(1, 100))


FORMAT = Format(
    name=NAME,
    description="PRISM conversations: conversation_history with scores and choices of one person",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
)
