"""`prefine doctor`: what this machine can and lacks."""

import json
from typing import Annotated

import typer

COLOURS = {
    "ok": typer.colors.GREEN,
    "note": typer.colors.YELLOW,
    "missing": typer.colors.YELLOW,
    "broken": typer.colors.RED,
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Say what this machine can and lacks; exit with 1 when something required is broken."""
    from prefine.doctor import examine, failed

    checks = examine()
    if as_json:
        made = {"broken": failed(checks), "checks": [check.to_json() for check in checks]}
        typer.echo(json.dumps(made))
    else:
        group = ""
        for check in checks:
            if check.group != group:
                group = check.group
                typer.secho(group, bold=True)
            mark = typer.style(f"{check.state:<8}", fg=COLOURS[check.state])
            typer.echo(f"  {mark}{check.name:<18}{check.says}")
            if check.do:
                typer.echo(f"  {'':<8}{'':<18}{check.do}")
    if failed(checks):
        raise typer.Exit(code=1)
