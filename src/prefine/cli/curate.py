"""`prefine curate`: put records through an operator."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from prefine.cli.data import (
    Config,
    Format,
    KeepColumn,
    License,
    MaxRejects,
    Rejects,
    Rename,
    Revision,
    Split,
    read,
)
from prefine.cli.places import refuse_itself
from prefine.cli.train import dotted, look_here
from prefine.errors import ConfigError, RecordError


def curate(
    operator: Annotated[str | None, typer.Argument(help="What to do; --list names all.")] = None,
    source: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="File, folder, or Hub name (org/name@revision)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write: .jsonl or .parquet.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option of the operator."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List operators, or show one.")] = False,
    format: Format = "auto",
    split: Split = None,
    config: Config = None,
    revision: Revision = None,
    max_rejects: MaxRejects = 0.01,
    rejects: Rejects = None,
    keep_column: KeepColumn = None,
    rename: Rename = None,
    license: License = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make the records that a method asks for; what becomes none is counted by reason."""
    if list_:
        _list(operator, as_json)
        return
    if operator is None or source is None or out is None:
        raise ConfigError(
            "Say what to do, with which data, and where it goes: prefine curate OPERATOR DATA "
            "--out FILE. The operators: prefine curate --list."
        )
    refuse_itself(source, out)
    from prefine.curation import curate as work
    from prefine.curation.catalogue import build

    look_here()
    doing = build(operator, dotted(set_ or []))
    records = read(
        source, format, split, config, revision, max_rejects, rejects, keep_column, rename, license
    )
    made = work(records, doing, progress=not as_json)
    aside = dict(made.set_aside)
    if not len(made):
        said = "; ".join(f"{reason} ({count})" for reason, count in aside.items())
        raise RecordError(f"{operator} made nothing of {len(records)} records: {said}.")
    made.save(out)
    if as_json:
        found = {"records": len(made), "from": len(records), "set_aside": aside, "out": str(out)}
        typer.echo(json.dumps(found))
        return
    typer.echo(f"{len(made)} records of {len(records)} -> {out}")
    for reason, count in aside.items():
        typer.echo(f"  set aside: {reason} ({count})", err=True)


def _list(operator: str | None, as_json: bool) -> None:
    from prefine.curation.catalogue import OPERATORS, describe

    found = [describe(name) for name in ([operator] if operator else OPERATORS)]
    if as_json:
        typer.echo(json.dumps(found[0] if operator else found))
    elif operator:
        _show(found[0])
    else:
        for one in found:
            typer.echo(f"{one['name']:14}{one['summary']}")
        typer.echo("\nOptions and source of one: prefine curate NAME --list")


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(f"{found['name']}: {found['summary']}\n")
    table = Table("option", "default", "", box=None)
    for name, option in found["options"].items():
        table.add_row(name, str(option["default"]), option["text"].replace("`", ""))
    console.print(table)
    console.print(f"\nSource: {found['source']}")
