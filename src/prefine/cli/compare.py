"""`prefine compare`: runs side by side, with intervals."""

import json
from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of runs.")],
    measure: Annotated[
        list[str] | None,
        typer.Option(help="Compare in this number alone, e.g. accuracy; several may be given."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write a page with the curves one over another.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Compare finished runs on the same held-out rows; runs that differ in their seed are one."""
    from prefine.audit import compare as compare_runs

    found = compare_runs(runs, measure or ())
    if out is not None:
        from prefine.audit import comparison_report
        from prefine.report import render
        from prefine.storage import atomic_text

        with atomic_text(out) as handle:
            handle.write(render(comparison_report(found)))
    if as_json:
        typer.echo(json.dumps(found.to_json(), allow_nan=False, default=str))
        return
    from rich.console import Console

    from prefine.audit.compare_report import in_words, settings_lines, tables

    console = Console()
    for table in tables(found):
        console.print(table)
    for line in settings_lines(found):
        typer.echo(f"differs  {line}")
    typer.echo(in_words(found))
    if out is not None:
        typer.echo(f"report   {out}")
