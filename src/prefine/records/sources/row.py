"""One row of a source, and how JSON becomes one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from prefine.errors import RecordError
from prefine.records.codec import kind_of, short

MAX_CHARS = 64_000_000
"""Longest row that is read, in characters. A longer one is set aside, so memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as its source holds it, or the reason why it cannot be read.

    Attributes:
        file: Name of the file, relative to the folder that was loaded.
        number: Position in the file, from 0.
        line: Line of the file where it starts, from 1, if the file has lines.
        kind: json, table, xml or memory.
        value: The row, or None if it cannot be read.
        problem: Why it cannot be read, or "".
        raw: The text of the row, where there is one.
    """

    file: str
    number: int
    line: int | None
    kind: str
    value: dict[str, Any] | None
    problem: str = ""
    raw: str | None = None


class Lines:
    """Lines of a file, in bounded memory: without an end of line, one would hold a whole file.

    Attributes:
        size: Characters since whoever reads them set it to 0, at the end of a row.

    Raises:
        RecordError: When `size` exceeds `MAX_CHARS`.
    """

    def __init__(self, text: TextIO, name: str) -> None:
        self.text, self.name, self.size = text, name, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.text.readline(MAX_CHARS + 1)
        self.size += len(line)
        if self.size > MAX_CHARS:
            raise RecordError(
                f"{self.name}: a row is longer than {MAX_CHARS:,} characters, so nothing after it "
                "can be read. Is a line end or a closing quote missing?"
            )
        if not line:
            raise StopIteration
        return line


def _no_constant(name: str) -> Any:
    raise RecordError(f"{name} is not JSON: write null for an unknown number.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RecordError(f"the key {short(twice)} stands twice in one object.")
    return found


STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
"""Refuses NaN, infinity and repeated keys, which `json` would take silently."""


def parse(text: str) -> dict[str, Any]:
    """Parse one row of JSON.

    Raises:
        RecordError: If it is not one JSON object, or holds NaN or a key twice.

    Example:
        >>> parse('{"a": 1}')
        {'a': 1}
    """
    try:
        value = STRICT.decode(text)
    except RecordError:
        raise
    except json.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error.msg} at character {error.pos}.") from None
    except RecursionError:
        raise RecordError("nested too deeply.") from None
    except ValueError as error:  # an integer of thousands of digits
        raise RecordError(f"not JSON: {error}") from None
    return as_object(value)


def as_object(value: Any) -> dict[str, Any]:
    """Return a row that is an object; refuse anything else."""
    if not isinstance(value, dict):
        raise RecordError(f"a row must be an object, got {kind_of(value)}.")
    return value  # pyright: ignore[reportUnknownVariableType]
