"""PRISM utterances (Kirk et al. 2024, arXiv:2404.16019, CC BY 4.0; responses CC BY-NC 4.0).

A row of `utterances.jsonl` is one response of one turn; the rows of a turn (`interaction_id`)
follow each other and are one record. Each response has a rating from 1 to 100, and a signal where
the person went on with it. The person is rater and principal in one.

The rows lack what was said before, so only a conversation's first turn is whole. Later turns are
kept with `tags.malformed`: they count, but no view takes them. `conversations.jsonl` has the same
turns with their context (see `prism`): prefer it.

The first row, as the project's notebook 01_summary_tables prints it; the answer is cut at […]:

    {
      "utterance_id": "ut0",
      "interaction_id": "int0",
      "conversation_id": "c0",
      "user_id": "user0",
      "turn": 0,
      "within_turn_id": 0,
      "included_in_balanced_subset": false,
      "conversation_type": "unguided",
      "user_prompt": "What can you do about the inequality  of wealth?",
      "model_response": "Make it illegal for corporations to own a majo[…]",
      "model_name": "google/flan-t5-xxl",
      "model_provider": "huggingface_api",
      "score": 17,
      "if_chosen": false
    }
"""

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
from prefine.records.formats.trl import Tags, user
from prefine.records.message import Message
from prefine.records.schema import Candidate, Judgment, Origin, Principal, Rater, Record

NAME = "prism_utterances"
KNOWN = (
    "utterance_id",
    "interaction_id",
    "conversation_id",
    "user_id",
    "turn",
    "within_turn_id",
    "included_in_balanced_subset",
    "included_in_US_REP",
    "included_in_UK_REP",
    "conversation_type",
    "user_prompt",
    "model_response",
    "model_name",
    "model_provider",
    "score",
    "if_chosen",
)
SUBSETS = tuple(key for key in KNOWN if key.startswith("included_in_"))


def matches(row: RowDict) -> bool:
    """A response to a prompt within an interaction."""
    return all(key in row for key in ("interaction_id", "user_prompt", "model_response"))


def read(row: RowDict, where: Where) -> Record:
    """Make a record of one response, which those of the same turn join."""
    only(row, KNOWN, NAME)
    person, name = name_of(row, "user_id"), f"r{name_of(row, 'within_turn_id')}"
    turn = number_of(row, "turn", low=0)
    if turn is None or turn != int(turn):
        raise RecordError(f"`turn` must be a whole number, got {short(row.get('turn'))}.")
    tags: Tags = {"conversation": name_of(row, "conversation_id"), "turn": int(turn)}
    if row.get("conversation_type") is not None:
        tags["conversation_type"] = text_of(row, "conversation_type")
    if turn:
        tags["malformed"] = True
    rater, score = Rater(person, "human"), number_of(row, "score")
    judgments: list[Judgment] = []
    if score is not None:
        judgments.append(
            Judgment(f"score {name}", "rate", (name,), rater, scores={name: score}, scale=(1, 100))
        )
    if row.get("if_chosen") is not None and flag_of(row, "if_chosen"):
        judgments.append(
            Judgment(
                f"choice {name}",
                "signal",
                (name,),
                rater,
                target=name,
                polarity=1,
                category=("chosen",),
            )
        )
    return Record(
        source=where.source(row=name_of(row, "interaction_id")),
        context=user(text_of(row, "user_prompt")),
        candidates=(_candidate(row, name),),
        judgments=tuple(judgments),
        principal=Principal(person),
        tags=tags,
        meta={key: row[key] for key in SUBSETS if row.get(key) is not None},
    )


def _candidate(row: RowDict, name: str) -> Candidate:
    provider = text_of(row, "model_provider") if row.get("model_provider") else None
    sampling: dict[str, str] = {"provider": provider} if provider else {}
    if row.get("utterance_id") is not None:
        sampling["utterance"] = name_of(row, "utterance_id")
    model = text_of(row, "model_name") if row.get("model_name") else None
    message = Message("assistant", text_of(row, "model_response"))
    return Candidate(name, (message,), origin=Origin("model", model=model, sampling=sampling))


FORMAT = Format(
    name=NAME,
    description="PRISM utterances: user_prompt and one model_response a row, with score",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    joins=True,
)
