# pyright: basic
"""CSV, TSV and Parquet, one row at a time."""

import base64
import csv
import datetime
import decimal
import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.sources.row import MAX_CHARS, Lines, Row

BATCH_ROWS = 256
BATCH_BYTES = 1 << 26


def text_rows(text: TextIO, name: str, *, tabs: bool) -> Iterator[Row]:
    """Read comma-, semicolon- or tab-separated text with a header; every cell is text.

    Tab-separated cells are taken as they stand (IANA text/tab-separated-values has no quotes).
    A cell that looks quoted all the same is set aside rather than guessed at.

    Raises:
        RecordError: If the header is unusable or a quote is never closed.
    """
    lines = Lines(text, name)
    head = next((line for line in lines if line.strip()), "")
    if not head:
        return
    lines.size = 0
    tabs = tabs or ("\t" in head and "," not in head)
    if tabs:
        yield from _tab_rows(lines, head, name)
    else:
        yield from _csv_rows(lines, head, ";" if ";" in head and "," not in head else ",", name)


def _tab_rows(lines: Lines, head: str, name: str) -> Iterator[Row]:
    names = _header(head.rstrip("\r\n").split("\t"), name)
    number, at = 0, 1
    for line in lines:
        at, lines.size = at + 1, 0
        if not line.strip():
            continue
        cells = line.rstrip("\r\n").split("\t")
        quoted = next((c for c in cells if _looks_quoted(c)), None)
        if quoted is None:
            yield _table_row(names, cells, name, number, at)
        else:
            problem = f"the cell {short(quoted)} looks quoted; save the file as CSV with commas."
            yield Row(name, number, at, "table", None, problem, line)
        number += 1


def _looks_quoted(cell: str) -> bool:
    """Whether a CSV writer made this cell: quotes around it and doubled quotes within."""
    inside = cell[1:-1]
    if not (len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in inside):
        return False
    return '"' not in inside.replace('""', "")


def _csv_rows(lines: Lines, head: str, delimiter: str, name: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_CHARS)
    reader = csv.reader(itertools.chain([head], lines), delimiter=delimiter, strict=True)
    names: list[str] = []
    number = 0
    while True:
        at = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise RecordError(
                f"{name}: the row from line {at} on cannot be read ({error}). A quote that is "
                "never closed swallows all rows after it; mend the file."
            ) from None
        lines.size = 0
        if not names:
            names = _header(cells, name)
        elif cells:
            yield _table_row(names, cells, name, number, at)
            number += 1


def _header(cells: list[str], name: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if "" in names:
        raise RecordError(f"{name}: column {names.index('') + 1} has no name in the header.")
    if len(set(names)) != len(names):
        twice = next(cell for cell in names if names.count(cell) > 1)
        raise RecordError(f"{name}: the column {short(twice)} stands twice in the header.")
    return names


def _table_row(names: list[str], cells: list[str], file: str, number: int, line: int) -> Row:
    if len(cells) != len(names):
        problem = f"{len(cells)} cells, but the header names {len(names)}."
        return Row(file, number, line, "table", None, problem, "\t".join(cells))
    return Row(file, number, line, "table", dict(zip(names, cells, strict=True)))


def parquet_rows(path: Path, name: str) -> Iterator[Row]:
    """Read a Parquet file in batches.

    Raises:
        RecordError: If it is not Parquet, or two columns share a name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) != len(names):
                raise RecordError(f"{name}: two columns share a name: {', '.join(names)}.")
            number = 0
            for group in range(file.num_row_groups):
                size = _batch_size(file.metadata.row_group(group), name)
                for batch in file.iter_batches(batch_size=size, row_groups=[group]):
                    for value in batch.to_pylist():
                        yield Row(name, number, None, "table", plain(value))
                        number += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{name} cannot be read as Parquet: {error}") from None


def _batch_size(group: Any, name: str) -> int:
    """Return how many rows to hold at once: fewer where they are long, none of boundless length."""
    mean = group.total_byte_size / max(group.num_rows, 1)  # before compression
    if mean > MAX_CHARS:
        raise RecordError(f"{name}: its rows are longer than {MAX_CHARS:,} bytes.")
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(mean, 1))))


def plain(value: Any) -> Any:
    """Return Arrow's values as JSON: dates as ISO text, decimals as numbers, bytes as base64.

    Example:
        >>> plain({"when": datetime.date(2026, 1, 2), "raw": b"ab"})
        {'when': '2026-01-02', 'raw': 'YWI='}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value
