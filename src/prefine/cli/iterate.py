"""`prefine iterate`: rounds in which a policy learns from pairs of its own responses."""

import json
from pathlib import Path
from typing import Annotated

import typer


def iterate(
    data: Annotated[str, typer.Argument(help="Whose prompts are answered: file, folder or Hub.")],
    model: Annotated[str, typer.Option(help="Where the first round starts: Hub name or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of all rounds.")],
    judge: Annotated[
        str,
        typer.Option(help="self, initial, a reward model, or module:function as TRL has it."),
    ] = "initial",
    rounds: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    responses: Annotated[int, typer.Option(min=2, help="To each prompt.")] = 4,
    objective: Annotated[str, typer.Option(help="A loss on pairs.")] = "dpo",
    soft: Annotated[bool, typer.Option(help="Whether labels keep the judge's probability.")] = True,
    mixture: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the reference in what draws (IPO-MD).")
    ] = 0.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest response.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the first round.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any key of a run, e.g. training.max_steps=99."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the rounds in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Sample, judge and train in rounds: self-preferring policies, online IPO and IPO-MD."""
    from prefine.cli.train import dotted, look_here
    from prefine.recipes.rounds import Rounds, run_rounds
    from prefine.records import load
    from prefine.training.config import override

    look_here()
    what = Rounds(
        model=model, judge=judge, rounds=rounds, responses=responses, objective=objective,
        soft=soft, mixture=mixture, max_new_tokens=max_new_tokens, seed=seed,
        settings=override({}, dotted(settings or [])),
    )  # fmt: skip

    def say(name: str, done: int, of: int) -> None:
        typer.echo(f"{done + 1:>3} of {of}  {name}", err=True)

    last = run_rounds(load(data), what, out, resume=resume, on_stage=say)
    told = [
        json.loads((out / f"{2 * n}-sample-{n}" / "sampled.json").read_text(encoding="utf-8"))
        for n in range(rounds)
    ]
    if as_json:
        typer.echo(json.dumps({"model": last, "rounds": told}, allow_nan=False))
        return
    for n, row in enumerate(told):
        sure = row["mean_probability"]
        typer.echo(
            f"round {n}  {row['pairs']} pairs of {row['responses']} responses to {row['prompts']} "
            f"prompts, {row['cut']} cut off"
            + ("" if sure is None else f", the judge sure of {sure:.2f} on average")
        )
    typer.echo(f"model    {last}")
