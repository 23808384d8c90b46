"""`prefine bench`: speed and memory beside others, on the same work."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from prefine.errors import ConfigError


def bench(
    case: Annotated[
        list[str] | None, typer.Option(help="Name of a case; several may be given.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(help="Four cases, three pairs of steps; rates of products are left out."),
    ] = False,
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Pairs of steps that are timed: 7, or 3 with --quick.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each side.")] = 2,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="Whose cases; `cuda` has its own.")
    ] = "cpu",
    trl_python: Annotated[
        Path, typer.Option(help="A Python that has TRL 1.16; `make bench` makes one.")
    ] = Path(".venv-trl/bin/python"),
    out: Annotated[
        Path | None, typer.Option(help="File of the figures; cases in it are not run again.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Earlier figures; fail where a case is clearly slower than there."),
    ] = None,
    list_cases: Annotated[
        bool, typer.Option("--list", help="List the cases with their goals and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time prefine and others in turn on the same steps, after checking that they agree."""
    from prefine.bench.cases import CASES, QUICK, described

    of_device = [name for name in CASES if CASES[name][0].device == device]
    if list_cases:
        typer.echo("\n".join(map(described, of_device)))
        return
    if case and quick:
        raise ConfigError("--quick chooses the cases itself. Give --case or --quick.")
    if quick and device != "cpu":
        raise ConfigError("--quick has cases of the CPU alone. Leave it or --device out.")
    names = case or (list(QUICK) if quick else of_device)
    _check(names, of_device, device)
    if any(CASES[name][0].against == "trl" for name in names) and not trl_python.exists():
        raise ConfigError(
            f"{trl_python}: no such Python. TRL is timed in an environment of its own: "
            "run `make bench`, or name a Python that has TRL 1.16 with --trl-python."
        )
    timed = pairs or (3 if quick else 7)
    earlier = None if baseline is None else _read(baseline)
    how = {"trl_python": str(trl_python), "pairs": timed, "threads": threads, "gauged": not quick}
    command = f"prefine bench --device {device} --pairs {timed} --threads {threads}"
    results = _run(names, how, command + " --quick" * quick, out)
    _tell(results, earlier, as_json=as_json, device=device)


def _check(names: list[str], known: list[str], device: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"There is no case {unknown[0]!r} of --device {device}. Known: {', '.join(known)}."
        )
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("--device cuda needs a GPU that torch can use; there is none here.")


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ConfigError(f"{path}: no such file of earlier figures.")
    return json.loads(path.read_text(encoding="utf-8"))


def _run(
    names: list[str], how: dict[str, Any], command: str, out: Path | None
) -> list[dict[str, Any]]:
    from prefine.bench.cases import CASES
    from prefine.bench.figures import machine
    from prefine.bench.table import picture
    from prefine.storage import atomic_text, write_json

    taken = {name: how[name] for name in ("threads", "pairs", "gauged")}
    held = _read(out) if out and out.exists() else {**taken, "cases": []}
    if any(held.get(name) != value for name, value in taken.items()):
        raise ConfigError(
            f"{out} holds figures taken with another number of threads or pairs, or with --quick, "
            "which must not stand in one table with these. Name another --out."
        )
    results: list[dict[str, Any]] = held["cases"]
    for name in names:
        if any(made["name"] == name for made in results):
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        results.append(_figures(name, how))
        if out is not None:
            on = machine(CASES[name][0].device)
            write_json(out, {"command": command, "machine": on, **taken, "cases": results})
            with atomic_text(out.with_suffix(".svg")) as handle:
                handle.write(picture(results) + "\n")
    return results


def _figures(name: str, how: dict[str, Any]) -> dict[str, Any]:
    from prefine.bench.cases import CASES
    from prefine.bench.figures import figures, skipped
    from prefine.bench.gemm import has_bfloat16
    from prefine.bench.run import DoesNotFit, run_case

    case = CASES[name][0]
    if case.device == "cpu" and case.precision != "float32" and not has_bfloat16():
        return skipped(name, "this processor has no bfloat16 units")
    if case.against == "diffusers" and find_spec("diffusers") is None:
        return skipped(name, "diffusers is not installed: pip install 'prefine[pictures]'")
    try:
        made = run_case(case, **how)
    except DoesNotFit as error:
        return skipped(name, str(error))
    return figures(name, made)


def _tell(
    results: list[dict[str, Any]], earlier: dict[str, Any] | None, *, as_json: bool, device: str
) -> None:
    from prefine.bench.baseline import remarks, slower
    from prefine.bench.figures import machine
    from prefine.bench.table import show

    on = machine(device)
    worse = [] if earlier is None else slower(results, earlier)
    told = [] if earlier is None else remarks(results, earlier, on["processor"])
    for line in [*told, *worse]:
        typer.echo(line, err=as_json)
    typer.echo(json.dumps({"machine": on, "cases": results}) if as_json else show(results))
    if worse:
        raise typer.Exit(1)
