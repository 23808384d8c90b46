"""`prefine diagnose`: a run's curves, read and put into words."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def diagnose(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Say whether a run's curves are healthy, and if not, what ails it (exit code 1)."""
    from prefine.audit import diagnose as read

    found = read(run)
    if as_json:
        typer.echo(json.dumps(found.to_json(), allow_nan=False))
    else:
        _show(found)
    if not found.healthy:
        raise typer.Exit(code=1)


def _show(found: Any) -> None:
    from prefine.report.text import visible

    for finding in found.findings:
        because = f"  (follows from {finding.because})" if finding.because else ""
        typer.echo(f"{finding.severity.upper()}  {finding.name}{because}")
        typer.echo(f"  {visible(finding.what)}")
        for evidence in finding.evidence:
            typer.echo(f"  seen  {visible(str(evidence))}")
        typer.echo(f"  do    {visible(finding.remedy)}\n")
    for name, metric in found.unchecked.items():
        typer.echo(f"not checked  {name}: the run has no {metric}")
    if found.terms:
        others = f"; not read: {', '.join(found.terms[1:])}" if found.terms[1:] else ""
        typer.echo(f"note  of several terms, this is about `{visible(found.terms[0])}`{others}")
    if not found.finished:
        typer.echo("note  the run did not come to its end, so this is about its curves so far")
    if found.healthy:
        checked = f"{len(found.checked)} of {len(found.checked) + len(found.unchecked)}"
        word = "healthy" if found.looked else "not known"
        typer.echo(f"{word}  {found.steps} steps, nothing found; {checked} illnesses looked for")
