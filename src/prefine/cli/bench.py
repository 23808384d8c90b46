"""`prefine bench`: speed and memory beside TRL, on the same work."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def bench(
    case: Annotated[
        list[str] | None, typer.Option(help="Name of a case; several may be given.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Four cases, three pairs of steps.")] = False,
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Pairs of steps that are timed: 7, or 3 with --quick.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each side.")] = 2,
    trl_python: Annotated[
        Path, typer.Option(help="A Python that has TRL 1.16; `make bench` makes one.")
    ] = Path(".venv-trl/bin/python"),
    out: Annotated[
        Path | None, typer.Option(help="File of the figures; cases in it are not run again.")
    ] = None,
    list_cases: Annotated[bool, typer.Option("--list", help="List the cases and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time prefine and TRL in turn on the same steps, after checking that they compute the same."""
    from prefine.bench.cases import CASES, QUICK

    if list_cases:
        typer.echo("\n".join(CASES))
        return
    from prefine.bench.figures import figures, machine, picture, show
    from prefine.bench.run import run_case
    from prefine.errors import ConfigError
    from prefine.storage import atomic_text, write_json

    if case and quick:
        raise ConfigError("--quick chooses the cases itself. Give --case or --quick.")
    timed = pairs or (3 if quick else 7)
    names = case or (list(QUICK) if quick else list(CASES))
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise ConfigError(f"There is no case {unknown[0]!r}. Known: {', '.join(CASES)}.")
    if not trl_python.exists():
        raise ConfigError(
            f"{trl_python}: no such Python. TRL is timed in an environment of its own: "
            "run `make bench`, or name a Python that has TRL 1.16 with --trl-python."
        )
    earlier = json.loads(out.read_text(encoding="utf-8"))["cases"] if out and out.exists() else []
    if any((made["threads"], made["speed"]["n"]) != (threads, timed) for made in earlier):
        raise ConfigError(
            f"{out} holds figures taken with another number of threads or pairs, which must not "
            "stand in one table with these. Name another --out."
        )
    results = list(earlier)
    for name in names:
        if any(made["name"] == name for made in results):
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        made = run_case(CASES[name][0], trl_python=str(trl_python), pairs=timed, threads=threads)
        results.append(figures(name, made))
        if out is not None:
            write_json(out, {"machine": machine(), "cases": results})
            with atomic_text(out.with_suffix(".svg")) as handle:
                handle.write(picture(results) + "\n")
    typer.echo(json.dumps({"machine": machine(), "cases": results}) if as_json else show(results))
