"""`prefine config`: configurations of other libraries, read as prefine's."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Translate configurations.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Translate configurations."""


@app.command("from-trl")
def from_trl(
    file: Annotated[Path, typer.Argument(help="YAML of TRL.", exists=True, dir_okay=False)],
    method: Annotated[
        str,
        typer.Option(help="sft, reward, dpo, kto, cpo or orpo; told from the keys if it can be."),
    ] = "auto",
    out: Annotated[Path | None, typer.Option(help="File to write; else standard output.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print configuration and notes.")] = False,
) -> None:
    """Write the run.yaml that does what a configuration of TRL does, and name what is left out."""
    import yaml

    from prefine.cli.train import read_yaml
    from prefine.training.from_trl import translate

    made = translate(read_yaml(file), method)
    for key, note in made.notes.items():
        typer.echo(f"{key}: {note}", err=True)
    if as_json:
        typer.echo(json.dumps({"config": made.config, "notes": made.notes}, default=str))
        return
    text = yaml.safe_dump(made.config, sort_keys=False)
    if out is None:
        typer.echo(text, nl=False)
        return
    if out.exists():
        raise typer.BadParameter(f"{out} exists already; name another file.", param_hint="--out")
    out.write_text(text, encoding="utf-8")
    typer.echo(f"config  {out}\nrun it  prefine train --config {out}")
