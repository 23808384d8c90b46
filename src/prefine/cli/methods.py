"""`prefine train --list`: the objectives, or everything about one of them."""

import json
from typing import Any

import typer


def show_methods(objective: str | None, as_json: bool) -> None:
    """Print all objectives, a line each, or one with its formula and options.

    Args:
        objective: A name, or None for all.
        as_json: Print JSON: a list of objects, or one object.
    """
    from prefine.objectives import registry
    from prefine.training.presets import PRESETS

    spelled = (objective or "").replace("-", "_")
    if spelled in PRESETS:
        _show_preset(spelled, as_json)
        return
    if objective is not None:
        method = registry.describe("bradley_terry" if objective == "reward" else objective)
        typer.echo(json.dumps(method)) if as_json else _show_one(method)
        return
    methods = [registry.describe(name) for name in registry.names()]
    typer.echo(json.dumps(methods)) if as_json else _show_all(methods)
    if not as_json:
        _show_presets()


def _show_presets() -> None:
    from rich.console import Console
    from rich.table import Table

    from prefine.training.presets import PRESETS

    table = Table("preset", "objective", "", box=None)
    for name, preset in PRESETS.items():
        table.add_row(name, preset.objective, _plain(preset.summary))
    Console().print(table)


def _show_preset(name: str, as_json: bool) -> None:
    from dataclasses import asdict

    from prefine.training.presets import PRESETS

    said = {"name": name, **asdict(PRESETS[name])}
    if as_json:
        typer.echo(json.dumps(said))
        return
    typer.echo(f"{name}: {said.pop('summary')}\n")
    for key in ("options", "denoising", "rows", "rationale", "streaming"):
        for option, value in said[key].items():
            typer.echo(f"  {key}.{option}={value}")
    typer.echo(f"\nThe objective is {said['objective']}: prefine train {said['objective']} --list")


def _show_all(methods: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("objective", "data", "reference", "", box=None)
    for method in methods:
        reference = "yes" if method["reference"] else "no"
        table.add_row(method["name"], method["data"], reference, _plain(method["summary"]))
    Console().print(table)
    typer.echo("Formula, options and source of one: prefine train NAME --list")


def _show_one(method: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(f"{method['name']}: {_plain(method['summary'])}\n")
    console.print(f"  {method['formula']}\n")
    if method["other_names"]:
        console.print(f"also looked for as {', '.join(method['other_names'])}")
    reference = "with a reference" if method["reference"] else "without a reference"
    console.print(f"{method['kind']}, on {method['data']}s, {reference}")
    if method["options"]:
        table = Table("option", "default", "must be", "usual", "", box=None)
        for name, option in method["options"].items():
            usual = "" if option["usual"] is None else "{:g} to {:g}".format(*option["usual"])
            default = "" if name not in method["defaults"] else str(method["defaults"][name])
            table.add_row(name, default, option["must_be"], usual, _plain(option["text"]))
        console.print(table)
    console.print(f"\nCurves: {_plain(method['curves'])}")
    console.print(f"\nPitfalls: {_plain(method['pitfalls'])}")
    console.print(f"\nSource: {_plain(method['source'])}")


def _plain(text: str) -> str:
    return text.replace("`", "")
