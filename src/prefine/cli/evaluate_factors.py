"""`prefine evaluate factors`: which part of a recipe matters, from a table of runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from prefine.cli.evaluate import Json
from prefine.errors import ConfigError


def factors(
    table: Annotated[
        Path,
        typer.Argument(help="A run a line: CSV, TSV, JSON lines.", exists=True, dir_okay=False),
    ],
    factor: Annotated[
        list[str], typer.Option(help="Column of a factor; two or more, told in this order.")
    ],
    outcome: Annotated[str, typer.Option(help="Column of the number that is explained.")],
    seed_column: Annotated[str, typer.Option(help="Column of the seed.")] = "seed",
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACTOR=LEVEL", help="Held against this; by default the first run's level."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Effects of each factor of a full study, and its share of the variance, over seeds."""
    from prefine.evaluation.factors import read_runs
    from prefine.statistics import factorial

    read = read_runs(table, factor, outcome, seed_column, _levels(against or []))
    found = factorial(read.runs, read.levels, outcome=outcome, seed=seed_column)
    first = {name: levels[0] for name, levels in read.levels.items()}
    seeds = len({run[seed_column] for run in read.runs})
    if as_json:
        told = {
            "effects": {
                name: {level: stat.to_json() for level, stat in effects.items()}
                for name, effects in found.effects.items()
            },
            "against": first,
            "shares": {name: stat.to_json() for name, stat in found.shares.items()},
            "spread": {name: stat.to_json() for name, stat in found.spread.items()},
            "outcome": outcome, "runs": len(read.runs), "seeds": seeds, "table": table.name,
        }  # fmt: skip
        typer.echo(json.dumps(told, allow_nan=False))
        return
    from prefine.report.terminal import print_stats

    effects = {
        f"{name}: {level} against {first[name]}": stat
        for name, levels in found.effects.items()
        for level, stat in levels.items()
    }
    print_stats(effects, f"effect on {outcome}, the other factors in equal parts")
    print_stats(found.spread, "largest difference between the levels of a factor")
    print_stats(found.shares, "share of the variance between combinations, noise included")
    typer.echo(f"{len(read.runs)} runs, {seeds} seeds")


def _levels(against: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in against]
    bad = [text for text, (name, _, level) in zip(against, pairs, strict=True)
           if not (name and level)]  # fmt: skip
    if bad or len({name for name, _, _ in pairs}) < len(pairs):
        raise ConfigError(
            f"--against takes FACTOR=LEVEL, once for each factor; got {', '.join(against)}."
        )
    return {name: level for name, _, level in pairs}
