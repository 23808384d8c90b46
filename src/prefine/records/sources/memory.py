# pyright: basic
"""Rows in memory: dicts, a data set of the `datasets` library, a pandas table."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prefine.errors import ConfigError, RecordError
from prefine.records.codec import kind_of
from prefine.records.sources.licences import licence_in
from prefine.records.sources.row import Row
from prefine.records.sources.table_rows import plain


def memory_rows(source: Any, split: str | None = None) -> Iterator[Row]:
    """Yield rows of memory.

    Args:
        source: An iterable of dicts, a `datasets.Dataset` or `DatasetDict`, a pandas DataFrame
            (whose NaN stands for an absent cell).
        split: Split of a `DatasetDict`.

    Raises:
        RecordError: If the source is none of those.
        ConfigError: If a split is missing, or named where there are none.
    """
    if hasattr(source, "column_names") and isinstance(source, Mapping):
        source = one_split(source, split, "the data set")
    elif split is not None:
        raise ConfigError(f"`split` has no meaning for rows in memory, got {split!r}.")
    return _numbered(_values(source))


def memory_licence(source: Any, split: str | None = None) -> str | None:
    """Return the licence that the `info` of a data set of the `datasets` library names."""
    if hasattr(source, "column_names") and isinstance(source, Mapping):
        source = one_split(source, split, "the data set")
    named = getattr(getattr(source, "info", None), "license", None)
    return licence_in({"license": named})


def one_split(splits: Mapping[str, Any], split: str | None, name: str) -> Any:
    """Return the named split, or the only one.

    Raises:
        ConfigError: If there are several and none is named, or the named one is missing.
    """
    names = ", ".join(splits)
    if split is None and len(splits) > 1:
        raise ConfigError(f"{name} has the splits {names}: name one with `split`.")
    if split is not None and split not in splits:
        raise ConfigError(f"{name} has no split {split!r}; it has {names}.")
    return next(iter(splits.values())) if split is None else splits[split]


def _values(source: Any) -> Iterable[Any]:
    if hasattr(source, "iterrows"):
        return _frame_rows(source)
    if hasattr(source, "features") and hasattr(source, "cast_column"):
        return dataset_rows(source)
    if isinstance(source, Mapping | str | bytes) or not isinstance(source, Iterable):
        raise RecordError(
            f"Rows in memory must be a list of dicts, a Dataset or a DataFrame, got "
            f"{kind_of(source)}."
        )
    return source


def dataset_rows(dataset: Any) -> Iterator[Any]:
    """Yield the rows of a `datasets.Dataset`; media stay encoded."""
    import datasets

    media = (datasets.Image, datasets.Audio, datasets.Video)
    for name, feature in dataset.features.items():
        inner = getattr(feature, "feature", feature)
        if isinstance(inner, media):
            encoded = type(inner)(decode=False)
            whole = encoded if inner is feature else datasets.List(encoded)
            dataset = dataset.cast_column(name, whole)
    yield from dataset.with_format(None)


def _frame_rows(frame: Any) -> Iterator[Any]:
    names = [str(name) for name in frame.columns]
    if len(set(names)) != len(names):
        raise RecordError(f"two columns of the table share a name: {', '.join(names)}.")
    for cells in frame.itertuples(index=False, name=None):
        row = {}
        for name, cell in zip(names, cells, strict=True):
            row[name] = _cell(cell)
        yield row


def _cell(cell: Any) -> Any:
    import pandas

    if isinstance(cell, list | dict):
        return cell
    if hasattr(cell, "tolist"):  # NumPy arrays and numbers
        cell = cell.tolist()
    missing: Any = pandas.isna(cell)
    return None if missing is True else cell


def _numbered(values: Iterable[Any]) -> Iterator[Row]:
    for number, value in enumerate(values):
        if isinstance(value, Mapping):
            yield Row("memory", number, None, "memory", plain(dict(value)))
        else:
            problem = f"a row must be an object, got {kind_of(value)}."
            yield Row("memory", number, None, "memory", None, problem, repr(value)[:1000])
