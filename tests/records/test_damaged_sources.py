"""Every kind of file, damaged in every way: a clear error, or a counted reject, or the truth.

Where the damage is confined to one row, the file is refused as a whole with a reason, or the rows
read and the rows rejected are as many as were written and every other row is what it was, field by
field. (`test_damaged_files.py` does the same for every format in JSON lines.)
"""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from tests.records.formats.test_table import VOTE

from prefine.errors import PrefineError, RecordError
from prefine.records import Record
from prefine.records.load import reading
from prefine.records.sources import json_rows, row, table_rows, xml_rows

ROWS, FILE_CASES, ROW_CASES = 5, 200, 200
NAMES = ("prompt", "chosen", "rejected")
CELLS = [(f"{n} + {n}?", f"yes {n}, or é", f"no {n}") for n in range(ROWS)]


def csv_line(cells: tuple[str, ...], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def own(cells: tuple[str, ...]) -> bytes:
    prompt, *replies = cells
    said = [{"role": "assistant", "content": reply} for reply in replies]
    row = {
        "schema": "prefine/1",
        "id": prompt,
        "context": [{"role": "user", "content": prompt}],
        "candidates": [{"id": f"c{at}", "messages": [reply]} for at, reply in enumerate(said)],
        "judgments": [
            {
                "id": "j0",
                "kind": "pair",
                "shown": ["c0", "c1"],
                "rater": {"id": "ann", "type": "human"},
                "winner": "c0",
            }
        ],
    }
    return json.dumps(row).encode() + b"\n"


def elements(fields: dict[str, str]) -> str:
    return "".join(f"<{tag}>{text}</{tag}>" for tag, text in fields.items())


def pair_of_arguments(cells: tuple[str, ...]) -> bytes:
    name, *texts = cells
    argument = {"author": "", "voteUpCount": "1", "stance": "Yes"}
    sides = {
        f"arg{at}": elements({"id": f"arg{at}", **argument, "text": text})
        for at, text in enumerate(texts, 1)
    }
    debate = elements({"title": name, "description": "", "url": "x"})
    votes = elements({"mTurkAssignment": elements(VOTE)})
    row = {"id": "arg1_arg2", **sides, "debateMetaData": debate, "mTurkAssignments": votes}
    return f"<pair>{elements({**row, 'goldLabel': 'a1'})}</pair>\n".encode()


@dataclass(frozen=True)
class Kind:
    """A kind of file: what stands before, in, between and after its rows."""

    ending: str
    format: str
    row: Callable[[tuple[str, ...]], bytes]
    head: bytes = b""
    between: bytes = b""
    tail: bytes = b""
    pack: Callable[[bytes], bytes] = bytes

    def file(self, rows: list[bytes]) -> bytes:
        return self.pack(self.head + self.between.join(rows) + self.tail)


def squeeze(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)


def as_json(cells: tuple[str, ...]) -> bytes:
    return json.dumps(dict(zip(NAMES, cells, strict=True))).encode()


def json_line(cells: tuple[str, ...]) -> bytes:
    return as_json(cells) + b"\n"


TRL, XML = "trl_preference", "ukp_convarg_xml"
CSV = {"format": TRL, "row": csv_line, "head": b"prompt,chosen,rejected\n"}
ARGUMENTS = {
    "format": XML,
    "row": pair_of_arguments,
    "head": b"<?xml version='1.0'?>\n<pairs>\n",
    "tail": b"</pairs>\n",
}
KINDS = {
    "JSON lines": Kind(".jsonl", TRL, json_line),
    "JSON lines in gzip": Kind(".jsonl.gz", TRL, json_line, pack=squeeze),
    "JSON lines in zstd": Kind(".jsonl.zst", TRL, json_line, pack=zstandard.compress),
    "JSON array": Kind(".json", TRL, as_json, b"[", b",\n", b"]\n"),
    "own records": Kind(".jsonl", "prefine", own),
    "CSV": Kind(".csv", **CSV),
    "CSV in gzip": Kind(".csv.gz", **CSV, pack=squeeze),
    "CSV with semicolons": Kind(
        ".csv", TRL, lambda cells: csv_line(cells, ";"), b"prompt;chosen;rejected\n"
    ),
    "TSV": Kind(
        ".tsv", TRL, lambda cells: "\t".join(cells).encode() + b"\n", b"prompt\tchosen\trejected\n"
    ),
    "TSV in zstd": Kind(
        ".tsv.zst",
        TRL,
        lambda cells: "\t".join(cells).encode() + b"\n",
        b"prompt\tchosen\trejected\n",
        pack=zstandard.compress,
    ),
    "XML": Kind(".xml", XML, ARGUMENTS["row"], ARGUMENTS["head"], b"", ARGUMENTS["tail"]),
    "XML in gzip": Kind(".xml.gz", **ARGUMENTS, pack=squeeze),
}


def parquet(rows: list[dict[str, object]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=2)
    return sink.getvalue().to_pybytes()


PREFLIB = b"""# FILE NAME: a.soi
# TITLE: Films
# DATA TYPE: soi
# NUMBER ALTERNATIVES: 3
# NUMBER VOTERS: 3
# NUMBER UNIQUE ORDERS: 2
# ALTERNATIVE NAME 1: Alien
# ALTERNATIVE NAME 2: Brazil
# ALTERNATIVE NAME 3: Casablanca
2: 1,2,3
1: 3,2
"""
FILES = {
    **{name: (kind.ending, kind.format) for name, kind in KINDS.items()},
    "Parquet": (".parquet", TRL),
    "PrefLib": (".soi", "preflib"),
}


def whole(name: str) -> bytes:
    if name == "Parquet":
        return parquet([dict(zip(NAMES, cells, strict=True)) for cells in CELLS])
    return PREFLIB if name == "PrefLib" else KINDS[name].file([KINDS[name].row(c) for c in CELLS])


def read(folder: Path, raw: bytes, ending: str, format: str) -> tuple[list[Record], int] | None:
    """Return records and the number of rejects; None if the file is refused with our own error."""
    path = folder / f"x{ending}"
    path.write_bytes(raw)
    try:
        with reading(path, format=format, max_rejects=1.0, rejects=folder / "rejects") as found:
            return list(found), found.rejects.count
    except PrefineError:
        return None


# --- Any damage ---------------------------------------------------------------------------------


def cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw))]


def flip(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]


def repeat(raw: bytes, rng: random.Random) -> bytes:
    first, second = sorted(rng.randrange(len(raw)) for _ in range(2))
    return raw[:second] + raw[first:]


def drop(raw: bytes, rng: random.Random) -> bytes:
    first, second = sorted(rng.randrange(len(raw)) for _ in range(2))
    return raw[:first] + raw[second:]


def recode(raw: bytes, rng: random.Random) -> bytes:
    code = rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1"])
    return raw.decode("utf-8", "replace").encode(code, "replace")


def line_ends(raw: bytes, rng: random.Random) -> bytes:
    return raw.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\x0b\n", b""]))


def pack(raw: bytes, rng: random.Random) -> bytes:
    return cut(rng.choice([squeeze, zstandard.compress])(raw), rng)


def noise(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + rng.randbytes(rng.choice([1, 20, 500])) + raw[at:]


DAMAGES = [cut, flip, repeat, drop, recode, line_ends, pack, noise]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, name: str):
    ending, format = FILES[name]
    rng, raw = random.Random(name), whole(name)
    sound = read(tmp_path, raw, ending, format)
    assert sound is not None
    assert sound[1] == 0
    for _ in range(FILE_CASES):
        read(tmp_path, rng.choice(DAMAGES)(raw, rng), ending, format)


# --- Damage to one row --------------------------------------------------------------------------

ODD = ["\ufeff", "\u202e", "\x00", "\U0001f600", "e\u0301", "\x1b[2J", "\u2028", "\x85", "\x0c"]
DEEP = [b"[" * 60_000 + b"]" * 60_000, b"<a>" * 3_000 + b"</a>" * 3_000, b'{"a":' * 2_000]
JUNK = [
    b'{"prompt": NaN, "chosen": "a", "rejected": "b"}',
    b'{"prompt": "a", "prompt": "b", "chosen": "a", "rejected": "b"}',
    b'{"prompt": "a", "chosen": "b"}',
    b'{"prompt": "a", "chosen": null, "rejected": ""}',
    b'{"prompt": 1, "chosen": [], "rejected": {}}',
    b'{"prompt": "\\ud800", "chosen": "b", "rejected": "c"}',
    b'{"schema": "prefine/1", "colour": "red"}',
    *(b'["a", "b", "c"]', b"null", b"1e999", b"1" * 5_000, b"x" * 300_000),
    *(b"a,b", b"a,b,c,d", b",,", b"a,b\x00,c", b'"a ""b"" c",d,e'),
    *(b"a\tb", b"\t\t", b'a\t"b ""c"" d"\te', b"\xff\xfe\xfa", b"\xed\xa0\x80", b"\x00\x01"),
    *(
        b"<pair/>",
        b"<pair>text</pair>",
        b"<other><a/><a/></other>",
        b"<pair><id>&bomb;</id></pair>",
    ),
]


def in_row(raw: bytes, rng: random.Random) -> bytes:
    """The same row, damaged, still on one line and not empty."""
    body = raw.rstrip(b"\n")
    how = rng.randrange(6)
    at = rng.randrange(len(body))
    if how == 0:
        body = body[: at + 1]
    elif how == 1:
        body = body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]
    elif how == 2:
        body = body[:at] + rng.choice(ODD).encode() + body[at:]
    elif how == 3:
        body = body.replace(rng.choice([b"yes", b"no", b"+"]), b"", 1)
    elif how == 4:
        body = rng.choice(DEEP)
    else:
        body = rng.choice(JUNK)
    body = body.replace(b"\n", b" ").replace(b"\r", b" ")
    return (body if body.strip() else b"{}") + raw[len(raw.rstrip(b"\n")) :]


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_row_costs_no_other(tmp_path: Path, name: str):
    kind, rng = KINDS[name], random.Random(name)
    lines = [kind.row(cells) for cells in CELLS]
    sound = read(tmp_path, kind.file(lines), kind.ending, kind.format)
    assert sound is not None
    assert len(sound[0]) == ROWS
    read_on = 0
    for case in range(ROW_CASES):
        at = rng.randrange(ROWS)
        bad = in_row(lines[at], rng)
        raw = kind.file([*lines[:at], bad, *lines[at + 1 :]])
        found = read(tmp_path, raw, kind.ending, kind.format)
        if found is None:
            continue  # the file as a whole was refused, with a reason
        read_on += 1
        records, rejected = found
        assert len(records) + rejected == ROWS, f"case {case}: {bad[:200]!r}"
        others = sound[0][:at] + sound[0][at + 1 :]
        assert [record for record in records if record in others] == others, f"case {case}"
    if kind.format != XML:
        assert read_on > ROW_CASES // 10, "hardly a row was set aside: nothing was tested"


def test_parquet_cells(tmp_path: Path):
    """A table has types, so its rows can be wrong in few ways."""
    sound = [dict(zip(NAMES, cells, strict=True)) for cells in CELLS]
    found = read(tmp_path, parquet(sound), ".parquet", TRL)
    assert found is not None
    bad_cells = [None, "", " ", "x" * 300_000, *ODD]
    for at, cell in enumerate(bad_cells):
        bad = {**sound[2], NAMES[at % 3]: cell}
        again = read(tmp_path, parquet([*sound[:2], bad, *sound[3:]]), ".parquet", TRL)
        assert again is not None
        assert len(again[0]) + again[1] == ROWS
        assert [r for r in again[0] if r.source.row != 2] == [*found[0][:2], *found[0][3:]]
    for value in (1, [1], {"a": 1}, True):
        wrong = [{**row, "chosen": value} for row in sound]
        assert read(tmp_path, parquet(wrong), ".parquet", TRL) in (None, ([], ROWS))


def test_how_many():
    count = len(FILES) * FILE_CASES + len(KINDS) * ROW_CASES
    print(f"{count:,} damaged files of {len(FILES)} kinds")
    assert count >= 5_000


# --- Bombs: little on disk, much in memory ------------------------------------------------------


@pytest.fixture
def short_rows(monkeypatch: pytest.MonkeyPatch):
    """Let a row be ten thousand characters long, so that a bomb need be no larger."""
    for module in (row, json_rows, table_rows, xml_rows):
        monkeypatch.setattr(module, "MAX_CHARS", 10_000)


PACKS = {".gz": squeeze, ".zst": zstandard.compress}
BOMBS = {
    "a line without end": (".csv", CSV["head"] + b"x" * 200_000),
    "a quote without end": (".csv", CSV["head"] + b'"' + b"x\n" * 100_000),
    "a row of endless lines": (".csv", CSV["head"] + b'"\n",' * 50_000),
    "a header without end": (".csv", b"x" * 200_000),
    "cells without end": (".tsv", b"prompt\n" + b"x" * 200_000),
    "an order without end": (".soi", b"1: " + b"1," * 100_000),
    "a list without end": (".json", b"[" + b" " * 200_000 + b'{"a": "' + b"x" * 200_000),
    "text without end": (".xml", b"<a><b>" + b"x" * 200_000),
    "a tag without end": (".xml", b"<a><" + b"x" * 200_000),
    "children without end": (".xml", b"<a><b>" + b"<c/>" * 50_000),
    "a comment without end": (".xml", b"<a><!--" + b"x" * 200_000),
}


@pytest.mark.parametrize("packing", PACKS)
@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.usefixtures("short_rows")
def test_a_row_without_end_is_refused(tmp_path: Path, name: str, packing: str):
    ending, raw = BOMBS[name]
    path = tmp_path / f"a{ending}{packing}"
    path.write_bytes(PACKS[packing](raw))
    format = {".xml": XML, ".soi": "preflib"}.get(ending, TRL)
    with (
        pytest.raises(RecordError, match="longer than 10,000"),
        reading(path, format=format, rejects=tmp_path / "r") as found,
    ):
        list(found)


@pytest.mark.usefixtures("short_rows")
def test_a_line_without_end_is_set_aside(tmp_path: Path):
    """In JSON lines the next line is a new row, so only this one is lost."""
    line = json_line(CELLS[0])
    raw = line + b'{"a": "' + b"x" * 200_000 + b'"}\n' + line
    records, rejected = read(tmp_path, squeeze(raw), ".jsonl.gz", TRL) or ([], 0)
    assert (len(records), rejected) == (2, 1)


def test_a_parquet_bomb_is_refused(tmp_path: Path):
    """A hundred million characters in one cell, in a file of a few thousand bytes."""
    path = tmp_path / "a.parquet"
    table = pa.table({"prompt": ["x" * 100_000_000], "chosen": ["a"], "rejected": ["b"]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    assert path.stat().st_size < 100_000
    with (
        pytest.raises(RecordError, match="longer than 64,000,000 bytes"),
        reading(path, format=TRL, rejects=tmp_path / "r") as found,
    ):
        list(found)


def test_entities_that_would_expand_are_refused(tmp_path: Path):
    laughs = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><a><b>&c;</b></a>'
    path = tmp_path / "a.xml"
    path.write_text(laughs)
    with (
        pytest.raises(RecordError, match="document type"),
        reading(path, format=XML, rejects=tmp_path / "r") as found,
    ):
        list(found)


@pytest.mark.parametrize("ending", sorted({ending for ending, _ in FILES.values()}))
def test_files_that_are_not_there(tmp_path: Path, ending: str):
    gone, loop, empty = (tmp_path / f"{name}{ending}" for name in ("gone", "loop", "empty"))
    gone.symlink_to(tmp_path / "nothing")
    loop.symlink_to(loop)
    empty.touch()
    for path in (gone, loop, empty, tmp_path / f"absent{ending}"):
        with (
            pytest.raises(PrefineError, match=path.stem),
            reading(path, rejects=tmp_path / "r") as found,
        ):
            list(found)
