"""What is fuzzed: each target reads some bytes and checks what must hold whatever they are.

A target may raise a `PrefineError`, which is an answer; any other exception is a finding.
"""

import contextlib
import copy
import gzip
import json
import logging
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
import zstandard

from prefine.cli.train import read_yaml
from prefine.engine.reference_cache import ReferenceCache, item_key
from prefine.errors import PrefineError
from prefine.records import Record
from prefine.records.formats import FORMATS, fitting
from prefine.records.formats.format import Where
from prefine.records.load import reading
from prefine.records.sources.files import file_rows
from prefine.training.config import parse
from prefine.training.from_trl import METHODS, translate

logging.disable(logging.WARNING)

FOLDER = Path(tempfile.mkdtemp(prefix="prefine-fuzz-"))
REJECTS = FOLDER / "out" / "rejects.jsonl"
SAMPLES: dict[str, Any] = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted(Path("tests/records/formats/samples").glob("*.json"))
}
FORMAT_OF = {name: fitting(row)[0].name for name, row in SAMPLES.items() if fitting(row)}
PAIR = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}
LINE = json.dumps(PAIR).encode() + b"\n"

Target = Callable[[bytes], None]


def read(name: str, data: bytes, format: str, written: int | None = None) -> list[Record]:
    """Read a file of these bytes; rows and rejects must add up, and the rejects be readable.

    `written` is how many rows the file has, where that can be told without reading it.
    """
    path = FOLDER / name
    path.write_bytes(data)
    REJECTS.unlink(missing_ok=True)
    with reading(path, format=format, max_rejects=1.0, rejects=REJECTS) as found:
        records = list(found)
    rejected = []
    if found.rejects.count:
        rejected = [json.loads(line) for line in REJECTS.read_bytes().splitlines()]
    assert len(rejected) == found.rejects.count, "the rejects file holds another number of rows"
    if not FORMATS[format].joins:
        seen = sum(1 for _ in file_rows(path, name))
        assert len(records) + len(rejected) == seen, f"{len(records)} + {len(rejected)} of {seen}"
        assert written in (None, seen), f"{seen} of {written} rows"
    for record in records:
        assert Record.from_json(record.to_json()) == record, "a record changes when it is stored"
    return records


def says(record: Record) -> tuple[Any, ...]:
    return record.context, record.candidates, record.judgments, record.tags


def between(
    name: str, head: bytes, data: bytes, tail: bytes, format: str, written: int | None = None
) -> None:
    """Whatever stands between two sound rows: the file is refused, or both rows are there."""
    [sound] = read(name, head + tail, format)[:1]
    records = read(name, head + data + tail, format, written)
    assert records, "both sound rows are lost"
    assert says(records[0]) == says(sound), "the sound row before it is not what it was"
    assert says(records[-1]) == says(sound), "the sound row after it is not what it was"


def jsonl(data: bytes) -> None:
    read("a.jsonl", data, "trl_preference")


def jsonl_between(data: bytes) -> None:
    written = 2 + sum(1 for line in data.split(b"\n") if line.strip(b" \t\r"))
    between("a.jsonl", LINE, data + b"\n", LINE, "trl_preference", written)


def json_array(data: bytes) -> None:
    read("a.json", data, "trl_preference")


def csv(data: bytes) -> None:
    read("a.csv", data, "trl_preference")


def csv_between(data: bytes) -> None:
    row = b"2 + 2?,4,5\n"
    between("a.csv", b"prompt,chosen,rejected\n" + row, data + b"\n", row, "trl_preference")


def tsv(data: bytes) -> None:
    read("a.tsv", data, "trl_preference")


def xml(data: bytes) -> None:
    read("a.xml", data, "ukp_convarg_xml")


def parquet(data: bytes) -> None:
    read("a.parquet", data, "trl_preference")


def preflib(data: bytes) -> None:
    read("a.soi", data, "preflib")


def packed_gzip(data: bytes) -> None:
    read("a.jsonl.gz", data, "trl_preference")


def packed_zstd(data: bytes) -> None:
    read("a.jsonl.zst", data, "trl_preference")


def unpacked(data: bytes) -> None:
    """What survives compression: the first byte says which."""
    pack = gzip.compress if data[:1] < b"\x80" else zstandard.compress
    read("a.jsonl.gz", pack(data[1:]), "trl_preference")


def own(data: bytes) -> None:
    read("a.jsonl", data, "prefine")


def joined(data: bytes) -> None:
    """Rows that belong together; the first byte says of which format."""
    names = sorted(name for name, found in FORMATS.items() if found.joins)
    read("a.jsonl", data[1:], names[data[0] % len(names)] if data else names[0])


def dataset_info(data: bytes) -> None:
    """The description of LLaMA-Factory beside a file; the first byte says which rows it has."""
    folder = FOLDER / "described"
    folder.mkdir(exist_ok=True)
    (folder / "dataset_info.json").write_bytes(data[1:])
    name = ("alpaca", "sharegpt")[data[0] % 2] if data else "alpaca"
    path = folder / "data.jsonl"
    path.write_text(json.dumps(SAMPLES[name]) + "\n", encoding="utf-8")
    with reading(path, format=name, max_rejects=1.0, rejects=REJECTS) as found:
        records = list(found)
    assert len(records) + found.rejects.count == 1


JUNK: list[Any] = [
    None, True, False, -1, 0, 2, 0.5, 1e308, float("nan"), 10**400, "", " ", "a1", "1", "\ud800",
    "user", "assistant", "tie", "both_bad", "<image>", "../x", "x\0", "\n\nHuman: a", [], {}, [[]],
    [None], [{}], {"a": {}}, {"role": "user", "content": "x"}, {"bytes": "YQ==", "path": None},
]  # fmt: skip


class Choices:
    """Reads decisions from bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def below(self, size: int) -> int:
        self.at += 2
        return int.from_bytes(self.data[self.at - 2 : self.at], "little") % size

    def value(self, row: Any) -> Any:
        kind = self.below(4)
        if kind == 0:
            size = self.below(24)
            self.at += size
            return self.data[self.at - size : self.at].decode("utf-8", "surrogateescape")
        if kind == 1:
            return self.below(1 << 16) / 16 - 1000
        if kind == 2:  # a value from elsewhere in the row
            return copy.deepcopy(pick(row, self))
        return copy.deepcopy(JUNK[self.below(len(JUNK))])


def inside(value: Any) -> list[Any]:
    """The keys or positions of a value."""
    return list(value) if isinstance(value, dict) else list(range(len(value)))


def pick(value: Any, choices: Choices) -> Any:
    while isinstance(value, dict | list) and value and choices.below(4):
        keys = inside(value)
        value = value[keys[choices.below(len(keys))]]
    return value


def spoil(row: dict[str, Any], choices: Choices) -> None:
    """Replace, drop, add or double one value somewhere in a row."""
    place: Any = row
    while True:
        keys = inside(place)
        if not keys:
            return
        key = keys[choices.below(len(keys))]
        if not (isinstance(place[key], dict | list) and place[key] and choices.below(3)):
            break
        place = place[key]
    how = choices.below(6)
    if how == 0:
        del place[key]
    elif how == 1 and isinstance(place, list):
        place.append(copy.deepcopy(place[key]))
    elif how == 2 and isinstance(place, dict):
        place[str(choices.value(row))] = place[key]
    else:
        place[key] = choices.value(row)


def rows(data: bytes) -> None:
    """A row of any format, spoilt: read or refused, stored as it is, written in every format."""
    choices = Choices(data)
    names = list(FORMAT_OF)
    sample = names[choices.below(len(names))]
    row = copy.deepcopy(SAMPLES[sample])
    for _ in range(1 + choices.below(4)):
        spoil(row, choices)
    for found in FORMATS.values():
        assert found.matches(row) in (True, False)
    for record in FORMATS[FORMAT_OF[sample]].records(row, Where("x", 0)):
        assert Record.from_json(record.to_json()) == record
        for other in FORMATS.values():
            if other.write is not None:
                list(other.write(record))
                other.losses(record)


def store(data: bytes) -> None:
    """A shard of reference scores: one that was changed is not believed."""
    cache = ReferenceCache(FOLDER, "w", {})
    cache.folder.mkdir(parents=True, exist_ok=True)
    shard = cache.folder / "0000000000000000.safetensors"
    shard.write_bytes(data)
    try:
        assert len(ReferenceCache(FOLDER, "w", {})) == 0
    finally:
        shard.unlink()


def trl_yaml(data: bytes) -> None:
    """A configuration of TRL; the first byte says which trainer."""
    path = FOLDER / "trl.yaml"
    path.write_bytes(data[1:])
    methods = ("auto", *METHODS)
    made = translate(read_yaml(path), methods[data[0] % len(methods)] if data else "auto")
    json.dumps(made.config, default=str)
    yaml.safe_dump(made.config)


def run_yaml(data: bytes) -> None:
    path = FOLDER / "run.yaml"
    path.write_bytes(data)
    parse(read_yaml(path))


TARGETS: dict[str, Target] = {
    found.__name__: found
    for found in (
        jsonl, jsonl_between, json_array, csv, csv_between, tsv, xml, parquet, preflib,
        packed_gzip, packed_zstd, unpacked, own, joined, dataset_info, rows, store, trl_yaml,
        run_yaml,
    )
}  # fmt: skip


def seeds(target: str) -> list[bytes]:
    """Return sound inputs to begin with."""
    lines = [json.dumps(row).encode() + b"\n" for row in SAMPLES.values()]
    described = {
        "x": {"file_name": "data.jsonl", "formatting": "sharegpt", "columns": {"prompt": "input"}}
    }
    made: dict[str, Callable[[], list[bytes]]] = {
        "jsonl": lambda: [LINE * 2, b"\xef\xbb\xbf" + LINE, LINE.decode().encode("utf-16")],
        "jsonl_between": lambda: [b"{}", b'{"prompt": NaN}', b"\xff\r\n[]"],
        "json_array": lambda: [json.dumps([PAIR, PAIR], indent=1).encode(), b"[]", b"[1, {}]"],
        "csv": lambda: [b'prompt;chosen;rejected\n"a\nb";c;d\n', b"prompt,chosen\n1\n"],
        "csv_between": lambda: [b'"a ""b"" c",d,e', b"a,b"],
        "tsv": lambda: [b'prompt\tchosen\trejected\na\tb\t"c"\n'],
        "xml": lambda: [XML],
        "parquet": _parquet_seeds,
        "preflib": lambda: [PREFLIB],
        "packed_gzip": lambda: [gzip.compress(LINE, mtime=0) * 2],
        "packed_zstd": lambda: [zstandard.compress(LINE) * 2],
        "unpacked": lambda: [b"\x00" + LINE, b"\xff" + LINE],
        "own": lambda: [SAMPLE_RECORD + b"\n"],
        "joined": lambda: [bytes([at]) + line for at, line in enumerate(lines)],
        "dataset_info": lambda: [bytes([at]) + json.dumps(described).encode() for at in (0, 1)],
        "rows": lambda: [random.Random(at).randbytes(40) for at in range(len(lines))],
        "store": _store_seeds,
        "trl_yaml": lambda: [b"\x02beta: 0.1\nloss_type: [sigmoid, sft]\nuse_peft: true\n"],
        "run_yaml": lambda: [b"objective: dpo\nmodel: m\ndata: d\nout: o\noptions: {beta: 1}\n"],
    }
    return made[target]()


XML = (
    b"<pairs><pair><id>a1_a2</id><arg1><id>a1</id><text>So.</text></arg1><arg2><id>a2</id>"
    b"<text>No.</text></arg2><goldLabel>a1</goldLabel></pair></pairs>"
)
PREFLIB = (
    b"# FILE NAME: a.soi\n# DATA TYPE: soi\n# NUMBER ALTERNATIVES: 2\n# NUMBER VOTERS: 3\n"
    b"# NUMBER UNIQUE ORDERS: 2\n# ALTERNATIVE NAME 1: x\n# ALTERNATIVE NAME 2: y\n"
    b"2: 1,2\n1: {1,2}\n"
)
SAMPLE_RECORD = json.dumps(
    {
        "schema": "prefine/1",
        "id": "x",
        "source": {"name": "x", "row": 1},
        "context": [{"role": "user", "content": [{"type": "image", "uri": "a.png"}]}],
        "candidates": [{"id": "a", "messages": [{"role": "assistant", "content": "Hi"}]}],
        "judgments": [
            {"id": "1", "kind": "rate", "shown": ["a"], "scores": {"a": 1}, "scale": [0, 1],
             "rater": {"id": "ann", "type": "human"}},
        ],
        "tags": {"weight": 1},
    }
).encode()  # fmt: skip


def _parquet_seeds() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([PAIR, PAIR])
    made = []
    for compression in ("none", "snappy"):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression=compression)
        made.append(sink.getvalue().to_pybytes())
    return made


def _store_seeds() -> list[bytes]:
    cache = ReferenceCache(FOLDER, "seed", {})
    cache.add({item_key([1], [2], [1]): -0.5})
    return [next(cache.folder.glob("*.safetensors")).read_bytes()]


def survive(target: Target, data: bytes) -> Exception | None:
    """Run a target; return what it raised if that is no answer."""
    try:
        with contextlib.suppress(PrefineError):
            target(data)
    except Exception as error:
        return error
    return None
