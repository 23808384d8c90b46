"""VideoAlign pairs (Liu et al. 2025, arXiv:2501.13918, MIT): which of two videos is better in what.

`path_A` and `path_B` are videos made for `prompt`, relative to the folder of the file. Each aspect
(VQ visual quality, MQ motion quality, TA text alignment, Overall) is A, B, same (a tie) or invalid
(kept as a verdict that could not be read). Rates and numbers of frames are statistics of the
videos. VideoGen-RewardBench (huggingface.co/datasets/KwaiVGI/VideoGen-RewardBench) has the same
columns and the models' names, `A_model` and `B_model`. The third row of the project's
datasets/train/example.csv (github.com/KwaiVGI/VideoAlign), its prompt cut at […]:

    path_A,path_B,prompt,VQ,MQ,TA,fps_A,num_frames_A,fps_B,num_frames_B
    videos/example_3_A.mp4,./videos/example_3_B.mp4,"A first-person view of an astronaut […]",A,
    same,same,24.0,128.0,16.0,60.0
"""

from collections.abc import Iterable, Iterator

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    number_of,
    only,
    text_of,
)
from prefine.records.formats.rows import losses_by_reading, model_of, question, verdict
from prefine.records.media import medium
from prefine.records.message import Message
from prefine.records.schema import UNKNOWN_RATER, Candidate, Judgment, Origin, Record

NAME = "videoalign"
ASPECTS = {"VQ": "VQ", "MQ": "MQ", "TA": "TA", "Overall": "overall"}
"""Column -> aspect."""
WINNERS = {"A": "c0", "B": "c1", "same": "tie"}
STATS = ("fps", "num_frames")
SIDES = ("A", "B")
KNOWN = (
    "prompt",
    *ASPECTS,
    *(f"{key}_{side}" for key in ("path", *STATS) for side in SIDES),
    *(f"{side}_model" for side in SIDES),
)


def matches(row: RowDict) -> bool:
    """Paths of two videos, and a verdict."""
    return all(key in row for key in ("path_A", "path_B", "prompt")) and any(
        aspect in row for aspect in ASPECTS
    )


def read(row: RowDict, where: Where) -> Record:
    """Make a record with two videos, c0 is A."""
    only(row, KNOWN, NAME)
    return Record(
        source=where.source(),
        context=(Message("user", text_of(row, "prompt")),),
        candidates=tuple(_candidate(row, f"c{at}", side) for at, side in enumerate(SIDES)),
        judgments=tuple(_judgments(row)),
    )


def _candidate(row: RowDict, name: str, side: str) -> Candidate:
    video = medium("video", text_of(row, f"path_{side}"))
    stats = {key: number_of(row, f"{key}_{side}") for key in STATS}
    model = text_of(row, f"{side}_model") if row.get(f"{side}_model") else None
    return Candidate(
        name,
        (Message("assistant", (video,)),),
        origin=Origin("model", model=model) if model else None,
        stats={key: value for key, value in stats.items() if value is not None},
    )


def _judgments(row: RowDict) -> Iterator[Judgment]:
    for column, aspect in ASPECTS.items():
        said = row.get(column)
        if said is None or said == "":
            continue
        if said == "invalid":
            yield Judgment(
                column,
                "pair",
                ("c0", "c1"),
                UNKNOWN_RATER,
                aspect=aspect,
                valid=False,
                error="invalid in the source",
                raw=said,
            )
            continue
        if not isinstance(said, str) or said not in WINNERS:
            known = ", ".join((*WINNERS, "invalid"))
            raise RecordError(f"`{column}` must be one of {known}, got {short(said)}.")
        winner = WINNERS[said]
        yield Judgment(column, "pair", ("c0", "c1"), UNKNOWN_RATER, aspect=aspect, winner=winner)


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for two videos by path that were compared in one of the aspects."""
    paths = [_path(candidate) for candidate in record.candidates]
    asked = question(record)
    if asked is None or len(paths) != 2 or None in paths:
        return
    words = dict(zip((*(c.id for c in record.candidates), "tie"), WINNERS, strict=True))
    said: RowDict = {}
    for column, aspect in ASPECTS.items():
        pair = verdict(record, "pair", aspect)
        unread = [j for j in record.judgments if not j.valid and j.aspect == aspect]
        if pair is not None and pair.winner in words:
            said[column] = words[pair.winner]
        elif pair is None and unread:
            said[column] = "invalid"
    if not said:
        return
    row: RowDict = {"path_A": paths[0], "path_B": paths[1], "prompt": asked, **said}
    for candidate, side in zip(record.candidates, SIDES, strict=True):
        row |= {f"{key}_{side}": candidate.stats[key] for key in STATS if key in candidate.stats}
        if (model := model_of(candidate)) is not None:
            row[f"{side}_model"] = model
    yield row


def _path(candidate: Candidate) -> str | None:
    """Return the path of a candidate that is one video, or None."""
    content = candidate.messages[0].content
    if len(candidate.messages) > 1 or isinstance(content, str) or len(content) != 1:
        return None
    return content[0].uri if content[0].type == "video" and content[0].data is None else None


FORMAT = Format(
    name=NAME,
    description="VideoAlign: prompt, path_A and path_B of two videos, VQ, MQ, TA, Overall",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
)
