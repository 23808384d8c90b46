"""Functions of the user's own, by name."""

import importlib
from collections.abc import Callable
from typing import Any

from prefine.errors import ConfigError
from prefine.records.message import spoken
from prefine.records.records import Records


def function_named(name: str, option: str) -> Callable[..., Any]:
    """Return `module:function`.

    Args:
        name: Module, colon, function.
        option: What asked for it, for the message.

    Raises:
        ConfigError: If there is no such function.

    Example:
        >>> function_named("math:floor", "--judge")(2.5)
        2
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{option} {name}: {error}. Name `module:function`.") from error


def ask(function: Callable[..., Any], name: str, option: str, answers: Records) -> list[Any]:
    """Call a function of TRL's form on answers; return one value for each.

    It is called as `f(prompts=[...], completions=[...])` with texts; a conversation of several
    turns is one text, with who speaks before each turn.

    Args:
        function: What to call.
        name: Its name, for the message.
        option: What asked for it.
        answers: Records with one candidate each.

    Raises:
        ConfigError: If there are more values than answers, or fewer.
    """
    asked = list(answers)
    given = list(
        function(
            prompts=[spoken(record.context) for record in asked],
            completions=[record.candidates[0].text for record in asked],
        )
    )
    if len(given) != len(asked):
        raise ConfigError(
            f"{option} {name} returned {len(given)} values for {len(asked)} answers. It must "
            "return one for each, in order."
        )
    return given
