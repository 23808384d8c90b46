"""PrefLib categories (preflib.org; licence with each data set): ballots of `.cat` files.

Each line puts alternatives into categories, with the number of voters who did so. Where the two
categories are called yes and no, a line is a rating of thumbs (1 for yes, 0 for no). No other
categories are taken for better or worse, for PrefLib orders them in no way: each alternative of a
line gets a signal of polarity 0 that names its category. An alternative in no category was not
judged. The names of the categories and the other fields of the header stay in `meta`. The first
lines of 00026-00000001.cat, as PrefLib's format specification prints them:

    # FILE NAME: 00026-00000001.cat
    # TITLE: GylesNonains
    # DESCRIPTION:
    # DATA TYPE: cat
    […]
    # NUMBER ALTERNATIVES: 16
    # NUMBER VOTERS: 365
    # NUMBER UNIQUE PREFERENCES: 216
    # NUMBER CATEGORIES: 2
    # CATEGORY NAME 1: Yes
    # CATEGORY NAME 2: No
    # ALTERNATIVE NAME 1: Megret
    […]
    13: 6,{1,2,3,4,5,7,8,9,10,11,12,13,14,15,16}
    13: {},{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}
    10: {9,10},{1,2,3,4,5,6,7,8,11,12,13,14,15,16}
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    Format,
    RowDict,
    Where,
    list_of,
    object_of,
    only,
    text_of,
)
from prefine.records.formats.preflib import ABOUT, ORDER, check_counts, one_line, places
from prefine.records.formats.rows import losses_by_reading
from prefine.records.message import Message
from prefine.records.schema import UNKNOWN_RATER, Candidate, Judgment, Record

NAME = "preflib_categorical"
COUNTS = ("NUMBER ALTERNATIVES", "NUMBER VOTERS", "NUMBER UNIQUE PREFERENCES", "NUMBER CATEGORIES")
CATEGORY = "CATEGORY NAME {}"
MOST = 1000
"""Most categories that a file may have: its header counts them, a name each."""
KNOWN = ("TITLE", *ABOUT, *COUNTS, "alternatives", "orders")
APPROVAL = ("yes", "no")

Ballot = tuple[int, list[list[str]]]
"""How many voters, and the alternatives of each category."""


def matches(row: RowDict) -> bool:
    """A header that counts categories, alternatives and ballots."""
    return all(key in row for key in ("NUMBER CATEGORIES", "alternatives", "orders"))


def read(row: RowDict, where: Where) -> Record:
    """Make the one record of a file."""
    names = _categories(row)
    keys = [CATEGORY.format(at) for at in range(1, len(names) + 1)]
    only(row, (*KNOWN, *keys), NAME)
    if text_of(row, "DATA TYPE") != "cat":
        raise RecordError(f"`DATA TYPE` must be cat, got {short(row['DATA TYPE'])}.")
    texts = object_of(row, "alternatives")
    candidates = tuple(Candidate(n, (Message("assistant", text_of(texts, n)),)) for n in texts)
    ballots = [
        _ballot(f"line {at}", line, tuple(texts), len(names))
        for at, line in enumerate(list_of(row, "orders"), 1)
    ]
    voters = sum(count for count, _ in ballots)
    check_counts(row, dict(zip(COUNTS, (len(texts), voters, len(ballots)), strict=False)))
    title = text_of(row, "TITLE") if row.get("TITLE") else ""
    return Record(
        source=where.source(row=row.get("FILE NAME") or None),
        context=(Message("user", title),) if title else (),
        candidates=candidates,
        judgments=tuple(_judgments(ballots, names)),
        meta={key: row[key] for key in (*ABOUT, *keys) if row.get(key)},
    )


def _categories(row: RowDict) -> list[str]:
    """Return the names of the categories, in their order."""
    said = text_of(row, "NUMBER CATEGORIES")
    count = int(said) if said.isascii() and said.isdigit() and len(said) < 5 else 0
    if not 1 <= count <= MOST:
        raise RecordError(f"`NUMBER CATEGORIES` must be from 1 to {MOST}, got {short(said)}.")
    names = [text_of(row, CATEGORY.format(at)) for at in range(1, count + 1)]
    if len(set(names)) != count:
        raise RecordError("two categories have the same name: which one is meant is not known.")
    return names


def _ballot(name: str, line: object, known: Sequence[str], categories: int) -> Ballot:
    found = ORDER.fullmatch(line) if isinstance(line, str) else None
    if found is None:
        raise RecordError(f"{name} must be `count: categories`, got {short(line)}.")
    ballot = [[a for a in place if a] for place in places(found[2], name)]
    if len(ballot) != categories:
        raise RecordError(f"{name} has {len(ballot)} categories, the header names {categories}.")
    seen: set[str] = set()
    for alternative in (a for place in ballot for a in place):
        if alternative not in known or alternative in seen:
            what = "twice" if alternative in seen else "which the header does not name"
            raise RecordError(f"{name} places {short(alternative)}, {what}.")
        seen.add(alternative)
    return int(found[1]), ballot


def _judgments(ballots: Sequence[Ballot], names: Sequence[str]) -> Iterator[Judgment]:
    approval = tuple(name.lower() for name in names) == APPROVAL
    for at, (count, ballot) in enumerate(ballots, 1):
        if approval:
            scores = {a: 1 - place for place, inside in enumerate(ballot) for a in inside}
            shown = tuple(scores)
            yield Judgment(
                f"line {at}", "rate", shown, UNKNOWN_RATER, scores=scores, scale=(0, 1), count=count
            )
            continue
        for name, inside in zip(names, ballot, strict=True):
            for alternative in inside:
                yield Judgment(
                    f"line {at}/{alternative}",
                    "signal",
                    (alternative,),
                    UNKNOWN_RATER,
                    target=alternative,
                    polarity=0,
                    category=(name,),
                    at={"line": at},
                    count=count,
                )


def write(record: Record) -> Iterable[RowDict]:
    """Yield the one file of a record of thumbs, or of signals that each name a category."""
    numbers = {candidate.id: str(at) for at, candidate in enumerate(record.candidates, 1)}
    texts = [candidate.text for candidate in record.candidates]
    names, ballots = _thumbs(record)
    if not ballots:
        names, ballots = _named(record)
    lines = [*texts, *names, *(message.text for message in record.context)]
    if not ballots or len(record.context) > 1 or any(not one_line(text) for text in lines):
        return
    unique: Counter[str] = Counter()
    for count, ballot in ballots:
        unique[",".join(_place([numbers[a] for a in inside]) for inside in ballot)] += count
    said = {key: record.meta.get(key) for key in ABOUT}
    about = {k: v if isinstance(v, str) and one_line(v) else "" for k, v in said.items()}
    counts = (len(texts), sum(unique.values()), len(unique), len(names))
    yield {
        "FILE NAME": about.pop("FILE NAME"),
        "TITLE": record.context[0].text if record.context else "",
        **about,
        "DATA TYPE": "cat",
        **{key: str(count) for key, count in zip(COUNTS, counts, strict=True)},
        **{CATEGORY.format(at): name for at, name in enumerate(names, 1)},
        "alternatives": dict(zip(numbers.values(), texts, strict=True)),
        "orders": [f"{count}: {ballot}" for ballot, count in unique.items()],
    }


def _place(inside: list[str]) -> str:
    return inside[0] if len(inside) == 1 else f"{{{','.join(inside)}}}"


def _thumbs(record: Record) -> tuple[list[str], list[Ballot]]:
    """Return the ballots of ratings that are thumbs on everything they score."""
    ballots: list[Ballot] = []
    for judgment in record.judgments:
        scores: Mapping[str, Any] = judgment.scores or {}
        if judgment.kind != "rate" or judgment.aspect != "overall" or judgment.scale != (0, 1):
            continue
        if scores and set(scores.values()) <= {0, 1}:
            inside = [[c.id for c in record.candidates if scores.get(c.id) == s] for s in (1, 0)]
            ballots.append((judgment.count, inside))
    kept = [record.meta.get(CATEGORY.format(at)) for at in (1, 2)]
    names = [name if isinstance(name, str) else "" for name in kept]
    approval = tuple(name.lower() for name in names) == APPROVAL
    return (names if approval else ["Yes", "No"]), ballots


def _named(record: Record) -> tuple[list[str], list[Ballot]]:
    """Return the ballots of signals that each put one alternative into one category."""
    signals = [j for j in record.judgments if j.kind == "signal" and j.at and "line" in j.at]
    signals = [j for j in signals if j.category is not None and len(j.category) == 1]
    lines: dict[str, list[Judgment]] = {}
    names: dict[str, None] = {}
    for at in range(1, MOST + 1):
        if not isinstance(name := record.meta.get(CATEGORY.format(at)), str):
            break
        names[name] = None
    for signal in signals:
        lines.setdefault(str((signal.at or {})["line"]), []).append(signal)
        names.setdefault((signal.category or ("",))[0])
    ballots: list[Ballot] = []
    for line in lines.values():
        targets = [signal.target for signal in line]
        if len({signal.count for signal in line}) > 1 or len(set(targets)) < len(targets):
            return [], []
        inside = [
            [str(s.target) for s in line if s.category == (name,) and s.target is not None]
            for name in names
        ]
        ballots.append((line[0].count, inside))
    approval = tuple(name.lower() for name in names) == APPROVAL
    return ([], []) if approval or len(names) > MOST else (list(names), ballots)


FORMAT = Format(
    name=NAME,
    description="PrefLib categories: .cat files, ballots with counts",
    kinds=frozenset({"preflib"}),
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
)
