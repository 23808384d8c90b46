"""Functions of the user's own, by name."""

import importlib
from collections.abc import Callable
from typing import Any

from prefine.errors import ConfigError


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
