"""`prefine export`: a folder that other programs load."""

import json
from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="Folder of a run, a model, or LoRA adapters.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Fold LoRA adapters into their base.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Write a model so that transformers, peft, TRL, vLLM and SGLang load it without prefine."""
    from prefine.models import export_model

    written = export_model(model, out, merge=merge)
    if as_json:
        typer.echo(json.dumps(written.to_json()))
        return
    size = sum(written.files.values()) / 1e6
    typer.echo(f"{written.kind}  {written.folder} ({len(written.files)} files, {size:,.1f} MB)")
    for note in written.notes:
        typer.echo(f"note  {note}")
