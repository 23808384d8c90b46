"""`prefine data`: look into preference data, convert, split and export it."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from prefine.cli.places import refuse_itself
from prefine.errors import ConfigError

app = typer.Typer(
    help="Look into preference data, convert, split and export it.", no_args_is_help=True
)

SourceName = Annotated[
    str, typer.Argument(metavar="DATA", help="File, folder, or Hub name (org/name@revision).")
]
Format = Annotated[str, typer.Option("--format", help="Format of the rows, or auto.")]
MaxRejects = Annotated[
    float, typer.Option(min=0, max=1, help="Largest share of rows that may be set aside.")
]
KeepColumn = Annotated[
    list[str] | None,
    typer.Option("--keep-column", help="Keep a column that the format does not know, in `meta`."),
]
Rename = Annotated[
    list[str] | None,
    typer.Option(metavar="OLD=NEW", help="Call a column by the name the format has for it."),
]
License = Annotated[
    str | None, typer.Option("--license", help="Licence of records whose source names none.")
]
Split = Annotated[str | None, typer.Option(help="Split of a folder or a Hub data set.")]
Config = Annotated[str | None, typer.Option(help="Configuration of a Hub data set.")]
Revision = Annotated[str | None, typer.Option(help="Revision of a Hub data set.")]
Rejects = Annotated[
    Path | None,
    typer.Option(help="Where rejected rows go [default: NAME.rejects.jsonl in this folder]."),
]


@app.command()
def inspect(
    source: SourceName,
    format: Format = "auto",
    split: Split = None,
    config: Config = None,
    revision: Revision = None,
    max_rejects: MaxRejects = 0.01,
    rejects: Rejects = None,
    keep_column: KeepColumn = None,
    rename: Rename = None,
    license: License = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is in a data set; exit with 1 if too many rows cannot be read."""
    from prefine.records.summary import summarise

    records = read(
        source, format, split, config, revision, max_rejects, rejects, keep_column, rename, license
    )
    summary = summarise(records)
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    _show(summary)
    for record in records.head(3):
        _show_record(record)


@app.command()
def convert(
    source: SourceName,
    out: Annotated[Path, typer.Argument(help="File to write.")],
    format: Format = "auto",
    to: Annotated[
        Literal["jsonl", "parquet"] | None,
        typer.Option(help="Kind of file [default: by the name of OUT]."),
    ] = None,
    split: Split = None,
    config: Config = None,
    revision: Revision = None,
    max_rejects: MaxRejects = 0.01,
    rejects: Rejects = None,
    keep_column: KeepColumn = None,
    rename: Rename = None,
    license: License = None,
) -> None:
    """Convert a data set to prefine's own records, without loss."""
    if to is not None and f".{to}" not in out.suffixes:
        out = out.with_name(f"{out.name}.{to}")
    refuse_itself(source, out)
    from prefine.records import convert as write

    done = write(
        source,
        out,
        format=format,
        split=split,
        config=config,
        revision=revision,
        max_rejects=max_rejects,
        rejects=rejects,
        keep_columns=keep_column or (),
        rename=_names(rename or []),
        license=license,
    )
    typer.echo(f"{done.records} records -> {out}")


@app.command("split")
def split_(
    source: SourceName,
    out: Annotated[Path, typer.Argument(metavar="OUTDIR", help="Folder to write into.")],
    by: Annotated[
        str, typer.Option(help="prompt, principal, rater_group, source or tag:NAME.")
    ] = "prompt",
    sizes: Annotated[
        str, typer.Option(help="Parts and shares, e.g. train=0.8,dev=0.1,test=0.1.")
    ] = "train=0.9,test=0.1",
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
    format: Format = "auto",
    split: Split = None,
    config: Config = None,
    revision: Revision = None,
    max_rejects: MaxRejects = 0.01,
    rejects: Rejects = None,
    keep_column: KeepColumn = None,
    rename: Rename = None,
    license: License = None,
) -> None:
    """Divide a data set so that no cluster stands in two parts."""
    shares = _sizes(sizes)
    records = read(
        source, format, split, config, revision, max_rejects, rejects, keep_column, rename, license
    )
    for name, part in records.split(by=by, sizes=shares, seed=seed).items():
        path = out / f"{name}.jsonl"
        part.save(path)
        typer.echo(f"{len(part)} records -> {path}")


@app.command()
def export(
    source: SourceName,
    out: Annotated[Path, typer.Argument(help="File to write.")],
    to: Annotated[str, typer.Option("--format", help="Format to write, e.g. trl_preference.")],
    format: Annotated[str, typer.Option("--from", help="Format of the rows, or auto.")] = "auto",
    split: Split = None,
    config: Config = None,
    revision: Revision = None,
    max_rejects: MaxRejects = 0.01,
    rejects: Rejects = None,
    keep_column: KeepColumn = None,
    rename: Rename = None,
    license: License = None,
) -> None:
    """Write a data set in a public format, and say what is lost."""
    from prefine.records.formats import format_named

    refuse_itself(source, out)
    format_named(to)
    records = read(
        source, format, split, config, revision, max_rejects, rejects, keep_column, rename, license
    )
    done = records.export(to, out)
    typer.echo(f"{done.rows} rows of {done.records} records -> {out}")
    for loss, count in done.losses.items():
        typer.echo(f"  lost: {loss} ({count} records)", err=True)


@app.command()
def encode(
    source: SourceName,
    model: Annotated[str, typer.Option(help="Picture model: Hub name or folder.")],
    format: Format = "auto",
    split: Split = None,
    config: Config = None,
    revision: Revision = None,
    max_rejects: MaxRejects = 0.01,
    rejects: Rejects = None,
    keep_column: KeepColumn = None,
    rename: Rename = None,
    license: License = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Encode captions and pictures for a picture model, once; runs on them find the numbers."""
    records = read(
        source, format, split, config, revision, max_rejects, rejects, keep_column, rename, license
    )
    from prefine.models.picture_rows import encode_records

    done = encode_records(records, source, model, progress=not as_json)
    if as_json:
        typer.echo(json.dumps(done))
        return
    typer.echo(f"{done['records']} of {len(records)} records: {done['encoded']}")
    for reason, count in done["set_aside"].items():
        typer.echo(f"  set aside: {reason} ({count} records)", err=True)


@app.command()
def formats() -> None:
    """List the formats that can be read and written."""
    from prefine.records.formats import FORMATS

    for found in FORMATS.values():
        typer.echo(f"{found.name:24}{'' if found.write else '(read only) '}{found.description}")


def read(
    source: str,
    format: str,
    split: str | None,
    config: str | None,
    revision: str | None,
    max_rejects: float,
    rejects: Path | None,
    keep_column: list[str] | None,
    rename: list[str] | None,
    license: str | None,
) -> Any:
    """Load records as the options of every command on data say."""
    from prefine.records import load

    return load(
        source,
        format=format,
        split=split,
        config=config,
        revision=revision,
        max_rejects=max_rejects,
        rejects=rejects,
        keep_columns=keep_column or (),
        rename=_names(rename or []),
        license=license,
    )


def _names(options: list[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for option in options:
        old, equals, new = option.partition("=")
        if not (old and equals and new) or old in names:
            raise ConfigError(f"`--rename` must look like OLD=NEW, once each, got {option!r}.")
        names[old] = new
    return names


def _sizes(text: str) -> dict[str, float]:
    sizes: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            sizes[name.strip()] = float(share)
        except ValueError:
            raise ConfigError(
                f"`--sizes` must look like train=0.9,test=0.1, got {text!r}."
            ) from None
    return sizes


def _show(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False)
    for name, value in summary.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items()) or "-"
        table.add_row(name.replace("_", " "), "-" if value is None else str(value))
    Console().print(table)


def _show_record(record: Any) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.rule(f"record {record.id}")
    for message in record.context:
        console.print(Text.assemble((f"{message.role}: ", "bold"), _cut(message.text)))
    for candidate in record.candidates:
        console.print(Text.assemble((f"-> {candidate.id}: ", "bold green"), _cut(candidate.text)))
    for judgment in record.judgments[:5]:
        console.print(Text(f"   {judgment.rater.id}, {judgment.aspect}: {_said(judgment)}"))
    if len(record.judgments) > 5:
        console.print(Text(f"   and {len(record.judgments) - 5} more judgments"))


def _said(judgment: Any) -> str:
    if not judgment.valid:
        return "unreadable"
    if judgment.kind == "pair":
        return f"{judgment.winner} wins" if judgment.winner in judgment.shown else judgment.winner
    if judgment.kind == "edit":
        return f"{judgment.edit_from} edited to {judgment.edit_to}"
    return f"{judgment.kind} {judgment.scores or judgment.ranks or judgment.polarity}"


def _cut(text: str) -> str:
    return text if len(text) <= 400 else f"{text[:400]} [... {len(text)} characters]"
