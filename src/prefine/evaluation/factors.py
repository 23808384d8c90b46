"""A table of runs, a line each, as a factorial study reads it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefine.errors import RecordError, StatisticError
from prefine.records.sources.files import file_rows, kind_of_file
from prefine.records.sources.row import Row

KINDS = ("csv", "tsv", "json", "parquet")


@dataclass(frozen=True, slots=True)
class RunTable:
    """Runs of a study.

    Attributes:
        runs: One mapping a run: a level for each factor and the seed, as text, and the outcome.
        levels: Factor -> its levels; effects are against the first.
    """

    runs: Sequence[Mapping[str, Any]]
    levels: Mapping[str, Sequence[str]]


def read_runs(
    path: Path,
    factors: Sequence[str],
    outcome: str,
    seed: str = "seed",
    against: Mapping[str, str] | None = None,
) -> RunTable:
    r"""Read a table of runs; columns that are not named are not read.

    Args:
        path: CSV, TSV, JSON lines or Parquet, by its ending.
        factors: Columns of the factors, in the order that they are told in.
        outcome: Column of the number that is explained.
        seed: Column of the seed.
        against: Factor -> level that the others are held against; by default the level of the
            first run.

    Raises:
        StatisticError: If a column has two parts, or no run has a level to hold others against.
        RecordError: If a row cannot be read, lacks a column, repeats a run, or its outcome is no
            finite number; the message says which line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> rows = ["data,loss,seed,reward", "noisy,dpo,0,0.5", "clean,dpo,0,0.7"]
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "runs.csv"
        ...     _ = path.write_text("\n".join(rows))
        ...     read_runs(path, ["data", "loss"], "reward").levels
        {'data': ['noisy', 'clean'], 'loss': ['dpo']}
    """
    columns = [*factors, outcome, seed]
    if len(set(columns)) < len(columns):
        raise StatisticError(
            f"Factors, outcome and seed are columns of their own, got {', '.join(columns)}: a "
            "column that explains itself explains all of it. Name each once."
        )
    if kind_of_file(path) not in KINDS:
        raise RecordError(f"{path.name} is no table: .csv, .tsv, .jsonl, .json and .parquet are.")
    runs: list[dict[str, Any]] = []
    seen: dict[tuple[str, ...], str] = {}
    for row in file_rows(path, path.name):
        run, where = _run(row, factors, outcome, seed), _where(row)
        at = tuple(str(run[name]) for name in (*factors, seed))
        if at in seen:
            named = ", ".join(f"{name} {value}" for name, value in zip((*factors, seed), at,
                                                                       strict=True))  # fmt: skip
            raise RecordError(
                f"{where} repeats {seen[at]}: {named}. If another column tells them apart, name it "
                "as a factor; if they are repetitions, give each its own seed."
            )
        seen[at] = where
        runs.append(run)
    if not runs:
        raise RecordError(f"{path.name} holds no runs.")
    levels = {name: list(dict.fromkeys(str(run[name]) for run in runs)) for name in factors}
    return RunTable(runs, _first(levels, against or {}))


def _run(row: Row, factors: Sequence[str], outcome: str, seed: str) -> dict[str, Any]:
    if row.value is None:
        raise RecordError(f"{_where(row)}: {row.problem}")
    for name in (*factors, outcome, seed):
        if name not in row.value:
            raise RecordError(
                f"{_where(row)}: there is no column {name!r}; there are {', '.join(row.value)}."
            )
    run: dict[str, Any] = {name: _level(row, name) for name in (*factors, seed)}
    run[outcome] = _number(row, outcome)
    return run


def _where(row: Row) -> str:
    return f"{row.file}, " + (f"row {row.number + 1}" if row.line is None else f"line {row.line}")


def _level(row: Row, name: str) -> str:
    """A level as text, so that a table says the same in every format."""
    assert row.value is not None
    value = row.value[name]
    if isinstance(value, str) and value.strip():
        if not _is_text(value):
            raise RecordError(
                f"{_where(row)}: {name!r} is not text in UTF-8. Save the table as such."
            )
        return value.strip()
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise RecordError(
        f"{_where(row)}: {name!r} must be a word or a number, got {json.dumps(value)}. A run "
        "without a level belongs to no combination."
    )


def _number(row: Row, name: str) -> float:
    assert row.value is not None
    value = row.value[name]
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise RecordError(
            f"{_where(row)}: {name!r} must be a finite number, got {json.dumps(value)}. Run it "
            "again, or leave its level out everywhere: a study needs every combination."
        )
    return found


def _first(
    levels: Mapping[str, Sequence[str]], against: Mapping[str, str]
) -> Mapping[str, Sequence[str]]:
    for name, level in against.items():
        if level not in levels.get(name, ()):
            known = "; ".join(f"{factor}: {', '.join(found)}" for factor, found in levels.items())
            raise StatisticError(
                f"Nothing can be held against {name}={level}: no run has it. There are {known}."
            )
    return {
        name: sorted(found, key=lambda level: level != against.get(name, found[0]))
        for name, found in levels.items()
    }


def _is_text(value: str) -> bool:
    """Whether it can be written; bytes that are no UTF-8 are read as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
