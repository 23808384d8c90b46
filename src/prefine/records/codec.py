"""From JSON to frozen dataclasses and back, with errors that name the place.

A part of a record (`Message`, `Candidate`, ...) checks its own fields when it is made, so a part
that exists is a valid part. `decode` adds what only JSON can get wrong: unknown and missing keys.
"""

import difflib
import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import Any, TypeVar, cast

from prefine.errors import RecordError

T = TypeVar("T")

_SEQUENCES = (list, tuple)
_MAPPINGS = (dict, Mapping)
_NUMBERS = (int, float)
"""Built-in kinds come first: an instance of an abstract class takes ten times as long to tell."""

MAX_DEPTH = 64
"""Deepest nesting of free JSON (`meta`, `tools`, `params`) that a record may hold."""


def kind_of(value: Any) -> str:
    """Return how JSON calls a value, for error messages.

    Example:
        >>> kind_of([]), kind_of(None), kind_of(True)
        ('a list', 'null', 'a boolean')
    """
    for kind, name in _KINDS.items():
        if isinstance(value, kind):
            return name
    return "null" if value is None else type(value).__name__


_KINDS: dict[type[Any], str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    dict: "an object",
    list: "a list",
    tuple: "a list",
}


def short(value: Any) -> str:
    """Return a value as it is shown in an error message: cut after 60 characters."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:60] + "..."


def text(name: str, value: Any, *, empty: bool = True) -> None:
    """Check that a value is Unicode text."""
    if not isinstance(value, str):
        raise RecordError(f"`{name}` must be text, got {kind_of(value)}.")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise RecordError(f"`{name}` holds bytes that are not UTF-8 text.") from None
    if not empty and not value:
        raise RecordError(f"`{name}` must not be empty.")


def one_of(name: str, value: Any, choices: Iterable[str]) -> None:
    """Check that a value is one of a few words."""
    if not isinstance(value, str) or value not in choices:
        raise RecordError(f"`{name}` must be one of {', '.join(choices)}, got {short(value)}.")


def number(name: str, value: Any, *, low: float | None = None, high: float | None = None) -> None:
    """Check that a value is a finite number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        raise RecordError(f"`{name}` must be a number, got {kind_of(value)}.")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise RecordError(f"`{name}` must be a finite number, got {short(value)}.")
    if low is not None and value < low:
        raise RecordError(f"`{name}` must be at least {low}, got {value}.")
    if high is not None and value > high:
        raise RecordError(f"`{name}` must be at most {high}, got {value}.")


def whole(name: str, value: Any, *, low: int | None = None) -> None:
    """Check that a value is an integer, at least `low`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecordError(f"`{name}` must be a whole number, got {kind_of(value)}.")
    number(name, value, low=low)


def flag(name: str, value: Any) -> None:
    """Check that a value is true or false."""
    if not isinstance(value, bool):
        raise RecordError(f"`{name}` must be true or false, got {kind_of(value)}.")


def json_value(name: str, value: Any, depth: int = 0) -> None:
    """Check that a value is JSON: finite numbers, text keys, not too deep."""
    if depth > MAX_DEPTH:
        raise RecordError(f"`{name}` is nested deeper than {MAX_DEPTH} levels.")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        text(name, value)
    elif isinstance(value, _NUMBERS):
        number(name, value)
    elif isinstance(value, _SEQUENCES):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            json_value(name, item, depth + 1)
    elif isinstance(value, _MAPPINGS):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            text(f"a key of {name}", key)
            json_value(f"{name}.{key}", item, depth + 1)
    else:
        raise RecordError(f"`{name}` must be JSON, got {type(value).__name__}.")


def mapping(name: str, value: Any, check: Callable[[str, Any], None] = json_value) -> None:
    """Check an object with text keys, each of whose values passes `check`."""
    if not isinstance(value, _MAPPINGS):
        raise RecordError(f"`{name}` must be an object, got {kind_of(value)}.")
    for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
        text(f"a key of {name}", key)
        check(f"{name}.{key}", item)


def sequence(name: str, value: Any, check: Callable[[str, Any], None] = json_value) -> None:
    """Check a tuple, each of whose items passes `check`."""
    if not isinstance(value, tuple):
        raise RecordError(f"`{name}` must be a list, got {kind_of(value)}.")
    for at, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        check(f"{name}[{at}]", item)


def parts(name: str, value: Any, cls: type[Any], *, at_least: int = 0) -> None:
    """Check a tuple of parts of one class."""
    items = cast(tuple[Any, ...], value) if isinstance(value, tuple) else (None,)
    for item in items:
        if not isinstance(item, cls):
            raise RecordError(f"`{name}` must be a tuple of {cls.__name__}.")
    if len(items) < at_least:
        raise RecordError(f"`{name}` must hold at least {at_least}.")


def optional(rule: Callable[..., None], name: str, value: Any, /, **limits: Any) -> None:
    """Apply a check unless the value is None."""
    if value is not None:
        rule(name, value, **limits)


def optional_texts(part: object, *names: str) -> None:
    """Check the fields of a part that hold Unicode text or None."""
    for name in names:
        value = getattr(part, name)
        if value is not None:
            text(name, value)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a dataclass stands in JSON.

    Attributes:
        values: Returns the values of all its fields.
        keys: JSON key of each field.
        defaults: Default of each field; MISSING stands for "always written".
        names: JSON key -> name of the field.
        required: JSON keys that must hold something, sorted.
    """

    values: Callable[[object], tuple[Any, ...]]
    keys: tuple[str, ...]
    defaults: tuple[Any, ...]
    names: dict[str, str]
    required: tuple[str, ...]


@functools.cache
def _layout(cls: type[Any]) -> _Layout:
    names: dict[str, str] = {}
    defaults: list[Any] = []
    required: list[str] = []
    for f in fields(cls):
        key, default = f.metadata.get("key", f.name), f.default
        if f.default_factory is not MISSING:
            default = f.default_factory()
        if default is MISSING:
            required.append(key)
        defaults.append(MISSING if f.metadata.get("always") else default)
        names[key] = f.name
    values = attrgetter(*names.values())
    return _Layout(values, tuple(names), tuple(defaults), names, tuple(sorted(required)))


def filled(part: object) -> dict[str, Any]:
    """Return the fields of a part that do not hold their default, by JSON key, as they are."""
    layout = _layout(type(part))
    out: dict[str, Any] = {}
    for key, default, value in zip(layout.keys, layout.defaults, layout.values(part), strict=True):
        # `1 == True` and `0 == False` in Python, so the types are compared too.
        if value is not default and (type(value) is not type(default) or value != default):
            out[key] = value
    return out


def encode(part: object) -> dict[str, Any]:
    """Return a part as a JSON object; fields that hold their default are left out."""
    return {key: _plain(value) for key, value in filled(part).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, _SEQUENCES):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, _MAPPINGS):
        return {key: _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return encode(value)


_SCALARS = (str, int, float, type(None))


def unpack(value: object) -> dict[Any, Any]:
    """Return a part, or a mapping that is no dict, as encoders take it: `default` of JSON."""
    try:
        return filled(value)
    except TypeError:
        return dict(cast(Mapping[Any, Any], value))


compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=unpack).encode
"""Returns JSON text without spaces, of parts too: the text of `encode(part)`, made in one go.

`json.dumps` would build an encoder at every call.
"""

canonical = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=unpack
).encode
"""Returns the same with sorted keys, for hashes: the text that `prefine.storage.json_hash` has."""


Reader = Callable[[Any], Any]


def decode(cls: type[T], value: Any, readers: Mapping[str, Reader] | None = None) -> T:
    """Make a part from a JSON object.

    Args:
        cls: The dataclass to make.
        value: A JSON object; null stands for an absent optional field.
        readers: How to read the keys whose values are not plain JSON.

    Raises:
        RecordError: If a key is unknown, missing, or holds a wrong value.
    """
    if not isinstance(value, dict):
        raise RecordError(f"must be an object, got {kind_of(value)}.")
    row = cast(dict[Any, Any], value)
    layout = _layout(cls)
    names = layout.names
    if not row.keys() <= names.keys():
        raise RecordError(unknown_key(next(key for key in row if key not in names), names))
    for key in layout.required:
        if row.get(key) is None:
            raise RecordError(f"`{key}` is missing.")
    arguments: dict[str, Any] = {}
    for key, item in row.items():
        if item is None:
            continue
        reader = None if readers is None else readers.get(key)
        if reader is None:
            arguments[names[key]] = item
            continue
        try:
            arguments[names[key]] = reader(item)
        except RecordError as error:
            raise RecordError(f"{key}{_join(error)}") from None
    return cls(**arguments)


def many(read: Reader) -> Reader:
    """Return a reader of lists, whose errors name the position."""

    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise RecordError(f"must be a list, got {kind_of(value)}.")
        items: list[Any] = []
        for at, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            try:
                items.append(read(item))
            except RecordError as error:
                raise RecordError(f"[{at}]{_join(error)}") from None
        return tuple(items)

    return read_all


def as_tuple(value: Any) -> Any:
    """Return a JSON list as a tuple; anything else is left for the part's own check."""
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def unknown_key(key: Any, known: Iterable[str]) -> str:
    """Return the message for an unknown key, with the nearest known one.

    Example:
        >>> unknown_key("winer", ["winner", "shown"])
        'unknown key `winer` (did you mean `winner`?).'
    """
    near = difflib.get_close_matches(str(key), list(known), n=1)
    hint = f" (did you mean `{near[0]}`?)" if near else ""
    return f"unknown key `{str(key)[:80]}`{hint}."


def _join(error: RecordError) -> str:
    message = str(error)
    return message if message.startswith("[") else f": {message}"
