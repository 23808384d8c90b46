"""`prefine combine`: adapters of several domains as one."""

import json
from pathlib import Path
from typing import Annotated

import typer


def combine(
    adapters: Annotated[
        list[str], typer.Argument(help="Folders of runs or of LoRA adapters, two or more.")
    ],
    data: Annotated[str, typer.Option(help="A memory: some pairs of every domain.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    beta: Annotated[float, typer.Option(help="Strength of the DPO loss that chooses.")] = 0.1,
    parts: Annotated[int, typer.Option(min=1, help="Steps of the grid of shares.")] = 10,
    max_length: Annotated[
        int, typer.Option(help="Longest prompt plus response, tokens.", min=2)
    ] = 1024,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Add LoRA adapters of one base up, in shares that do best on a memory of all domains."""
    from prefine.recipes.combination import combine as combine_on
    from prefine.records import load

    records = load(data)
    found, written = combine_on(
        adapters, records, out,
        beta=beta, parts=parts, max_length=max_length, progress=not as_json,
    )  # fmt: skip
    if as_json:
        losses = {"loss": found.loss, "alone": found.alone}
        typer.echo(json.dumps({"shares": found.shares, **losses, **written.to_json()}))
        return
    for name, share, alone in zip(adapters, found.shares, found.alone, strict=True):
        typer.echo(f"{share:5.2f}  {name}  (loss {alone:.4f} by itself)")
    typer.echo(f"loss {found.loss:.4f} on the memory, combined")
    typer.echo(f"{written.kind}  {written.folder}")
    for note in written.notes:
        typer.echo(f"note  {note}")
