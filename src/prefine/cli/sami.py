"""`prefine sami`: rounds in which a policy learns to follow written principles."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def sami(
    data: Annotated[str, typer.Argument(help="Whose prompts are requests: file, folder or Hub.")],
    principles: Annotated[
        Path,
        typer.Option(help="YAML: principles and their opposites.", exists=True, dir_okay=False),
    ],
    model: Annotated[str, typer.Option(help="Where the first round starts: Hub name or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of all rounds.")],
    rounds: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    requests: Annotated[
        int, typer.Option(min=1, help="Of each round, drawn anew; 16 make a step.")
    ] = 512,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest response.")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts at once, when sampling.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the first round.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any key of a run, e.g. training.learning_rate=1e-6."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Learn principles without preferences: answer under each, and tell the answers apart."""
    from prefine.cli.train import dotted, look_here
    from prefine.recipes.principles import read_principles
    from prefine.recipes.sami_rounds import SamiRounds, run_sami
    from prefine.records import load
    from prefine.training.config import override

    look_here()
    what = SamiRounds(
        model=model, principles=read_principles(principles), rounds=rounds, requests=requests,
        max_new_tokens=max_new_tokens, batch_size=batch_size, seed=seed,
        settings=override({}, dotted(settings or [])),
    )  # fmt: skip

    def say(name: str, done: int, of: int) -> None:
        typer.echo(f"{done + 1:>3} of {of}  {name}", err=True)

    last = run_sami(load(data), what, out, resume=resume, on_stage=say)
    told = [_told(out, n) for n in range(rounds)]
    if as_json:
        typer.echo(json.dumps({"model": last, "rounds": told}, allow_nan=False))
        return
    for n, row in enumerate(told):
        aside = row["left_out"] + sum(row["set_aside"].values())
        typer.echo(
            f"round {n}  {row['grids']} requests under {row['constitutions']} constitutions, "
            f"{row['cut']} of {row['responses']} responses cut off, {row['copied']} repeat their "
            "constitution" + (f", {aside} requests set aside" if aside else "")
        )
    typer.echo(f"model    {last}")


def _told(out: Path, n: int) -> dict[str, Any]:
    """What a round drew, and what of it could not be trained on."""
    drawn = out / f"{2 * n}-sample-{n}" / "sampled.json"
    run = out / f"{2 * n + 1}-train-{n}" / "run" / "summary.json"
    aside = json.loads(run.read_text(encoding="utf-8"))["set_aside"]
    return {**json.loads(drawn.read_text(encoding="utf-8")), "set_aside": aside}
