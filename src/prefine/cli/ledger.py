"""`prefine ledger`: the proofs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefine.errors import ConfigError

if TYPE_CHECKING:
    from prefine.ledger.entry import Entry
    from prefine.ledger.outcome import Outcome, SeedRun

app = typer.Typer(help="The proofs: every method on a problem whose answer is known.")
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


@app.command("list")
def list_entries(as_json: Json = False) -> None:
    """List every entry with its status and figures."""
    from prefine.ledger.catalogue import entries, outcomes

    kept = outcomes()
    if as_json:
        typer.echo(json.dumps([_listed(entry, kept[name]) for name, entry in entries().items()]))
        return
    from rich.console import Console
    from rich.table import Table

    from prefine.report.text import stat_text

    table = Table("entry", "system", "status", "found", "asked for", "control", box=None)
    for name, entry in entries().items():
        outcome = kept[name]
        numbers = ", ".join(entry.numbers)
        if outcome is None:
            table.add_row(name, numbers, "not run")
            continue
        for at, verdict in enumerate(outcome.verdicts):
            table.add_row(
                name if not at else "", numbers if not at else "",
                outcome.status if not at else "", stat_text(verdict.found), str(verdict.bound),
                "" if verdict.control is None else stat_text(verdict.control),
            )  # fmt: skip
    Console().print(table)


@app.command()
def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Entries, or numbers: #92.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every entry.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    seeds: Annotated[
        int | None, typer.Option(min=2, help="Seeds of each; as declared if left out.")
    ] = None,
    first_seed: Annotated[
        int, typer.Option(min=0, help="The first seed; what is declared starts at 0.")
    ] = 0,
    fresh: Annotated[bool, typer.Option(help="Run seeds again that an earlier call ran.")] = False,
    record: Annotated[
        bool, typer.Option(help="Keep the results in the package; from a committed checkout.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run experiments and hold them against their bounds.

    Ends with 1 if a claim comes out worse than its kept result says, or than reproduced where it
    has none.
    """
    from prefine.ledger import provenance
    from prefine.ledger.catalogue import entries, find, outcomes
    from prefine.ledger.outcome import ORDER
    from prefine.ledger.run import run_entries

    if every == bool(names):
        raise ConfigError("Name the entries to run, or give --all; `prefine ledger list` has them.")
    if record and (seeds is not None or first_seed):
        raise ConfigError("--record keeps the declared seeds: leave --seeds and --first-seed out.")
    chosen = list(entries().values()) if every else [find(name) for name in names or ()]
    commit = provenance.commit() if record else None
    expected = {
        name: "reproduced" if one is None else one.status for name, one in outcomes().items()
    }
    found: list[Outcome] = []
    with _progress(chosen, seeds, shown=not as_json) as on_seed:
        for outcome in run_entries(
            chosen, jobs=jobs, seeds=seeds, first_seed=first_seed, fresh=fresh, on_seed=on_seed
        ):
            if commit is not None:
                outcome.made["commit"] = commit
                outcome.save(provenance.RESULTS)
            found.append(outcome)
            if not as_json:
                _tell(outcome)
    if as_json:
        typer.echo(json.dumps([outcome.to_json() for outcome in found]))
    worse = [
        one.entry.name
        for one in found
        if ORDER.index(one.status) < ORDER.index(expected[one.entry.name])
    ]
    if worse:
        typer.echo(f"worse than expected: {', '.join(worse)}", err=True)
        raise typer.Exit(1)


@app.command()
def table(
    out: Annotated[
        Path, typer.Option(help="Folder of the documentation: it gets ledger.md and ledger/.")
    ] = Path("docs"),
) -> None:
    """Write the ledger as a page with a picture for each entry."""
    from prefine.ledger.catalogue import entries, outcomes
    from prefine.ledger.page import write_page

    typer.echo(f"page     {write_page(outcomes(), entries(), out)}")


def _listed(entry: "Entry", outcome: "Outcome | None") -> dict[str, Any]:
    figures = {} if outcome is None else outcome.figures
    return {
        "name": entry.name, "numbers": list(entry.numbers), "claim": entry.claim,
        "status": "not run" if outcome is None else outcome.status,
        "figures": {name: stat.to_json() for name, stat in figures.items()},
    }  # fmt: skip


def _tell(outcome: "Outcome") -> None:
    from prefine.ledger.page import said
    from prefine.report.text import stat_text

    typer.echo(f"{outcome.entry.name}  {outcome.status}  ({outcome.seconds:.1f} core-seconds)")
    for verdict in outcome.verdicts:
        control = "" if verdict.control is None else f", control {stat_text(verdict.control)}"
        typer.echo(f"  {verdict.bound}: {stat_text(verdict.found)}{control}: {said(verdict)}")
    bounded = {b.measure for b in outcome.entry.bounds}
    for name, stat in outcome.figures.items():
        if name not in bounded and name.removesuffix("/control") not in bounded:
            typer.echo(f"  {name} {stat_text(stat)}")


def _progress(chosen: "list[Entry]", seeds: int | None, *, shown: bool) -> Any:
    """A bar over seeds; gives the function that moves it on."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    @contextmanager
    def bar() -> Any:
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
            task = progress.add_task("seeds", total=sum(seeds or e.seeds for e in chosen))

            def on_seed(entry: "Entry", one: "SeedRun") -> None:
                progress.update(task, advance=1, description=f"{entry.name}, seed {one.seed}")

            yield on_seed

    return bar()
