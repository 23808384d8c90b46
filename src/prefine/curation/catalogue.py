"""Operators by name, their options, and what these are: for the command line."""

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from prefine.curation.edits import Edits
from prefine.curation.goals import Goals
from prefine.curation.operator import Operator
from prefine.curation.shots import Shots
from prefine.curation.streams import Streams
from prefine.curation.tutor import Tutor
from prefine.curation.writer import Writer
from prefine.errors import ConfigError

OPERATORS: dict[str, Any] = {
    operator.name: operator for operator in (Edits, Goals, Shots, Streams, Tutor)
}
"""Name -> class."""


def build(name: str, options: Mapping[str, Any] | None = None) -> Operator:
    """Return an operator with options.

    Raises:
        ConfigError: If there is no such operator or option, or a value is none that it takes.

    Example:
        >>> build("goals", {"low": 1, "high": 10}).asked(7)
        'Give a response that would earn 7 on a scale from 1 to 10.'
        >>> build("gaols")
        Traceback (most recent call last):
        prefine.errors.ConfigError: There is no operator `gaols`. Did you mean `goals`?
    """
    return _built(_find(name), name, options or {})


def _built(kind: Any, name: str, options: Mapping[str, Any], within: str = "") -> Any:
    """Return an operator, or what writes for it: its options stand behind those of `within`."""
    hints, known = get_type_hints(kind), _options(kind)
    given: dict[str, Any] = {}
    of_writers: dict[str, dict[str, Any]] = {}
    for key, value in options.items():
        head, dot, tail = key.partition(".")
        writes = head in known and _is_writer(hints[head])
        if head not in known or (dot and not writes):
            found = _nearest(within + key, [within + one for one in known])
            raise ConfigError(f"{name} has no option `{within}{key}`. {found}")
        if writes:
            of_writers.setdefault(head, {})[tail or "model"] = value
            continue
        try:
            given[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise ConfigError(f"`{within}{key}` of {name}: {said}, got {value!r}.") from None
    for key, parts in of_writers.items():
        given[key] = _built(Writer, name, parts, f"{key}.")
    needed = [key for key, f in known.items() if _default(f) is MISSING and key not in given]
    if needed:
        asked = f"{within}{needed[0]}"
        raise ConfigError(f"{name} needs `{asked}`: give --set {asked}=VALUE.")
    return kind(**given)


def describe(name: str) -> dict[str, Any]:
    """Return what an operator is, from its docstring: summary, source, options with defaults."""
    operator = _find(name)
    text = inspect.getdoc(operator) or ""
    source = re.search(r"^Source:\n((?:    .+\n?)+)", text, re.MULTILINE)
    return {
        "name": name,
        "summary": text.split("\n\n")[0].replace("\n", " "),
        "options": _described(operator),
        "source": " ".join(source[1].split()) if source else "",
    }


def _described(kind: Any, within: str = "") -> dict[str, dict[str, Any]]:
    """Return each option's default and text; those of what writes stand behind its own."""
    text, hints = inspect.getdoc(kind) or "", get_type_hints(kind)
    said = dict(re.findall(r"^    (\w+): ((?:.+\n?(?:     +.+\n?)*))", text, re.MULTILINE))
    found: dict[str, dict[str, Any]] = {}
    for key, option in _options(kind).items():
        default = None if _default(option) is MISSING else _default(option)
        found[within + key] = {"default": default, "text": " ".join(said.get(key, "").split())}
        if _is_writer(hints[key]):
            of_writer = _described(Writer, f"{key}.")
            found |= {name: one for name, one in of_writer.items() if name != f"{key}.model"}
    return found


def _nearest(name: str, known: Iterable[str]) -> str:
    from prefine.objectives.options import nearest  # with torch, which rules do without

    return nearest(name, known)


def _find(name: str) -> Any:
    if name not in OPERATORS:
        raise ConfigError(f"There is no operator `{name}`. {_nearest(name, OPERATORS)}")
    return OPERATORS[name]


def _is_writer(hint: Any) -> bool:
    return Writer in get_args(hint)


def _options(operator: Any) -> dict[str, Field[Any]]:
    return {f.name: f for f in fields(operator) if f.repr}


def _default(option: Field[Any]) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()
