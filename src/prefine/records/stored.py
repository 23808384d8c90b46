"""A record as a stored row: nested parts as JSON text."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import compact, filled
from prefine.records.schema import SCHEMA, Record

NESTED = ("source", "context", "tools", "candidates", "judgments", "principal", "tags", "meta")
COLUMNS = ("schema", "id", *NESTED)
"""Columns of a stored record: nested parts are JSON text, because lists of mixed types break
Arrow's unions."""


def to_row(record: Record) -> dict[str, str | None]:
    """Return a record as a stored row."""
    given = filled(record)
    row: dict[str, str | None] = {"schema": record.schema, "id": record.id}
    for name in NESTED:
        row[name] = compact(given[name]) if name in given else None
    return row


def to_object(row: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a stored row as the JSON object of its record, without making the record.

    Example:
        >>> from prefine.records.schema import Record
        >>> record = Record(context=(), candidates=())
        >>> to_object(to_row(record)) == record.to_json()
        True
    """
    return {
        name: _decode(value)[0] if name in NESTED else value
        for name, value in row.items()
        if value is not None
    }


_decode = json.JSONDecoder().raw_decode


def from_row(row: Mapping[str, Any], loads: Callable[[str], Any] = json.loads) -> Record:
    """Return the record of a stored row.

    Args:
        row: Column -> value; nested parts as JSON text, or already as JSON.
        loads: Parses JSON text.

    Raises:
        RecordError: If a nested part is not JSON or breaks the schema.
    """
    decoded: dict[str, Any] = {}
    for name, value in row.items():
        if value is None:
            continue
        decoded[name] = _loads(name, value, loads) if name in NESTED else value
    return Record.from_json(decoded)


def _loads(name: str, value: Any, loads: Callable[[str], Any]) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return loads(value)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"`{name}` is not JSON: {error}") from None


def looks_stored(row: Mapping[str, Any]) -> bool:
    """Whether a row claims to be of prefine's own schema."""
    return row.get("schema") == SCHEMA
