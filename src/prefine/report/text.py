"""Numbers and foreign text, made fit to be read."""

import math
import re
from collections.abc import Mapping
from typing import Any

from prefine.statistics import Stat

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Replace characters that act without being seen by a picture of themselves.

    Control characters could drive a terminal, and marks of writing direction could make a reader
    see another text than the one that is there. Line breaks and tabs stay.

    Example:
        >>> visible("a\x1b[31m b\u202ec")
        'a␛[31m b[U+202E]c'
    """
    return _UNSEEN.sub(lambda match: _picture(ord(match[0])), text)


def _picture(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"[U+{code:04X}]"


TINY = 1e-5
"""Below this an interval is written with exponents."""


def number(value: float | int | None, half_width: float = math.nan) -> str:
    """Write a number with no more digits than its uncertainty deserves.

    Args:
        value: The number; None and NaN are a dash.
        half_width: Half the width of its interval: two of its digits are kept. NaN if unknown:
            four significant digits.

    Example:
        >>> number(0.74531, half_width=0.031), number(1234567), number(0.000123456), number(None)
        ('0.745', '1,234,567', '0.0001235', '–')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if math.isfinite(half_width) and half_width > 0:
        decimals = min(max(1 - math.floor(math.log10(half_width)), 0), 8)
        return f"{value:,.{decimals}f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def value_text(stat: Stat) -> str:
    """Return a number's value, as precise as its interval allows."""
    return number(float(stat.value), _half_width(stat))


def interval_text(stat: Stat) -> str:
    """Return a number's interval, or a dash.

    Example:
        >>> interval_text(Stat(0.75, 0.6012, 0.8634, n=40, method="wilson"))
        '0.60 to 0.86'
    """
    if math.isnan(stat.low) and math.isnan(stat.high):
        return "–"
    half = _half_width(stat)
    return f"{number(float(stat.low), half)} to {number(float(stat.high), half)}"


def stat_text(stat: Stat) -> str:
    """Return a number with its interval.

    Example:
        >>> stat_text(Stat(0.75, 0.6012, 0.8634, n=40, method="wilson"))
        '0.75 [0.60, 0.86]'
    """
    half = _half_width(stat)
    half = math.nan if half < TINY else half
    low, high = (number(float(end), half) for end in (stat.low, stat.high))
    return f"{number(float(stat.value), half)} [{low}, {high}]"


def count_text(stat: Stat) -> str:
    """Return how many observations, prompts and seeds a number rests on."""
    parts = [number(stat.n)]
    if stat.n_clusters is not None and stat.n_clusters != stat.n:
        parts.append(f"in {number(stat.n_clusters)}")
    if stat.seeds is not None and stat.seeds != stat.n:
        parts.append(f"{stat.seeds} seeds")
    return " ".join(parts)


def as_stats(stats: Mapping[str, Stat | Mapping[str, Any]]) -> dict[str, Stat]:
    """Return numbers as `Stat`, whether they are given so or in their JSON form."""
    return {
        name: stat if isinstance(stat, Stat) else Stat.from_json(stat)
        for name, stat in stats.items()
    }


def _half_width(stat: Stat) -> float:
    return (stat.high - stat.low) / 2
