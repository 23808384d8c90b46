"""Assembles the commands; turns deliberate errors into one message and an exit code.

Exit codes: 0 held, 1 failed, 2 misuse.
"""

import sys
from typing import Annotated

import typer

from prefine import __version__
from prefine.cli import (
    bench,
    combine,
    compare,
    compare_objectives,
    config,
    curate,
    data,
    demo,
    diagnose,
    doctor,
    evaluate,
    evaluate_factors,
    evaluate_latency,
    evaluate_policies,
    export,
    generate,
    iterate,
    ledger,
    push,
    sami,
    serve,
    train,
)
from prefine.errors import ConfigError, MissingExtraError, PrefineError

app = typer.Typer(
    name="prefine",
    help="Preference alignment: from what people said to a model that acts on it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config.app, name="config")
app.add_typer(data.app, name="data")
app.command()(curate.curate)
app.add_typer(evaluate.app, name="evaluate")
evaluate.app.command()(evaluate_policies.overoptimisation)
evaluate.app.command()(evaluate_policies.drift)
evaluate.app.command()(evaluate_policies.selection)
evaluate.app.command()(evaluate_factors.factors)
evaluate.app.command()(evaluate_latency.latency)
app.command()(train.train)
app.command()(demo.demo)
app.command()(generate.generate)
app.command()(diagnose.diagnose)
app.command()(compare.compare)
app.command()(compare_objectives.compare_objectives)
app.command()(iterate.iterate)
app.command()(sami.sami)
app.command()(bench.bench)
app.command()(export.export)
app.command()(combine.combine)
app.command()(push.push)
app.add_typer(serve.app, name="serve")
app.add_typer(ledger.app, name="ledger")
app.command()(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"prefine {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Preference alignment: from what people said to a model that acts on it."""


def main() -> None:
    """Run the command line; the entry point of the `prefine` script."""
    try:
        app()
    except (ConfigError, MissingExtraError) as error:
        sys.exit(_report(error, 2))
    except PrefineError as error:
        sys.exit(_report(error, 1))
    except KeyboardInterrupt as stopped:
        sys.exit(_report(stopped, 130))


def _report(error: BaseException, code: int) -> int:
    typer.secho(f"prefine: {error or 'stopped'}", err=True, fg=typer.colors.RED)
    return code
