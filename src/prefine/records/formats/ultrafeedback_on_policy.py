r"""UltraFeedback answered anew: all responses of one model, scored by a reward model (Meng 2024).

huggingface.co/datasets/princeton-nlp/llama3-ultrafeedback-armorm, MIT, its siblings for other
models, and what github.com/princeton-nlp/SimPO writes (arXiv:2405.14734). `chosen` is the response
with the highest score, `rejected` the one with the lowest; all responses are candidates here, so
lists and other pairs can be had too. Where all scores are equal, chosen and rejected are one
response, and there is no comparison. `prompt_id` names the row.

No row is printed where it could be cited, so this one follows the script that writes them,
on_policy_data_gen/reward_model_annotate.py:

    {
      "prompt_id": "...",
      "prompt": "...",
      "all_generated_responses": ["the best", "in between", "the worst"],
      "all_rm_scores": [0.15, 0.12, 0.09],
      "chosen": [
        {"role": "user", "content": "..."},
        {"role": "assistant", "content": "the best"}
      ],
      "rejected": [
        {"role": "user", "content": "..."},
        {"role": "assistant", "content": "the worst"}
      ]
    }
"""

from collections.abc import Iterable, Mapping
from typing import Any

from prefine.errors import RecordError
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    list_of,
    number_of,
    only,
    text_of,
)
from prefine.records.formats.rows import (
    filled,
    kept,
    losses_by_reading,
    plain,
    question,
    scores_of,
    texts,
    verdict,
)
from prefine.records.formats.trl import chat, is_chat, messages_of, reply, user
from prefine.records.schema import Candidate, Judgment, Rater, Record

NAME = "ultrafeedback_on_policy"
SIDES = ("chosen", "rejected")
KNOWN = ("prompt_id", "prompt", "all_generated_responses", "all_rm_scores", *SIDES)
SCORER = Rater("reward model", "model")


def matches(row: RowDict) -> bool:
    """All responses, and two of them as messages."""
    lists = isinstance(row.get("all_generated_responses"), list)
    return lists and all(is_chat(row.get(side)) for side in SIDES)


def read(row: RowDict, where: Where) -> Record:
    """Make a record with all responses, c0, c1, ... in their order."""
    only(row, KNOWN, NAME)
    asked, said = text_of(row, "prompt"), texts(row, "all_generated_responses")
    names = [f"c{at}" for at in range(len(said))]
    scores = _scores(row, names)
    judgments: list[Judgment] = []
    if scores:
        shown = tuple(names)
        judgments.append(
            Judgment("score", "rate", shown, SCORER, scores=scores, scale=(None, None))
        )
    best, worst = (_which(row, side, said, scores) for side in SIDES)
    if best != worst:
        shown = (f"c{best}", f"c{worst}")
        judgments.append(Judgment("pair", "pair", shown, SCORER, winner=f"c{best}"))
    return Record(
        source=where.source(),
        context=user(asked),
        candidates=tuple(
            Candidate(name, reply("all_generated_responses", text))
            for name, text in zip(names, said, strict=True)
        ),
        judgments=tuple(judgments),
        tags=kept(row, "prompt_id"),
    )


def _scores(row: RowDict, names: list[str]) -> Mapping[str, float | None]:
    if row.get("all_rm_scores") is None:
        return {}
    values = list_of(row, "all_rm_scores")
    if len(values) != len(names):
        raise RecordError(f"{len(names)} `all_generated_responses`, {len(values)} `all_rm_scores`.")
    scores = [number_of({"all_rm_scores": value}, "all_rm_scores") for value in values]
    return dict(zip(names, scores, strict=True))


def _which(row: RowDict, side: str, said: list[str], scores: Mapping[str, float | None]) -> int:
    """Return which response a side is: of equal texts the one whose score fits the side."""
    messages = messages_of(row, side)
    if len(messages) != 2 or [messages[0].role, messages[0].content] != ["user", row["prompt"]]:
        raise RecordError(f"`{side}` must be the prompt and one answer.")
    found = [at for at, text in enumerate(said) if text == messages[1].content]
    if not found:
        raise RecordError(f"the answer of `{side}` is not among `all_generated_responses`.")
    sign = -1 if side == "chosen" else 1
    return min(found, key=lambda at: sign * (scores.get(f"c{at}") or 0))


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for texts of which two were compared, or which all have one score."""
    asked = question(record)
    if asked is None or not record.candidates or not plain(*record.candidates):
        return
    pair, rate = verdict(record, "pair"), verdict(record, "rate")
    scores = scores_of(rate)
    names = [candidate.id for candidate in record.candidates]
    best = worst = names[0]
    if pair is not None and pair.winner in pair.shown:
        best, worst = sorted(pair.shown, key=lambda name: name != pair.winner)
    elif len({scores.get(name) for name in names}) > 1 or pair is not None:
        return
    sides: dict[str, Any] = {
        side: chat((*record.context, *record.candidate(name).messages))
        for side, name in zip(SIDES, (best, worst), strict=True)
    }
    prompt_id = record.tags.get("prompt_id")
    yield filled(
        prompt_id=prompt_id,
        prompt=asked,
        all_generated_responses=[candidate.text for candidate in record.candidates],
        all_rm_scores=[scores.get(name) for name in names] if scores else None,
        **sides,
    )


FORMAT = Format(
    name=NAME,
    description="UltraFeedback answered anew: all_generated_responses with all_rm_scores",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
)
