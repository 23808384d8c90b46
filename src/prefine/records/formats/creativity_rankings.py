"""Rankings of expert writers (Chakrabarty et al. 2024, arXiv:2409.14509, BSD-3-Clause).

A row of `annotator_01_rankings.json` ranks the three texts of one instruction; 1 is best, and the
annotator stands in the file's name. The texts, in the order shown, and who wrote each (AI, AI that
edited, a person who edited) stand in `annotator_01.json` (or `.gz`) beside it; without that file
they are items, known by their places alone. The first row:

    {"instruction_id": 1, "rank_1": "Response 2", "rank_2": "Response 1", "rank_3": "Response 3"}

and the first of the texts, cut at […]:

    {"instruction": "What is the story behind the politician's visit to the restaurant […]",
     "responses": ["The politician entered the quiet restaurant […]", …],
     "mapping": {"Response 1": "AI-generated", "Response 2": "Human-edited",
       "Response 3": "AI-edited"}, "id": "writer_14_batch1_19", "instruction_id": 1}
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    name_of,
    object_of,
    only,
    text_of,
)
from prefine.records.formats.rows import texts
from prefine.records.message import Message, Part
from prefine.records.schema import UNKNOWN_RATER, Candidate, Judgment, Origin, Rater, Record
from prefine.records.sources.files import file_rows, stem

NAME = "creativity_rankings"
RANKS = ("rank_1", "rank_2", "rank_3")
KNOWN = ("instruction_id", *RANKS)
OF_TEXTS = ("instruction", "responses", "mapping", "id", "instruction_id")
FILE = re.compile(r"(.+)_rankings")
KINDS = {"Human-edited": "edit", "AI-edited": "model", "AI-generated": "model"}


def matches(row: RowDict) -> bool:
    """Three ranks of an instruction."""
    return all(key in row for key in KNOWN)


def read(row: RowDict, where: Where) -> Record:
    """Make a record of three texts, called as in the table, and their ranking."""
    only(row, KNOWN, NAME)
    instruction = name_of(row, "instruction_id")
    found = FILE.fullmatch(stem(Path(where.name)))
    rater = UNKNOWN_RATER if found is None else Rater(found[1], "human")
    order = [text_of(row, key) for key in RANKS]
    names = tuple(f"Response {at}" for at in range(1, len(RANKS) + 1))
    if tuple(sorted(order)) != names:
        raise RecordError(f"the ranks must name {', '.join(names)}, got {short(', '.join(order))}.")
    ranks = {name: order.index(name) + 1 for name in names}
    about = None if found is None else _about(where.folder, found[1], instruction)
    return Record(
        source=where.source(row=instruction if about is None else name_of(about, "id")),
        context=(Message("user", _asked(about, instruction)),),
        candidates=_items(names) if about is None else _texts(about, names),
        judgments=(Judgment("ranking", "rank", names, rater, ranks=ranks),),
    )


def _asked(about: RowDict | None, instruction: str) -> str | tuple[Part, ...]:
    item = (Part("item", id=instruction),)
    return item if about is None else text_of(about, "instruction")


def _items(names: tuple[str, ...]) -> tuple[Candidate, ...]:
    items = {name: (Part("item", id=name),) for name in names}
    return tuple(Candidate(name, (Message("assistant", items[name]),)) for name in names)


def _texts(about: RowDict, names: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Return the texts that were ranked, in the order shown."""
    only(about, OF_TEXTS, f"the texts of {NAME}")
    mapping = object_of(about, "mapping")
    said = texts(about, "responses")
    if len(said) != len(names) or set(mapping) != set(names):
        raise RecordError(f"`responses` and `mapping` must hold {len(names)} texts.")
    return tuple(
        Candidate(name, (Message("assistant", text),), origin=_origin(text_of(mapping, name)))
        for name, text in zip(names, said, strict=True)
    )


def _origin(writer: str) -> Origin:
    if writer not in KINDS:
        raise RecordError(f"`mapping` must name {', '.join(KINDS)}, got {short(writer)}.")
    return Origin(KINDS[writer], model=writer)


def _about(folder: Path | None, annotator: str, instruction: str) -> RowDict | None:
    """Return instruction and texts, if they lie beside the rankings."""
    for ending in (".json", ".json.gz"):
        path = None if folder is None else folder / f"{annotator}{ending}"
        if path is not None and path.is_file():
            about = path.stat()
            rows = _rows(path, about.st_mtime_ns, about.st_size)
            if instruction not in rows:
                raise RecordError(f"{path.name} has no instruction {instruction}.")
            return rows[instruction]
    return None


@lru_cache(maxsize=2)
def _rows(path: Path, changed: int, size: int) -> Mapping[str, RowDict]:
    found: dict[str, RowDict] = {}
    for row in file_rows(path, path.name):
        if row.value is None:
            raise RecordError(f"{path.name}, row {row.number}: {row.problem}")
        found[name_of(row.value, "instruction_id")] = row.value
    return found


FORMAT = Format(
    name=NAME,
    description="Creativity rankings: instruction_id, rank_1, rank_2, rank_3; texts beside it",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
)
