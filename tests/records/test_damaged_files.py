"""Files damaged in every way files get damaged: a clear error, or a counted reject, or the truth.

Each case writes a few rows of a public format, damages the bytes, and loads. Whatever happens, the
error is one of prefine's own, and where the damage is confined to one row, every other row comes
out as it would have.
"""

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from prefine.errors import PrefineError
from prefine.records import Record, load
from prefine.records.formats import FORMATS, fitting
from prefine.records.load import reading

SAMPLES = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parent / "formats" / "samples").glob("*.json"))
}
ROWS = 5
CASES = 150
"""Per format; `test_how_many` tells how many files that makes."""

ODD = ["\ufeff", "\u202e", "\x00", "\ud83d\ude00", "e\u0301", "\x1b[2J", "\u2028", "NaN", "\\ud800"]


def cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw))]


def flip(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]


def insert(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + rng.choice(ODD).encode("utf-8", "surrogatepass") + raw[at:]


def other_encoding(raw: bytes, rng: random.Random) -> bytes:
    text = raw.decode("utf-8")
    return text.encode(rng.choice(["utf-16", "utf-16-le", "utf-32", "latin-1"]), "replace")


def line_ends(raw: bytes, rng: random.Random) -> bytes:
    return raw.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\x0b\n"]))


def packed(raw: bytes, rng: random.Random) -> bytes:
    return cut(gzip.compress(raw, mtime=0), rng)


def binary(raw: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(len(raw) % 500 + 1)


def deep(raw: bytes, rng: random.Random) -> bytes:
    depth = rng.choice([50, 2_000, 60_000])
    return raw + b"[" * depth + b"]" * depth + b"\n"


def twice(raw: bytes, rng: random.Random) -> bytes:
    """A key that stands twice in one object."""
    return raw.replace(b"{", b'{"prompt": "x", ', 1)


def huge(raw: bytes, rng: random.Random) -> bytes:
    return raw + json.dumps({"prompt": "x" * 300_000}).encode() + b"\n"


def mixed(raw: bytes, rng: random.Random) -> bytes:
    other = rng.choice(list(SAMPLES.values()))
    return raw + json.dumps(other).encode() + b"\n"


WHOLE_FILE: list[Callable[[bytes, random.Random], bytes]] = [
    cut, flip, insert, other_encoding, line_ends, packed, binary, deep, twice, huge, mixed,
]  # fmt: skip


def spoil(value: Any, rng: random.Random) -> Any:
    """The same row with one of its values, at any depth, replaced or dropped."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: spoil(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], spoil(value[at], rng), *value[at + 1 :]]
    junk = [None, True, -1, 1e308, 10**30, "", " ", "x" * 5_000, [], {}, [[]], {"a": None}]
    return rng.choice(junk)


def said(records: Iterable[Record]) -> Counter[str]:
    """What each record says, apart from where it stood (which names raters without a name)."""
    texts = (
        json.dumps({k: v for k, v in record.to_json().items() if k not in ("id", "source")})
        for record in records
    )
    return Counter(re.sub(r"\w+\.jsonl#\d+", "here", text) for text in texts)


def rows_of(name: str) -> list[bytes]:
    return [json.dumps(SAMPLES[name]).encode() + b"\n"] * ROWS


def read(path: Path, name: str) -> tuple[list[Record], int] | None:
    """Return records and the number of rejects; None if the file is refused with our own error."""
    rejects = path.with_suffix(".rejects.jsonl")
    try:
        with reading(path, format=name, max_rejects=1.0, rejects=rejects) as found:
            return list(found), found.rejects.count
    except PrefineError:
        return None


NAMES = {sample: fitting(row)[0].name for sample, row in SAMPLES.items() if len(fitting(row)) == 1}
JSON_SAMPLES = [sample for sample, name in NAMES.items() if "json" in FORMATS[name].kinds]


ONE_BY_ONE = [sample for sample in JSON_SAMPLES if not FORMATS[NAMES[sample]].joins]


def test_how_many():
    count = len(JSON_SAMPLES) * CASES + len(ONE_BY_ONE) * (CASES // 5)
    print(f"{count:,} damaged files of {len(JSON_SAMPLES)} formats")
    assert len(JSON_SAMPLES) >= 25
    assert count >= 5_000


@pytest.mark.parametrize("sample", JSON_SAMPLES)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, sample: str):
    rng, raw = random.Random(sample), b"".join(rows_of(sample))
    for case in range(CASES):
        damage = rng.choice(WHOLE_FILE)
        path = tmp_path / f"{case}.jsonl"
        path.write_bytes(damage(raw, rng))
        read(path, NAMES[sample])


@pytest.mark.parametrize("sample", ONE_BY_ONE)
def test_a_spoilt_row_costs_no_other(tmp_path: Path, sample: str):
    rng, lines = random.Random(sample), rows_of(sample)
    clean = tmp_path / "clean.jsonl"
    clean.write_bytes(b"".join(lines[:-1]))
    whole = read(clean, NAMES[sample])
    assert whole is not None
    assert whole[1] == 0
    intact = said(whole[0])
    for case in range(CASES // 5):
        path, at = tmp_path / f"{case}.jsonl", rng.randrange(ROWS)
        spoilt = json.dumps(spoil(SAMPLES[sample], rng)).encode() + b"\n"
        path.write_bytes(b"".join([*lines[:at], spoilt, *lines[at + 1 :]]))
        found = read(path, NAMES[sample])
        if found is None:
            continue  # the file as a whole was refused, with a reason
        records, rejected = found
        more = said(records)
        assert not intact - more, f"case {case}: {spoilt[:300]!r}"
        assert rejected == (more == intact), f"case {case}: the row is neither read nor rejected"


def test_a_bomb_does_not_go_off(tmp_path: Path):
    """A gigabyte of blanks in a megabyte: read line by line, never held as a whole."""
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(64):
            file.write(b" " * (1 << 20) + b"\n")
    with pytest.raises(PrefineError):
        load(path, rejects=tmp_path / "rejects.jsonl")


def test_links_and_folders_that_lead_nowhere(tmp_path: Path):
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nothing.jsonl")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    (tmp_path / "empty").mkdir()
    for name in ("gone.jsonl", "loop.jsonl", "empty", "absent.jsonl"):
        with pytest.raises(PrefineError):
            load(tmp_path / name)
