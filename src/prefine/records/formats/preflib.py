"""PrefLib orders (Mattei and Walsh 2013, preflib.org; licence with each data set): elections.

The files `.soc`, `.soi`, `.toc` and `.toi`: strict or tied orders (s, t), complete or incomplete
(c, i). A file is one record: the title is the context, the alternatives are the candidates, called
by their numbers, and each line is a ranking with the number of voters who gave it as its count.
What an incomplete order leaves out is not ranked. The other fields of the header stay in `meta`.
The first lines of 00002-00000001.toc, as PrefLib's own page prints them:

    # FILE NAME: 00002-00000001.toc
    # TITLE: Debian 2002 Leader
    # DESCRIPTION: Obtained from the soi by adding the unranked alternatives at the bottom
    # DATA TYPE: toc
    […]
    # NUMBER ALTERNATIVES: 4
    # NUMBER VOTERS: 475
    # NUMBER UNIQUE ORDERS: 31
    # ALTERNATIVE NAME 1: Branden Robinson
    […]
    100: 3,1,2,4
    […]
    9: 3,{1,2,4}
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

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
from prefine.records.formats.rows import losses_by_reading
from prefine.records.message import Message
from prefine.records.schema import UNKNOWN_RATER, Candidate, Judgment, Record

NAME = "preflib"
COUNTS = ("NUMBER ALTERNATIVES", "NUMBER VOTERS", "NUMBER UNIQUE ORDERS")
ABOUT = (
    "FILE NAME",
    "DESCRIPTION",
    "DATA TYPE",
    "MODIFICATION TYPE",
    "RELATES TO",
    "RELATED FILES",
    "PUBLICATION DATE",
    "MODIFICATION DATE",
)
KNOWN = ("TITLE", *ABOUT, *COUNTS, "alternatives", "orders")
ORDER = re.compile(r"(\d{1,9}) *: *(.+)", re.ASCII)
PLACE = re.compile(r" *(?:\{([^{}]*)\}|([^,{}]+)) *(,|$)")


def matches(row: RowDict) -> bool:
    """A header, alternatives and orders, which are not ballots of categories."""
    parts = all(key in row for key in ("DATA TYPE", "alternatives", "orders"))
    return parts and "NUMBER CATEGORIES" not in row


def read(row: RowDict, where: Where) -> Record:
    """Make the one record of a file."""
    only(row, KNOWN, NAME)
    kind = text_of(row, "DATA TYPE")
    if kind not in ("soc", "soi", "toc", "toi"):
        raise RecordError(f"`DATA TYPE` must be soc, soi, toc or toi, got {short(kind)}.")
    names = object_of(row, "alternatives")
    candidates = tuple(Candidate(n, (Message("assistant", text_of(names, n)),)) for n in names)
    orders = list_of(row, "orders")
    judgments = tuple(
        _judgment(f"order {at}", order, tuple(names), kind) for at, order in enumerate(orders, 1)
    )
    voters = sum(judgment.count for judgment in judgments)
    check_counts(row, dict(zip(COUNTS, (len(names), voters, len(judgments)), strict=True)))
    title = text_of(row, "TITLE") if row.get("TITLE") else ""
    return Record(
        source=where.source(row=row.get("FILE NAME") or None),
        context=(Message("user", title),) if title else (),
        candidates=candidates,
        judgments=judgments,
        meta={key: row[key] for key in ABOUT if row.get(key)},
    )


def _judgment(name: str, order: object, shown: tuple[str, ...], kind: str) -> Judgment:
    found = ORDER.fullmatch(order) if isinstance(order, str) else None
    if found is None:
        raise RecordError(f"{name} must be `count: alternatives`, got {short(order)}.")
    ranks: dict[str, int] = {}
    for rank, place in enumerate(places(found[2], name), 1):
        if len(place) > 1 and kind.startswith("s"):
            raise RecordError(f"{name} has a tie, which a file of type {kind} must not have.")
        for alternative in place:
            if alternative not in shown or alternative in ranks:
                what = "twice" if alternative in ranks else "which the header does not name"
                raise RecordError(f"{name} ranks {short(alternative)}, {what}.")
            ranks[alternative] = rank
    if len(ranks) < len(shown) and kind.endswith("c"):
        raise RecordError(f"{name} leaves alternatives out, which type {kind} must not.")
    count = int(found[1])
    return Judgment(name, "rank", shown, UNKNOWN_RATER, ranks=ranks, count=count)


def check_counts(row: RowDict, counted: Mapping[str, int]) -> None:
    """Raise `RecordError` unless a header counts what the file holds."""
    for key, count in counted.items():
        if row.get(key) is not None and text_of(row, key) != str(count):
            raise RecordError(
                f"the header says `{key}` {short(row[key])}, but there are {count}. The file is "
                "cut short or its header is wrong: mend one of them."
            )


def places(text: str, name: str) -> Iterator[list[str]]:
    """Yield the alternatives of each place of an order such as `3,{1,2,4}`.

    Raises:
        RecordError: If it is none; `name` says where it stands.
    """
    at = 0
    while at < len(text):
        found = PLACE.match(text, at)
        if found is None or (found[3] and found.end() == len(text)):
            raise RecordError(f"{name} is broken at {short(text[at:])}.")
        inside = found[2] if found[1] is None else found[1]
        yield [alternative.strip() for alternative in inside.split(",")]
        at = found.end()


def write(record: Record) -> Iterable[RowDict]:
    """Yield the one file of a record whose candidates were ranked; equal rankings are one order."""
    names = {candidate.id: str(at) for at, candidate in enumerate(record.candidates, 1)}
    texts = [candidate.text for candidate in record.candidates]
    rankings = [j for j in record.judgments if j.kind == "rank" and j.valid and j.ranks]
    rankings = [j for j in rankings if j.aspect == "overall"]
    lines = [*texts, *(message.text for message in record.context)]
    if not rankings or len(record.context) > 1 or any(not one_line(text) for text in lines):
        return
    orders: Counter[str] = Counter()
    for judgment in rankings:
        orders[_order(judgment.ranks or {}, names)] += judgment.count
    tied = any("{" in order for order in orders)
    whole = all(len(judgment.ranks or ()) == len(names) for judgment in rankings)
    said = {key: record.meta.get(key) for key in ABOUT}
    about = {k: v if isinstance(v, str) and one_line(v) else "" for k, v in said.items()}
    about["DATA TYPE"] = ("t" if tied else "s") + "o" + ("c" if whole else "i")
    title = record.context[0].text if record.context else ""
    voters = sum(orders.values())
    yield {
        "FILE NAME": about.pop("FILE NAME"),
        "TITLE": title,
        **about,
        **{k: str(v) for k, v in zip(COUNTS, (len(names), voters, len(orders)), strict=True)},
        "alternatives": dict(zip(names.values(), texts, strict=True)),
        "orders": [f"{count}: {order}" for order, count in orders.items()],
    }


def one_line(text: str) -> bool:
    """Whether a line of a file can hold a text as it is."""
    return len(text.splitlines()) < 2 and text == text.strip()


def _order(ranks: Mapping[str, int], names: Mapping[str, str]) -> str:
    places: dict[int, list[str]] = {}
    for name, number in names.items():
        if name in ranks:
            places.setdefault(ranks[name], []).append(number)
    tied = {rank: ",".join(place) for rank, place in places.items()}
    return ",".join(
        f"{{{tied[rank]}}}" if len(places[rank]) > 1 else tied[rank] for rank in sorted(places)
    )


FORMAT = Format(
    name=NAME,
    description="PrefLib elections: .soc, .soi, .toc and .toi files, orders with counts",
    kinds=frozenset({"preflib"}),
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
)
