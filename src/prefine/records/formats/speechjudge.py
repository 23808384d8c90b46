r"""SpeechJudge pairs (Zhang et al. 2025, arXiv:2511.07931, CC BY-NC 4.0): which speech is natural.

huggingface.co/datasets/RMSnow/SpeechJudge-Data. `audioA` and `audioB` speak `target_text` in the
voice of `prompt`, whose words are `prompt_text`; audio is a path, or bytes (base64 here). Each of
the raters says which is more natural, by 1 or 2 ("Tie (both not good)" is both bad, the other ties
are ties), and for each whether the text is spoken without error (aspect `text_accuracy`). What they
said stands in `raw`. `naturalness_label` is the majority of these votes, so it is not a vote of its
own: it stays in `meta`, as do `chosen` (raters who often agree with others) and Gemini's answer.

No row is printed where it could be cited, so this one follows the data card's list of fields:

    {
      "index": 0,
      "subset": "regular",
      "language_setting": "en2en",
      "prompt": {"bytes": "UklGRg==", "path": "prompt.wav"},
      "prompt_text": "…",
      "target_text": "…",
      "audioA": {"bytes": "UklGRg==", "path": "a.wav"},
      "audioB": {"bytes": "UklGRg==", "path": "b.wav"},
      "rater": ["rater01", "rater05"],
      "audioA_text_accuracy": [1, 1],
      "audioB_text_accuracy": [0, 1],
      "naturalness_annotation": ["A+2", "Tie (both very good)"],
      "naturalness_label": "A",
      "chosen": true,
      "gemini-2.5-flash": ""
    }
"""

import re
from collections.abc import Iterator
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    list_of,
    name_of,
    number_of,
    only,
    text_of,
)
from prefine.records.formats.rows import kept, texts
from prefine.records.media import medium
from prefine.records.message import Message, Part
from prefine.records.schema import Candidate, Judgment, Rater, Record

NAME = "speechjudge"
SIDES = ("A", "B")
TAGS = ("subset", "language_setting")
META = ("naturalness_label", "chosen", "gemini-2.5-flash")
ACCURACY = tuple(f"audio{side}_text_accuracy" for side in SIDES)
KNOWN = (
    "index",
    "prompt",
    "prompt_text",
    "target_text",
    "audioA",
    "audioB",
    "rater",
    *ACCURACY,
    "naturalness_annotation",
    *TAGS,
    *META,
)
BETTER = re.compile(r"([AB])\+([12])")
TIE = re.compile(r"Tie \(.*\)")


def matches(row: RowDict) -> bool:
    """A text, spoken twice."""
    return all(key in row for key in ("target_text", "audioA", "audioB"))


def read(row: RowDict, where: Where) -> Record:
    """Make a record with two recordings, c0 is A."""
    only(row, KNOWN, NAME)
    asked: list[Part] = []
    if row.get("prompt") is not None:
        words = text_of(row, "prompt_text") if row.get("prompt_text") is not None else None
        voice = medium("audio", row["prompt"])
        asked.append(Part("audio", uri=voice.uri, data=voice.data, text=words))
    asked.append(Part("text", text=text_of(row, "target_text")))
    return Record(
        source=where.source(row=name_of(row, "index") if row.get("index") is not None else None),
        context=(Message("user", tuple(asked)),),
        candidates=tuple(_candidate(row, f"c{at}", side) for at, side in enumerate(SIDES)),
        judgments=tuple(_judgments(row)),
        tags={key: text_of(row, key) for key in TAGS if row.get(key) is not None},
        meta=kept(row, *META),
    )


def _candidate(row: RowDict, name: str, side: str) -> Candidate:
    audio = medium("audio", row.get(f"audio{side}"))
    return Candidate(name, (Message("assistant", (audio,)),))


def _judgments(row: RowDict) -> Iterator[Judgment]:
    raters = texts(row, "rater") if row.get("rater") is not None else []
    votes = _per_rater(row, "naturalness_annotation", raters)
    heard = [_per_rater(row, key, raters) for key in ACCURACY]
    for at, name in enumerate(raters):
        rater = Rater(name, "human")
        if votes:
            winner, strength = _vote(votes[at])
            yield Judgment(
                f"natural {at}",
                "pair",
                ("c0", "c1"),
                rater,
                winner=winner,
                strength=strength,
                raw=votes[at],
            )
        scores = {
            f"c{side}": number_of({key: heard[side][at]}, key, low=0)
            for side, key in enumerate(ACCURACY)
            if heard[side]
        }
        if scores:
            yield Judgment(
                f"accurate {at}",
                "rate",
                tuple(scores),
                rater,
                aspect="text_accuracy",
                scores=scores,
                scale=(0, 1),
            )


def _per_rater(row: RowDict, key: str, raters: list[str]) -> list[Any]:
    """Return a column of one value for each rater, none if there is no such column."""
    if row.get(key) is None:
        return []
    values = list_of(row, key)
    if len(values) != len(raters):
        raise RecordError(f"{len(values)} values in `{key}`, but {len(raters)} in `rater`.")
    return values


def _vote(said: Any) -> tuple[str, float | None]:
    if isinstance(said, str) and (found := BETTER.fullmatch(said)):
        return ("c0" if found[1] == "A" else "c1"), float(found[2])
    if isinstance(said, str) and TIE.fullmatch(said):
        return ("both_bad" if "not good" in said else "tie"), None
    raise RecordError(
        f"`naturalness_annotation` must be A+1, A+2, B+1, B+2 or Tie (why), got {short(said)}."
    )


FORMAT = Format(
    name=NAME,
    description="SpeechJudge: target_text, audioA and audioB, votes and errors by rater",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
)
