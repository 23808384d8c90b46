"""`prefine evaluate latency`: how late a translator writes, in records or by itself."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from prefine.cli.evaluate import Format, Json, Rejects, Split
from prefine.records.streams import READ


def latency(
    data: Annotated[
        str, typer.Argument(help="Trajectories, such as prefine curate streams makes.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Hub name or folder: what it does with these sources, in place of "
            "what the data do."
        ),
    ] = None,
    read: Annotated[str, typer.Option(help="The token that asks to read.")] = READ,
    unit: Annotated[
        str, typer.Option(help="What is counted of what was written: word or character.")
    ] = "word",
    threshold: Annotated[
        float | None,
        typer.Option(help="With --model: read where that is likelier than this, 0.5 by default."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="With --model: sources that are translated.", min=1)
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(help="With --model: longest translation, 256 by default.", min=1),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --model: file for its trajectories, .jsonl.")
    ] = None,
    format: Format = "auto",
    split: Split = None,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Average lagging, and the share of the source that is read when a word is written."""
    from prefine.errors import ConfigError, RecordError
    from prefine.evaluation.latency import latency_report
    from prefine.records import Records, load
    from prefine.records.streams import UNITS

    if unit not in UNITS:
        raise ConfigError(f"--unit must be {' or '.join(UNITS)}, got {unit!r}.")
    of_model = {"samples": samples, "out": out, "threshold": threshold,
                "max-new-tokens": max_new_tokens}  # fmt: skip
    given = [f"--{name}" for name, value in of_model.items() if value is not None]
    if model is None and given:
        raise ConfigError(f"{', '.join(given)}: for translations of a model; name one, --model.")
    threshold, longest = 0.5 if threshold is None else threshold, max_new_tokens or 256
    if out is not None and out.exists():
        raise ConfigError(f"{out} is there already. Name another file with --out.")
    aside: Counter[str] = Counter()
    records: Any = load(data, format=format, split=split, rejects=rejects)
    facts = {"data": records.source, "format": records.format, "rejects": records.rejects.count}
    if model is not None:
        translated = _translated(
            records, model, aside, read, threshold, samples, longest, progress=not as_json
        )
        records = Records.of(translated)
        facts |= {"model": model, "threshold": threshold, "sources": len(translated)}
        if out is not None and translated:
            records.save(out)
    paths, clusters = _paths(records, read, unit, aside)
    if not paths:
        said = "; ".join(f"{reason} ({count})" for reason, count in aside.items())
        longer = " Raise --max-new-tokens, or train it to end." if "cut after" in said else ""
        raise RecordError(f"{data}: there is no trajectory ({said or 'it is empty'}).{longer}")
    report = latency_report(paths, clusters)
    if as_json:
        facts |= {"trajectories": len(paths), "set_aside": dict(aside)}
        stats = {name: stat.to_json() for name, stat in report.items()}
        typer.echo(json.dumps({**stats, **facts}, allow_nan=False))
        return
    from prefine.report.terminal import print_stats

    print_stats(report)
    for reason, count in aside.items():
        typer.echo(f"set aside  {count}: {reason}", err=True)


def _paths(records: Any, read: str, unit: Any, aside: Counter[str]) -> tuple[list[Any], list[str]]:
    """Follow each response; count those that are no trajectories by reason."""
    from prefine.errors import RecordError
    from prefine.records.streams import Trajectory

    paths: list[Any] = []
    clusters: list[str] = []
    for record in records:
        for candidate in record.candidates:
            try:
                path = Trajectory.of(candidate.messages, read, unit)
            except RecordError as error:
                aside[str(error)] += 1
                continue
            if not path.read:
                aside["nothing is written"] += 1
                continue
            paths.append(path)
            clusters.append(record.cluster)
    return paths, clusters


def _translated(
    records: Any,
    model: str,
    aside: Counter[str],
    read: str,
    threshold: float,
    samples: int | None,
    longest: int,
    *,
    progress: bool,
) -> list[Any]:
    """Return the sources of trajectories, each with what the model makes of it."""
    from dataclasses import replace

    from tqdm import tqdm

    from prefine.errors import RecordError
    from prefine.models import load_policy, load_tokenizer
    from prefine.records import Candidate, Origin
    from prefine.records.streams import Trajectory, revealed
    from prefine.sampling import SimultaneousTranslator

    translate = SimultaneousTranslator(
        load_policy(model), load_tokenizer(model), read, threshold, longest
    )
    origin = Origin("model", model=Path(model).name)
    found: dict[str, Any] = {}
    seen: set[str] = set()
    for record in tqdm(records, "sources", disable=not progress):
        if len(seen) == samples:
            break
        if record.cluster in seen or not record.candidates:
            continue
        told = record.candidates[0].messages
        try:
            Trajectory.of(told, read)
        except RecordError as error:
            aside[str(error)] += 1
            continue
        seen.add(record.cluster)
        messages, finished = translate(record, revealed(told))
        if not finished:
            aside[f"cut after {longest} tokens"] += 1
            continue
        candidate = Candidate("c0", messages, origin)
        found[record.cluster] = replace(record, candidates=(candidate,), judgments=())
    return list(found.values())
