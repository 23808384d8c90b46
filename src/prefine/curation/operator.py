"""What an operator on records is, and how one record becomes others without losing its origin."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

from prefine.curation.writer import Writer
from prefine.records import Record, Records
from prefine.records.votes import SetAside

Made = Iterator[Record | SetAside]


@runtime_checkable
class Operator(Protocol):
    """A frozen dataclass whose fields are its options."""

    name: ClassVar[str]

    def __call__(self, record: Record) -> Made:
        """Yield the records that one record becomes, or why it becomes none."""
        ...


@runtime_checkable
class LooksFirst(Protocol):
    """An operator for which a record alone says too little."""

    def over(self, records: Iterable[Record]) -> Operator:
        """Return the operator with what it must know of all records."""
        ...


@runtime_checkable
class AsksFirst(Protocol):
    """An operator some of whose words a model may write, for all records before the first."""

    def with_answers(self, records: Iterable[Record], *, progress: bool = False) -> Operator:
        """Return the operator with what was written for these records."""
        ...


def options_of(operator: Operator) -> dict[str, Any]:
    """Return the options of an operator, without what it has learnt of the data."""
    named: Any = operator
    given = {f.name: getattr(named, f.name) for f in fields(named) if f.repr}
    return {key: _plain(value) for key, value in given.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Writer):
        return value.options()
    return list(value) if isinstance(value, tuple) else value


def derived(record: Record, operator: Operator, number: int, **changes: Any) -> Record:
    """Return a record made from another.

    It names its source, with the operator and a number behind the row; it shares the cluster, so
    that no split parts it from what it was made from; and `meta.curation` says what was done.

    Args:
        record: What it is made from.
        operator: What makes it.
        number: Tells it from the operator's other records of the same one.
        **changes: Fields that are new; `tags` and `meta` are added to those of the record.
    """
    row = record.id if record.source.row is None else record.source.row
    done = {"operator": operator.name, "options": options_of(operator), "record": record.id}
    earlier = record.meta.get("curation", ())
    return replace(
        record,
        id="",
        source=replace(record.source, row=f"{row}/{operator.name}-{number}"),
        **{
            **changes,
            "tags": {**record.tags, "cluster": record.cluster, **changes.get("tags", {})},
            "meta": {**record.meta, **changes.get("meta", {}), "curation": [*earlier, done]},
        },
    )


def curate(records: Records, operator: Operator, *, progress: bool = False) -> Records:
    """Put records through an operator.

    Args:
        records: Any records; they stay as they are.
        operator: What to do with each.
        progress: Show progress.

    Returns:
        What was made. `set_aside` counts, by reason, what became no record, added to what was set
        aside before.

    Example:
        >>> from prefine.curation import Goals
        >>> from prefine.records import load
        >>> unrated = load([{"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}])
        >>> dict(curate(unrated, Goals()).set_aside)
        {'no score': 1}
    """
    ready = operator.over(records) if isinstance(operator, LooksFirst) else operator
    ready = (
        ready.with_answers(records, progress=progress) if isinstance(ready, AsksFirst) else ready
    )
    aside: Counter[str] = Counter(records.set_aside)
    return Records.of(
        _made(records, ready, aside, progress),
        rejects=lambda: records.rejects,
        source=records.source,
        format=records.format,
        set_aside=aside,
    )


def _made(
    records: Records, operator: Operator, aside: Counter[str], progress: bool
) -> Iterator[Record]:
    from tqdm import tqdm

    for record in tqdm(records, operator.name, len(records), disable=not progress):
        for one in operator(record):
            if isinstance(one, SetAside):
                aside[one.reason] += 1
            else:
                yield one
