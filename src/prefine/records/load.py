"""Loading: from files, folders, Hub names and rows in memory to records."""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from prefine.errors import ConfigError, FormatError, RecordError
from prefine.records.formats import FORMATS, fitting, format_named
from prefine.records.formats.format import Format, Where
from prefine.records.joined import Joiner
from prefine.records.media import refuse_outside
from prefine.records.records import Records, Rejects
from prefine.records.rejects import RejectsFile
from prefine.records.schema import Record
from prefine.records.sources import files, hub, memory
from prefine.records.sources.licences import licence_beside
from prefine.records.sources.row import Row

SNIFFED_ROWS = 20
"""How many rows of each file `format="auto"` looks at."""

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?")


def load(
    source: Any,
    *,
    format: str = "auto",
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    max_rejects: float = 0.01,
    rejects: Path | str | None = None,
    keep_columns: Collection[str] = (),
    rename: Mapping[str, str] | None = None,
    license: str | None = None,
) -> Records:
    """Load records, in constant memory.

    A row that cannot be read is set aside, with its reason, in a rejects file, and loading goes
    on; a file that is torn stops it, because nobody knows how many rows are missing.

    Args:
        source: Path of a file (JSON lines, a JSON array, CSV, TSV, Parquet, XML; also `.gz` and
            `.zst`) or of a folder of such files; a Hub name `org/name` or `org/name@revision`; or
            rows in memory: a list of dicts, a `datasets.Dataset`, a pandas DataFrame.
        format: Name of a format, or "auto": the one format that fits the first rows.
        split: Of a folder: the files named so. Of a Hub data set: its split.
        config: Configuration of a Hub data set.
        revision: Branch, tag or commit of a Hub data set.
        max_rejects: Largest share of rows that may be set aside, in [0, 1].
        rejects: Where rejected rows go; by default `<name>.rejects.jsonl` in the working
            directory (a run passes a path in its own folder). Nothing is written beside the data.
        keep_columns: Columns that the format does not know, to be kept in `meta`.
        rename: Column of the source -> the name that the format has for it: what key options are
            elsewhere (`--prompt_key question` of OpenRLHF is `{"question": "prompt"}`).
        license: Licence of records that name none. By default what the data set states: its data
            card (the front matter of the README beside the files, or on the Hub) or its
            `dataset_info`. It is never guessed.

    Returns:
        The records.

    Raises:
        FormatError: If no format fits, or more than one does.
        TooManyRejects: If more than `max_rejects` of the rows cannot be read.
        HubMissingError: If the Hub has no such data set, revision, configuration or split.
        HubGatedError: If this account may not read it.
        HubOfflineError: If the Hub cannot be reached and nothing is cached.
        RecordError: If a file is missing, empty, torn or not data.
        ConfigError: If an option makes no sense.

    Example:
        >>> rows = [{"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}]
        >>> records = load(rows)
        >>> records.format, records[0].judgments[0].winner
        ('trl_preference', 'c0')
    """
    with reading(
        source,
        format=format,
        split=split,
        config=config,
        revision=revision,
        max_rejects=max_rejects,
        rejects=rejects,
        keep_columns=keep_columns,
        rename=rename,
        license=license,
    ) as found:
        return Records.of(
            found, rejects=lambda: found.rejects, source=found.name, format=found.format
        )


class Options(TypedDict, total=False):
    """The options of `load`, for whatever else reads as it does."""

    format: str
    split: str | None
    config: str | None
    revision: str | None
    max_rejects: float
    rejects: Path | str | None
    keep_columns: Collection[str]
    rename: Mapping[str, str] | None
    license: str | None


class Reading:
    """Records as they are read: to be gone through once, one at a time.

    After the last one it raises if too many rows were rejected, or there were none at all.

    Attributes:
        name: As messages and `Records.source` call the source.
        format: Name of the format.
        count: Records read so far.
        rejects: Rows that were not understood, known after the last record.
    """

    def __init__(self, name: str, format: str, records: Iterator[Record], log: RejectsFile) -> None:
        self.name, self.format = name, format
        self.count, self.rejects = 0, Rejects()
        self._records, self._log = records, log

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            self.count += 1
            yield record
        self.rejects = self._log.finish()
        if not self._log.rows:
            raise RecordError(f"{self.name} holds no rows.")


@contextmanager
def reading(
    source: Any,
    *,
    format: str = "auto",
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    max_rejects: float = 0.01,
    rejects: Path | str | None = None,
    keep_columns: Collection[str] = (),
    rename: Mapping[str, str] | None = None,
    license: str | None = None,
) -> Generator[Reading]:
    """Open what `load` loads, with its options and its errors."""
    if not 0 <= max_rejects <= 1:
        raise ConfigError(f"`max_rejects` must be in [0, 1], got {max_rejects}.")
    if license is not None and not license.strip():
        raise ConfigError("`license` is empty. Name the licence, or leave the option out.")
    fixed = None if format == "auto" else format_named(format)
    opened = _open(source, split, config, revision)
    if license is not None:
        opened = replace(opened, parts=[replace(p, license=license) for p in opened.parts])
    if rename:
        opened = replace(opened, parts=[_renamed(part, rename) for part in opened.parts])
    path = Path(rejects) if rejects is not None else Path.cwd() / f"{opened.stem}.rejects.jsonl"
    parts, chosen = _choose(opened, fixed)
    with RejectsFile(path, opened.name, max_rejects) as log:
        records = _read(opened, parts, chosen, log, tuple(keep_columns))
        yield Reading(opened.name, chosen.name, records, log)


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a source, or all of a source that has no files.

    Attributes:
        name: As messages and records call it.
        rows: Its rows, to be read once.
        folder: Folder of the file, or None.
        license: Licence of records that name none.
    """

    name: str
    rows: Iterator[Row]
    folder: Path | None = None
    license: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A source, opened: rows of one or more parts (files), each by its name.

    Attributes:
        name: As messages and `Records.source` call it.
        stem: As the rejects file is called.
        parts: The parts, to be read once.
        split: Split that was asked for.
    """

    name: str
    stem: str
    parts: Sequence[Part]
    split: str | None


def _open(source: Any, split: str | None, config: str | None, revision: str | None) -> Opened:
    if not isinstance(source, str | Path):
        _refuse("rows in memory", config=config, revision=revision)
        rows = memory.memory_rows(source, split)
        named = memory.memory_licence(source, split)
        return Opened("memory", "memory", [Part("memory", rows, license=named)], split)
    path = Path(source).expanduser()
    if path.is_dir():
        _refuse("a folder", config=config, revision=revision)
        return _open_folder(path, split)
    if path.exists() or not _is_hub_name(str(source)):
        _refuse("a file", split=split, config=config, revision=revision)
        if not path.exists():
            raise RecordError(f"There is no file {source}.")
        return Opened(path.name, files.stem(path), [_part(path, path.name, path.parent)], None)
    name, _, tag = str(source).partition("@")
    if tag and revision and tag != revision:
        raise ConfigError(f"{source} names revision {tag}, but `revision` is {revision}.")
    rows, named = hub.hub_rows(name, config=config, split=split, revision=tag or revision)
    parts = [Part(str(source), rows, license=named)]
    return Opened(str(source), name.replace("/", "--"), parts, split)


def _is_hub_name(source: str) -> bool:
    return bool(HUB_NAME.fullmatch(source)) and files.kind_of_file(Path(source)) is None


def _refuse(what: str, **options: str | None) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"`{name}` has no meaning for {what}, got {value!r}.")


def _part(path: Path, name: str, root: Path) -> Part:
    return Part(name, files.file_rows(path, name), path.parent, licence_beside(path, root))


def _open_folder(folder: Path, split: str | None) -> Opened:
    found = files.folder_files(folder, split)
    root = folder.resolve().name
    names = [f"{root}/{path.relative_to(folder).as_posix()}" for path in found]
    parts = [_part(path, name, folder) for path, name in zip(found, names, strict=True)]
    return Opened(root, root, parts, split)


def _renamed(part: Part, names: Mapping[str, str]) -> Part:
    """Return a part whose columns have other names; a row that lacks one is a problem."""
    if len(set(names.values())) != len(names):
        raise ConfigError(f"`rename` gives two columns one name: {dict(names)}.")

    def rows() -> Iterator[Row]:
        for row in part.rows:
            value = row.value or {}
            missing = [key for key in names if key not in value]
            clash = [new for new in names.values() if new in value and new not in names]
            if row.value is None:
                yield row
            elif missing:
                yield replace(row, value=None, problem=f"there is no `{missing[0]}` to rename.")
            elif clash:
                problem = f"there is a `{clash[0]}` already, so nothing can be renamed to it."
                yield replace(row, value=None, problem=problem)
            else:
                yield replace(row, value={names.get(key, key): value[key] for key in value})

    return replace(part, rows=rows())


def _choose(opened: Opened, fixed: Format | None) -> tuple[Sequence[Part], Format]:
    """Return the parts, unread, and the one format that fits all of them."""
    if fixed is not None:
        return opened.parts, fixed
    chosen: dict[str, Format] = {}
    parts: list[Part] = []
    for part in opened.parts:
        head = list(itertools.islice(part.rows, SNIFFED_ROWS))
        parts.append(replace(part, rows=itertools.chain(head, part.rows)))
        if any(row.value is not None for row in head):
            chosen[part.name] = sniff(head, part.name)
    if not chosen:
        # Every first row is broken, or there is none: any format rejects them with their reasons.
        return parts, FORMATS["prefine"]
    if len({found.name for found in chosen.values()}) > 1:
        first, other = _two_different(chosen)
        raise FormatError(
            f"{opened.name} holds files of different formats: {first} is {chosen[first].name}, "
            f"{other} is {chosen[other].name}. Load them one by one."
        )
    return parts, next(iter(chosen.values()))


def _two_different(chosen: Mapping[str, Format]) -> tuple[str, str]:
    first = next(iter(chosen))
    return first, next(n for n, found in chosen.items() if found.name != chosen[first].name)


def sniff(rows: Collection[Row], name: str) -> Format:
    """Return the one format that fits most of the given rows.

    Raises:
        FormatError: If none does, or more than one.
    """
    readable = [row for row in rows if row.value is not None]
    counts = Counter(found.name for row in readable for found in fitting(row.value or {}, row.kind))
    likely = [FORMATS[found] for found, count in counts.items() if 2 * count > len(readable)]
    if len(likely) == 1:
        return likely[0]
    keys = sorted({key for row in readable for key in (row.value or {})})
    shown = ", ".join(str(key)[:40] for key in keys[:20])
    if likely:
        names = " and ".join(found.name for found in likely)
        raise FormatError(
            f"{name} fits more than one format: {names} (its keys: {shown}). They mean different "
            f"things, so say which: format={likely[0].name!r}."
        )
    raise FormatError(
        f"{name} fits no format that prefine knows; its keys are {shown or '(none)'}. Rename "
        f"them, or name the format. Known: {', '.join(FORMATS)}."
    )


def _read(
    opened: Opened,
    parts: Iterable[Part],
    chosen: Format,
    log: RejectsFile,
    keep: tuple[str, ...],
) -> Iterator[Record]:
    for part in parts:
        joiner = Joiner() if chosen.joins else None
        for row in part.rows:
            log.rows += 1
            problem = row.problem
            if row.value is not None:
                where = Where(part.name, row.number, opened.split, part.folder)
                try:
                    found = _licensed(_records(chosen, row.value, where, keep), part.license)
                    for record in found:
                        refuse_outside(record, part.folder)
                    if joiner is None:
                        yield from found
                    else:
                        for record in found:
                            joiner.add(record)
                        yield from joiner.finished()
                    continue
                except RecordError as error:
                    problem = str(error)
                except RecursionError:
                    problem = "nested too deeply."
            raw = row.raw if row.value is None else row.value
            log.add(row.file, row.number, row.line, problem, raw)
        if joiner is not None:
            yield from joiner.finished(last=True)


def _records(
    chosen: Format, row: dict[str, Any], where: Where, keep: tuple[str, ...]
) -> Sequence[Record]:
    kept = {key: row[key] for key in keep if key in row}
    if not kept:
        return chosen.records(row, where)
    records = chosen.records({key: row[key] for key in row if key not in kept}, where)
    return [replace(record, meta={**record.meta, **kept}) for record in records]


def _licensed(records: Sequence[Record], named: str | None) -> Sequence[Record]:
    """Name the licence of records that name none themselves."""
    if named is None:
        return records
    return [
        record
        if record.source.license is not None
        else replace(record, source=replace(record.source, license=named))
        for record in records
    ]
