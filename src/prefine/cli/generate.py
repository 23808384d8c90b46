"""`prefine generate`: pictures for captions, one file each, and a record of them."""

from pathlib import Path
from typing import Annotated

import typer

from prefine.errors import ConfigError


def generate(
    model: Annotated[str, typer.Argument(help="Picture model: Hub name, folder, or LoRA folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    prompt: Annotated[
        list[str] | None, typer.Option(help="A caption; several may be given.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="A file with a caption a line.", exists=True, dir_okay=False)
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Pictures a caption.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first picture of each caption.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 50,
    guidance: Annotated[
        float | None, typer.Option(min=0, help="Scale of guidance; by default the pipeline's own.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at once.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON.")] = False,
) -> None:
    """Draw pictures: OUT/records.jsonl names them, to be judged or trained on."""
    captions = [*(prompt or []), *(_lines(prompts) if prompts else [])]
    if not captions:
        raise ConfigError("Nothing to draw: give --prompt or --prompts.")
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty. Name another folder.")
    import json

    from prefine.models.picture_samples import draw_pictures

    made = draw_pictures(
        model, captions, out, count=count, seed=seed, steps=steps, guidance=guidance,
        batch_size=batch_size, progress=not as_json,
    )  # fmt: skip
    said = {"pictures": made, "records": str(out / "records.jsonl")}
    typer.echo(json.dumps(said) if as_json else f"{made} pictures in {said['records']}")


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
