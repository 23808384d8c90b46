"""`prefine compare-objectives`: which objective, under equal trials."""

import json
from pathlib import Path
from typing import Annotated

import typer

from prefine.errors import ConfigError


def compare_objectives(
    data: Annotated[str, typer.Argument(help="Preference data: file, folder or Hub name.")],
    model: Annotated[str, typer.Option(help="Where every run starts: Hub name or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the study.")],
    objectives: Annotated[
        str, typer.Option(help="Names with commas between them.")
    ] = "dpo,ipo,simpo,kto",
    trials: Annotated[int, typer.Option(min=1, help="Settings that each may try.")] = 6,
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each one's best setting.")] = 5,
    rates: Annotated[str, typer.Option(help="Smallest and largest learning rate.")] = "1e-6,1e-4",
    reward: Annotated[
        str | None,
        typer.Option(help="Reward of answers: a reward model, or module:function as TRL has it."),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(help="What decides: reward, reward_accuracy or ranking_accuracy."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, help="Held-out prompts that every policy answers.")
    ] = 64,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 256,
    holdout: Annotated[
        float, typer.Option(help="Share of prompts to choose on, and as many for the end.")
    ] = 0.15,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any key of a run, e.g. training.max_steps=99."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the study in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Compare objectives under equal trials over learning rate and strength, with fresh seeds."""
    from prefine.cli.train import dotted, look_here
    from prefine.recipes import Study
    from prefine.recipes import compare_objectives as run
    from prefine.recipes.choice_report import study_report, table
    from prefine.report import render
    from prefine.storage import atomic_text
    from prefine.training.config import override

    look_here()
    study = Study(
        data=data, model=model, out=out, objectives=objectives.split(","), trials=trials,
        seeds=seeds, rates=_range(rates), measure=measure, reward=reward, samples=samples,
        max_new_tokens=max_new_tokens, holdout=holdout, 
        settings=override({}, dotted(settings or [])),
    )  # fmt: skip

    def say(what: str, done: int, of: int) -> None:
        typer.echo(f"{done + 1:>3} of {of}  {what}", err=True)

    finding = run(study, resume=resume, on_stage=say)
    with atomic_text(out / "report.html") as handle:
        handle.write(render(study_report(finding)))
    if as_json:
        typer.echo(json.dumps(finding.to_json(), allow_nan=False))
        return
    from rich.console import Console

    Console().print(table(finding))
    typer.echo(finding.choice.words)
    for name, best in finding.best.items():
        if not best.trial.options:
            typer.echo(f"{name} states no usual range of a strength: only its rate was tried.")
    typer.echo(f"report   {out / 'report.html'}")


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--rates takes two numbers, as 1e-6,1e-4; got {text!r}.") from error
    return low, high
