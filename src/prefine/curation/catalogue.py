"""Operators by name, their options, and what these are: for the command line."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from prefine.curation.edits import Edits
from prefine.curation.goals import Goals
from prefine.curation.operator import Operator
from prefine.curation.shots import Shots
from prefine.curation.streams import Streams
from prefine.curation.tutor import Tutor
from prefine.errors import ConfigError
from prefine.objectives.options import nearest

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
    operator = _find(name)
    hints, known = get_type_hints(operator), _options(operator)
    given: dict[str, Any] = {}
    for key, value in (options or {}).items():
        if key not in known:
            raise ConfigError(f"{name} has no option `{key}`. {nearest(key, known)}")
        try:
            given[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise ConfigError(f"`{key}` of {name}: {said}, got {value!r}.") from None
    needed = [key for key, f in known.items() if _default(f) is MISSING and key not in given]
    if needed:
        raise ConfigError(f"{name} needs `{needed[0]}`: give --set {needed[0]}=VALUE.")
    return operator(**given)


def describe(name: str) -> dict[str, Any]:
    """Return what an operator is, from its docstring: summary, source, options with defaults."""
    operator = _find(name)
    text = inspect.getdoc(operator) or ""
    said = dict(re.findall(r"^    (\w+): ((?:.+\n?(?:     +.+\n?)*))", text, re.MULTILINE))
    source = re.search(r"^Source:\n((?:    .+\n?)+)", text, re.MULTILINE)
    return {
        "name": name,
        "summary": text.split("\n\n")[0].replace("\n", " "),
        "options": {
            key: {
                "default": None if _default(f) is MISSING else _default(f),
                "text": " ".join(said.get(key, "").split()),
            }
            for key, f in _options(operator).items()
        },
        "source": " ".join(source[1].split()) if source else "",
    }


def _find(name: str) -> Any:
    if name not in OPERATORS:
        raise ConfigError(f"There is no operator `{name}`. {nearest(name, OPERATORS)}")
    return OPERATORS[name]


def _options(operator: Any) -> dict[str, Field[Any]]:
    return {f.name: f for f in fields(operator) if f.repr}


def _default(option: Field[Any]) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()
