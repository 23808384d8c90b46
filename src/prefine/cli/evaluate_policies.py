"""`prefine evaluate` for checkpoints in their own words, and for sorting pairs by a reward."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from prefine.cli.evaluate import Data, Format, Json, MaxLength, Rejects, Split, Template

Models = Annotated[
    list[str], typer.Argument(metavar="MODEL...", help="Checkpoints or models, in order.")
]
Prompts = Annotated[str, typer.Option("--data", help="Whose prompts are asked.")]
Samples = Annotated[int, typer.Option(min=2, help="Prompts that are asked, one answer each.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Longest answer.")]
Seed = Annotated[int, typer.Option(help="Of the answers.")]


def overoptimisation(
    models: Models,
    data: Prompts,
    reference: Annotated[str, typer.Option(help="What they started from.")],
    reward: Annotated[str, typer.Option(help="A reward model, or module:function as TRL has it.")],
    samples: Samples = 64,
    max_new_tokens: MaxNewTokens = 256,
    seed: Seed = 0,
    format: Format = "auto",
    split: Split = None,
    template: Template = "auto",
    max_length: MaxLength = 1024,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Reward against distance from the reference, the law of over-optimisation, and its peak."""
    from prefine.cli.train import look_here
    from prefine.errors import StatisticError
    from prefine.evaluation.overoptimisation_law import overoptimisation_report
    from prefine.recipes.own_words import OwnWords, on_shared_prompts
    from prefine.recipes.policy_numbers import judge_of
    from prefine.statistics import cluster_bootstrap

    look_here()
    asked = _asked(data, format, split, rejects, samples)
    words = OwnWords(
        reference, asked, judge_of(reward), template=template, max_new_tokens=max_new_tokens,
        max_length=max_length, seed=seed,
    )  # fmt: skip
    found = on_shared_prompts(words.measure_all(models, _say), ["kl", "reward"])
    kl = {name: found["kl"][name] for name in models}
    gain = {name: found["reward"][name] - found["reward"][""] for name in models}
    law, why = {}, None
    try:
        law = overoptimisation_report(list(kl.values()), list(gain.values()))
    except StatisticError as error:  # the points are worth seeing all the same
        why = str(error)
    points = {
        name: {"kl": cluster_bootstrap(kl[name]), "gain": cluster_bootstrap(gain[name])}
        for name in models
    }
    if as_json:
        told = {
            "models": {name: _json(two) for name, two in points.items()}, "law": _json(law),
            "no_law": why,
            "reference": reference, "reward": reward, "data": data, "prompts": len(asked),
            "seed": seed,
        }  # fmt: skip
        typer.echo(json.dumps(told, allow_nan=False))
        return
    from prefine.report.terminal import print_stats

    flat = {f"{name}: {which}": stat for name, two in points.items() for which, stat in two.items()}
    print_stats(flat, "KL to the reference (nats) and gain in reward, over prompts")
    if why is not None:
        typer.echo(f"no law: {why}")
        return
    print_stats(law, "the law R(d) = d (alpha - beta log d), d the root of the KL")


def drift(
    models: Models,
    data: Prompts,
    judge: Annotated[
        str,
        typer.Option(help="module:function that gives each answer its stances, {name: share}."),
    ],
    samples: Samples = 64,
    max_new_tokens: MaxNewTokens = 256,
    seed: Seed = 0,
    format: Format = "auto",
    split: Split = None,
    template: Template = "auto",
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """How stances move over checkpoints, and whether that is more than sampling."""
    from prefine.cli.train import look_here
    from prefine.evaluation.drift import value_drift
    from prefine.recipes.stances import stances_of

    look_here()
    asked = _asked(data, format, split, rejects, samples)
    names, stances = stances_of(
        models, asked, judge, template=template, max_new_tokens=max_new_tokens, seed=seed,
        on_model=_say,
    )  # fmt: skip
    found = value_drift(stances)
    told: dict[str, Any] = {
        "models": {
            model: {"distance": float(distance), "stances": dict(zip(names, mean, strict=True))}
            for model, distance, mean in zip(
                models, found.distance, stances.mean(1).tolist(), strict=True
            )
        },
        "shift": dict(zip(names, found.shift.tolist(), strict=True)),
        "null": found.null, "moved": found.moved, "time": found.time, "prompts": len(asked),
        "data": data, "judge": judge, "seed": seed,
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(told, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "distance", *names, box=None)
    for model, row in told["models"].items():
        shares = [f"{row['stances'][name]:.3f}" for name in names]
        table.add_row(model, f"{row['distance']:.3f}", *shares)
    Console().print(table)
    words = "moved" if found.moved else "did not move"
    typer.echo(
        f"Stances {words}: the largest distance is {found.distance.max():.3f}; two samples of one "
        f"model differ by at most {found.null:.3f} in 95% of cases ({len(asked)} prompts)."
    )
    if found.time is not None:
        typer.echo(f"95% of it was reached after {found.time:.0%} of the run.")


def selection(
    model: Annotated[str, typer.Argument(help="A reward model that has not seen these pairs.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for easy, hard and contradicted records.")],
    threshold: Annotated[
        float | None,
        typer.Option(min=0, help="Lead that makes a pair easy; by default the median lead."),
    ] = None,
    format: Format = "auto",
    split: Split = None,
    template: Template = "auto",
    max_length: MaxLength = 1024,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Sort records into those that a reward finds clear, those it cannot tell, and contradicts."""
    from prefine.models import RewardModel
    from prefine.recipes.sorting import sort_by_reward
    from prefine.records import load

    loaded = RewardModel.load(model, template=template, max_length=max_length)
    records = load(data, format=format, split=split, rejects=rejects)
    parts = sort_by_reward(records, loaded, threshold, progress=not as_json)
    out.mkdir(parents=True, exist_ok=True)
    for name, part in parts.records.items():
        part.save(out / f"{name}.jsonl")
    counts = {name: len(part) for name, part in parts.records.items()}
    if as_json:
        told = {
            "model": model, "data": records.source, "threshold": parts.threshold, **counts,
            "set_aside": dict(parts.set_aside), "rejects": records.rejects.count,
        }  # fmt: skip
        typer.echo(json.dumps(told, allow_nan=False))
        return
    for name, count in counts.items():
        typer.echo(f"{count:>7} {name:<13} -> {out / f'{name}.jsonl'}")
    typer.echo(f"a lead of more than {parts.threshold:.4g} is clear")
    for reason, count in Counter(parts.set_aside).items():
        typer.echo(f"set aside  {count}: {reason}", err=True)


def _asked(data: str, format: str, split: str | None, rejects: Path | None, most: int) -> list[Any]:
    from prefine.recipes.own_words import first_of_each_prompt
    from prefine.records import load

    records = load(data, format=format, split=split, rejects=rejects)
    return list(first_of_each_prompt(records))[:most]


def _say(name: str, done: int, of: int) -> None:
    typer.echo(f"{done + 1:>3} of {of}  {name}", err=True)


def _json(stats: dict[str, Any]) -> dict[str, Any]:
    return {name: stat.to_json() for name, stat in stats.items()}
