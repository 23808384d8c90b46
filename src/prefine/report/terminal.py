"""Numbers with their intervals, on a terminal."""

from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefine.report.text import as_stats, count_text, interval_text, value_text, visible
from prefine.statistics import Stat


def stat_table(
    stats: Mapping[str, Stat | Mapping[str, Any]],
    title: str = "",
    more: Mapping[str, Mapping[str, str]] | None = None,
) -> Table:
    """Lay numbers out as a table; names are shown as they are, never as markup.

    The methods of the intervals stand below, each with the mark that its rows carry, so that the
    table fits a narrow terminal.

    Args:
        stats: Name -> number, as `Stat` or in its JSON form.
        title: A line above the table.
        more: Further columns: header -> name -> text.

    Example:
        >>> table = stat_table({"accuracy": Stat(0.75, 0.6, 0.86, n=40, method="wilson")})
        >>> [str(column.header) for column in table.columns], str(table.caption)
        (['', 'value', '95% interval', 'n', ''], 'a wilson')
    """
    rows = as_stats(stats)
    methods = list(dict.fromkeys(stat.method for stat in rows.values()))
    marks = dict(zip(methods, ascii_lowercase, strict=False))
    table = Table(
        title=_plain(title) if title else None,
        caption=_plain("\n".join(f"{mark} {method}" for method, mark in marks.items())),
        title_justify="left",
        caption_justify="left",
        box=None,
    )
    table.add_column("")
    for header in ("value", "95% interval", "n", *(more or ())):
        table.add_column(_plain(header), justify="right")
    table.add_column("", style="dim")
    for name, stat in rows.items():
        further = [column.get(name, "") for column in (more or {}).values()]
        cells = (name, value_text(stat), interval_text(stat), count_text(stat), *further)
        table.add_row(*map(_plain, cells), marks.get(stat.method, _plain(stat.method)))
    return table


def print_stats(
    stats: Mapping[str, Stat | Mapping[str, Any]],
    title: str = "",
    *,
    console: Console | None = None,
) -> None:
    """Print numbers with their intervals as a table."""
    (console or Console()).print(stat_table(stats, title))


def _plain(text: str) -> Text:
    return Text("\n".join(visible(line) for line in text.split("\n")))
