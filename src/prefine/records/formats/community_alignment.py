"""Community Alignment (Zhang et al. 2025, arXiv:2507.09650, CC BY 4.0): choices among four.

A row is a conversation of one annotator, up to four turns. In each turn they saw four responses and
preferred one (a ranking: 1 for it, 2 for the others), and may have said why (the rationale). Each
turn is a record, whose context holds the responses preferred before. Who the annotator is stands in
`rater.group`. The full file has conversations in which a turn, or the preferred response of one, is
missing: what follows lacks a part of its context and is kept with `tags.malformed`, so that it
counts, but no view takes it.

No row is printed where it could be cited. The columns, of
huggingface.co/datasets/facebook/community-alignment-dataset:

    {"conversation_id": …, "assigned_lang": …, "annotator_id": …, "annotator_country": …,
     "first_turn_prompt": …, "first_turn_response_a": …, … "first_turn_response_d": …,
     "first_turn_preferred_response": "response_b", "first_turn_feedback": …,
     "second_turn_prompt": …, …}
"""

import re

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import JSON_OR_TABLE, Format, RowDict, Where, name_of, only
from prefine.records.message import Message
from prefine.records.schema import Candidate, Judgment, Rater, Record

NAME = "community_alignment"
TURNS = ("first", "second", "third", "fourth")
LETTERS = ("a", "b", "c", "d")
OF_TURN = ("prompt", *(f"response_{x}" for x in LETTERS), "preferred_response", "feedback")
KNOWN = (
    "conversation_id",
    "assigned_lang",
    "annotator_id",
    "is_pregenerated_first_prompt",
    *(f"{turn}_turn_{key}" for turn in TURNS for key in OF_TURN),
)
OF_ROW = re.compile(r"in_balanced_subset\w*|is_pregenerated_first_prompt")
OF_ANNOTATOR = re.compile(r"annotator_(?!id$)(\w+)")


def matches(row: RowDict) -> bool:
    """A first prompt, its responses and whose conversation it is."""
    return all(k in row for k in ("annotator_id", "first_turn_prompt", "first_turn_response_a"))


def read(row: RowDict, where: Where) -> list[Record]:
    """Make a record of each turn that has a prompt."""
    odd = [key for key in row if OF_ROW.fullmatch(key) or OF_ANNOTATOR.fullmatch(key)]
    only(row, (*KNOWN, *odd), NAME)
    group = {key.removeprefix("annotator_"): _text(row, key) for key in odd if key[0] == "a"}
    rater = Rater(
        name_of(row, "annotator_id"), "human", group={k: v for k, v in group.items() if v}
    )
    conversation = name_of(row, "conversation_id")
    tags = {"conversation": conversation}
    if language := _text(row, "assigned_lang"):
        tags["language"] = language
    meta = {key: row[key] for key in odd if OF_ROW.fullmatch(key) and row[key] is not None}
    records: list[Record] = []
    context: tuple[Message, ...] = ()
    whole = True
    for at, turn in enumerate(TURNS):
        values = {key: _text(row, f"{turn}_turn_{key}") for key in OF_TURN}
        if not values["prompt"]:
            if any(values.values()):
                raise RecordError(f"`{turn}_turn_prompt` is missing, but that turn has responses.")
            whole = False
            continue
        context = (*context, Message("user", values["prompt"]))
        candidates, judgments = _turn(values, rater, turn)
        record = Record(
            source=where.source(row=f"{conversation}/{at}"),
            context=context,
            candidates=candidates,
            judgments=judgments,
            tags={**tags, "turn": at} | ({} if whole else {"malformed": True}),
            meta=meta if not records else {"follows": records[-1].source.row},
        )
        records.append(record)
        whole = whole and bool(judgments)
        if judgments:
            context = (*context, *record.candidate(values["preferred_response"]).messages)
    if not records:
        raise RecordError("`first_turn_prompt` is empty.")
    return records


def _text(row: RowDict, key: str) -> str:
    """Return the text under a key, "" if there is none; numbers as text."""
    value = row.get(key)
    return "" if value is None or value == "" else name_of(row, key)


def _turn(
    values: dict[str, str], rater: Rater, turn: str
) -> tuple[tuple[Candidate, ...], tuple[Judgment, ...]]:
    names = [name for name in OF_TURN if name.startswith("response_") and values[name]]
    candidates = tuple(Candidate(n, (Message("assistant", values[n]),)) for n in names)
    chosen = values["preferred_response"]
    if not chosen:
        return candidates, ()
    if chosen not in names:
        known = ", ".join(names) or "none"
        raise RecordError(
            f"`{turn}_turn_preferred_response` must be one of the responses ({known}), got "
            f"{short(chosen)}."
        )
    ranks = {name: 1 if name == chosen else 2 for name in names}
    why = values["feedback"] or None
    return candidates, (
        Judgment("choice", "rank", tuple(names), rater, ranks=ranks, rationale=why),
    )


FORMAT = Format(
    name=NAME,
    description="Community Alignment: up to four turns, four responses each, one preferred",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
)
