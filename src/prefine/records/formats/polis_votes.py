"""Polis votes (compdemocracy.org/polis; open data CC BY 4.0): a crowd agrees, disagrees or passes.

A row of `votes.csv` is one vote on one comment: 1 agrees, -1 disagrees (a rating), 0 passes (a
rating without a score). Rows of the same comment follow each other and are one record, whose
candidate is the comment and is called by its number; a voter's later vote is a repetition. The
words stand in `comments.csv` (or `.gz`) beside the table; without it the comment is an item. Older
exports of Polis have the sign reversed: nothing in the file says which, so compare with the
columns `agrees` and `disagrees` of `comments.csv`. The first rows of brexit-consensus/votes.csv of
github.com/compdemocracy/openData:

    timestamp,datetime,comment-id,voter-id,vote
    1500232652930,Mon Jul 17 02:17:32 WIB 2017,0,0,0
    1500233625234,Mon Jul 17 02:33:45 WIB 2017,0,1,-1
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import compact, short
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    name_of,
    number_of,
    only,
    text_of,
)
from prefine.records.formats.rows import losses_by_reading, raw_object
from prefine.records.message import Message, Part
from prefine.records.schema import Candidate, Judgment, Origin, Rater, Record
from prefine.records.sources.files import file_rows

NAME = "polis_votes"
TIMES = ("timestamp", "datetime")
KNOWN = ("comment-id", "voter-id", "vote", *TIMES)
SCALE = (-1, 1)


def matches(row: RowDict) -> bool:
    """A comment, a voter and a vote."""
    return all(key in row for key in ("comment-id", "voter-id", "vote"))


def read(row: RowDict, where: Where) -> Record:
    """Make a record of one vote, which those on the same comment join."""
    only(row, KNOWN, NAME)
    comment, voter = name_of(row, "comment-id"), name_of(row, "voter-id")
    vote = number_of(row, "vote")
    if vote not in (-1, 0, 1):
        raise RecordError(f"`vote` must be 1, 0 or -1, got {short(row.get('vote'))}.")
    times = {key: name_of(row, key) for key in TIMES if row.get(key) not in (None, "")}
    judgment = Judgment(
        voter,
        "rate",
        (comment,),
        Rater(voter, "human"),
        scores={comment: int(vote) or None},
        scale=SCALE,
        raw=compact(times) if times else None,
    )
    author, said = _comment(where.folder, comment)
    origin = Origin("human", sampling={"author": author}) if author else Origin("human")
    content = (Part("item", id=comment),) if said is None else said
    return Record(
        source=where.source(row=comment),
        context=(),
        candidates=(Candidate(comment, (Message("assistant", content),), origin=origin),),
        judgments=(judgment,),
    )


def _comment(folder: Path | None, name: str) -> tuple[str | None, str | None]:
    """Return who wrote a comment and its words, if they lie beside the table."""
    for ending in (".csv", ".csv.gz"):
        path = None if folder is None else folder / f"comments{ending}"
        if path is not None and path.is_file():
            about = path.stat()
            found = _comments(path, about.st_mtime_ns, about.st_size).get(name)
            if found is None:
                raise RecordError(f"{path.name} has no comment {name}.")
            return found
    return None, None


@lru_cache(maxsize=2)
def _comments(path: Path, changed: int, size: int) -> Mapping[str, tuple[str | None, str]]:
    found: dict[str, tuple[str | None, str]] = {}
    for row in file_rows(path, path.name):
        if row.value is None:
            raise RecordError(f"{path.name}, line {row.line}: {row.problem}")
        author = name_of(row.value, "author-id") if row.value.get("author-id") else None
        found[name_of(row.value, "comment-id")] = (author, text_of(row.value, "comment-body"))
    return found


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for each vote on a comment."""
    if len(record.candidates) != 1 or record.context:
        return
    comment = record.candidates[0].id
    for judgment in record.judgments:
        scores: Mapping[str, Any] = judgment.scores or {}
        vote = 0 if scores.get(comment) is None else scores[comment]
        if judgment.kind != "rate" or judgment.scale != SCALE or vote not in (-1, 0, 1):
            continue
        if comment not in scores or judgment.rater.type != "human":
            continue
        times = {k: v for k, v in raw_object(judgment).items() if k in TIMES and isinstance(v, str)}
        row: RowDict = {**times, "comment-id": comment, "voter-id": judgment.rater.id}
        yield row | {"vote": int(vote)}


FORMAT = Format(
    name=NAME,
    description="Polis votes: comment-id, voter-id, vote (1 agrees, -1 disagrees, 0 passes)",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
    joins=True,
)
