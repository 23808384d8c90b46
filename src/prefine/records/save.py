"""Writing records: in prefine's own schema, or exported to a public format."""

import csv
import gzip
import io
import itertools
import json
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from prefine.errors import RecordError
from prefine.extras import require
from prefine.records.codec import unpack
from prefine.records.formats import FORMATS, format_named
from prefine.records.formats.format import Format, RowDict
from prefine.records.records import Records
from prefine.records.schema import Record
from prefine.records.stored import COLUMNS, to_object, to_row
from prefine.records.table import write_parquet
from prefine.storage import atomic_file

SAVED = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
EXPORTED = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".csv", ".tsv")
ORDERS = (".soc", ".soi", ".toc", ".toi", ".cat")


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote and what it lost.

    Attributes:
        records: Records that gave at least one row.
        rows: Rows written.
        losses: Loss -> how many records suffer it.
    """

    records: int
    rows: int
    losses: Mapping[str, int]


def save(records: Records, path: Path) -> None:
    """Write records in prefine's own schema; see `Records.save`."""
    ending = _ending(path, SAVED)
    if ending == ".parquet":
        with atomic_file(path) as part:
            write_parquet(records.stored(), COLUMNS, part)
        return
    with _text(path, ending) as handle:
        # What is stored was checked when it was made a record; it need not become one again.
        handle.writelines(_line(to_object(row)) for row in records.stored())


def write(records: Iterable[Record], path: Path) -> None:
    """Write records as they come, in prefine's own schema: the bytes that `save` writes.

    If they end in an error, no file appears.
    """
    ending = _ending(path, SAVED)
    if ending == ".parquet":
        with atomic_file(path) as part:
            write_parquet(map(to_row, records), COLUMNS, part)
        return
    with _text(path, ending) as handle:
        handle.writelines(map(_line, records))


def export(records: Records, name: str, path: Path) -> Exported:
    """Write records in a public format; see `Records.export`."""
    chosen = format_named(name)
    if chosen.write is None:
        writable = ", ".join(found.name for found in FORMATS.values() if found.write)
        raise RecordError(f"{name} can be read but not written. These can: {writable}.")
    ending = _ending(path, ORDERS if "preflib" in chosen.kinds else EXPORTED)
    count = _Count()
    rows = _rows(records, chosen, count)
    with _text(path, ending) as handle:
        if ending in (".csv", ".tsv"):
            _write_table(handle, rows, ending, name)
        elif ending == ".json":
            _write_array(handle, rows)
        elif ending in ORDERS:
            _write_orders(handle, rows, ending)
        else:
            handle.writelines(_line(row) for row in rows)
    return Exported(count.records, count.rows, dict(count.losses.most_common()))


class _Count:
    def __init__(self) -> None:
        self.records = self.rows = 0
        self.losses: Counter[str] = Counter()


def _rows(records: Records, chosen: Format, count: _Count) -> Iterator[RowDict]:
    write = chosen.write
    if write is None:
        return
    for record in records:
        rows = list(write(record))
        count.records += bool(rows)
        count.rows += len(rows)
        count.losses.update(chosen.losses(record) if rows else ["the whole record"])
        yield from rows


def _ending(path: Path, allowed: Iterable[str]) -> str:
    for ending in sorted(allowed, key=len, reverse=True):
        if path.name.lower().endswith(ending):
            return ending
    raise RecordError(f"{path.name} must end in one of {', '.join(allowed)}.")


@contextmanager
def _text(path: Path, ending: str) -> Generator[TextIO]:
    """Open a text file, compressed by its ending, that appears whole or not at all."""
    with atomic_file(path) as part, part.open("wb") as raw:
        if ending.endswith(".gz"):
            # Neither name nor time goes into the file, so the same records give the same bytes.
            data: Any = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
        elif ending.endswith(".zst"):
            library: Any = require("zstandard", extra="zstd")
            data = library.ZstdCompressor().stream_writer(raw, closefd=False)
        else:
            data = raw
        with data, io.TextIOWrapper(data, encoding="utf-8", newline="") as text:
            yield text


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=unpack).encode


def _line(value: Any) -> str:
    return _encode(value) + "\n"


def _write_array(handle: TextIO, rows: Iterable[RowDict]) -> None:
    handle.write("[")
    for at, row in enumerate(rows):
        handle.write(",\n" if at else "\n")
        handle.write(_line(row).rstrip("\n"))
    handle.write("\n]\n")


def _write_orders(handle: TextIO, rows: Iterable[RowDict], ending: str) -> None:
    """Write the one row of a PrefLib file, whose name must say its type."""
    found = list(itertools.islice(rows, 2))
    if len(found) != 1:
        raise RecordError(
            f"A PrefLib file holds one ranked record, got {'none' if not found else 'more'}."
        )
    if ending != f".{found[0]['DATA TYPE']}":
        raise RecordError(f"These orders are of type {found[0]['DATA TYPE']}: name the file so.")
    for key, value in found[0].items():
        if isinstance(value, str):
            handle.write(f"# {key}: {value}".rstrip() + "\n")
    for number, name in found[0]["alternatives"].items():
        handle.write(f"# ALTERNATIVE NAME {number}: {name}\n")
    handle.writelines(f"{order}\n" for order in found[0]["orders"])


def _write_table(handle: TextIO, rows: Iterable[RowDict], ending: str, name: str) -> None:
    names: list[str] = []
    writer = csv.writer(handle, lineterminator="\n")
    for row in rows:
        cells = [_cell(key, value, name) for key, value in row.items()]
        if not names:
            names = list(row)
            _write_cells(handle, writer, names, ending)
        if list(row) != names:
            raise RecordError(
                f"Rows of this export differ in their columns ({', '.join(row)} after "
                f"{', '.join(names)}), which a table cannot hold. Write .jsonl."
            )
        _write_cells(handle, writer, cells, ending)


def _write_cells(handle: TextIO, writer: Any, cells: list[str], ending: str) -> None:
    if ending == ".csv":
        writer.writerow(cells)
        return
    if any("\t" in cell or "\n" in cell or "\r" in cell for cell in cells):
        raise RecordError(
            "A cell holds a tab or a line break, which tab-separated text cannot hold. Write .csv."
        )
    handle.write("\t".join(cells) + "\n")


def _cell(key: str, value: Any, name: str) -> str:
    if isinstance(value, dict | list):
        raise RecordError(
            f"`{key}` of {name} is nested here, which a table cannot hold. Write .jsonl."
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
