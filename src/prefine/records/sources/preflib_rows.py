"""PrefLib files: a header of `# NAME: value` lines, then one order a line. A file is one row."""

from collections.abc import Iterator
from typing import TextIO

from prefine.errors import RecordError
from prefine.records.sources.row import Lines, Row

ALTERNATIVE = "ALTERNATIVE NAME "


def preflib_rows(text: TextIO, name: str) -> Iterator[Row]:
    """Read a file as one row: its header's fields, `alternatives` by number, and `orders`.

    Raises:
        RecordError: If a line of the header is none, or the file is too long for one row.
    """
    header: dict[str, str] = {}
    alternatives: dict[str, str] = {}
    orders: list[str] = []
    for at, line in enumerate(Lines(text, name), 1):
        if line.startswith("#"):
            key, colon, value = line[1:].partition(":")
            key, value = key.strip(), value.strip()
            fields = header
            if key.startswith(ALTERNATIVE):
                key, fields = key.removeprefix(ALTERNATIVE), alternatives
            if not colon or not key or key in fields:
                raise RecordError(f"{name}: line {at} must be a new `# NAME: value` of the header.")
            fields[key] = value
        elif line.strip():
            orders.append(line.strip())
    if header or alternatives or orders:
        value = {**header, "alternatives": alternatives, "orders": orders}
        yield Row(name, 0, 1, "preflib", value)
