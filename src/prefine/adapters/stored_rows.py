"""Encoded rows on disk: as many as there are in the memory of a few."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, overload

import numpy as np

Row = dict[str, Any]


class StoredRows(Sequence[Row]):
    """The rows that `TextEncoder.rows` yields, in a memory-mapped Arrow table.

    A row is made when it is asked for. Equal prompts of a row are stored once, and are one array.

    Args:
        table: A `pyarrow.Table` with the columns of `_schema`.

    Example:
        >>> from prefine.adapters.stored_rows import StoredRows
        >>> row = {"at": 0, "record": "r", "roles": ["response"], "prompt": [np.array([5, 6])]}
        >>> rows = StoredRows.of([{**row, "response": [np.array([7])], "mask": [np.array([True])]}])
        >>> len(rows), rows[0]["prompt"][0].tolist(), rows[0]["mask"][0].tolist()
        (1, [5, 6], [True])
    """

    def __init__(self, table: Any) -> None:
        self._batches = table.to_batches()
        self._ends = list(accumulate(len(batch) for batch in self._batches))

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "StoredRows":
        """Store rows; consumed once, in constant memory."""
        from prefine.records.table import write_table

        return cls(write_table(map(_stored, rows), _schema()).data.table)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, at: int) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...

    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        """Return a row, or a list of rows."""
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        position = at + len(self) if at < 0 else at
        if not 0 <= position < len(self):
            raise IndexError(f"row {at} of {len(self)}")
        block = bisect_right(self._ends, position)
        start = self._ends[block - 1] if block else 0
        (stored,) = self._batches[block].slice(position - start, 1).to_pylist()
        return _row(stored)


def _stored(row: Mapping[str, Any]) -> Row:
    """A row as the table holds it: bytes of int32 token ids, mask as bits, each prompt once."""
    prompts = [np.asarray(prompt, dtype=np.int32).tobytes() for prompt in row["prompt"]]
    distinct = list(dict.fromkeys(prompts))
    return {
        **row,
        "prompt": distinct,
        "prompt_of": [distinct.index(prompt) for prompt in prompts],
        "response": [np.asarray(ids, dtype=np.int32).tobytes() for ids in row["response"]],
        "mask": [np.packbits(mask).tobytes() for mask in row["mask"]],
    }


def _row(stored: Row) -> Row:
    prompts = [np.frombuffer(ids, np.int32) for ids in stored["prompt"]]
    response = [np.frombuffer(ids, np.int32) for ids in stored["response"]]
    return {
        **{name: value for name, value in stored.items() if name != "prompt_of"},
        "prompt": [prompts[at] for at in stored["prompt_of"]],
        "response": response,
        "mask": [
            np.unpackbits(np.frombuffer(bits, np.uint8), count=len(ids)).view(np.bool_)
            for bits, ids in zip(stored["mask"], response, strict=True)
        ],
    }


def _schema() -> Any:
    import pyarrow as pa

    from prefine.records.table import view_schema

    kept = ("record", "cluster", "utility", "label", "prob", "tie", "margin", "weight")
    kept += ("rater", "principal", "tags")
    fields = [field for field in view_schema() if field.name in kept]
    many = pa.list_(pa.binary())
    return pa.schema(
        [
            ("at", pa.int64()),
            *fields,
            ("roles", pa.list_(pa.string())),
            ("prompt", many),
            ("prompt_of", pa.list_(pa.int32())),
            ("response", many),
            ("mask", many),
        ]
    )
