"""Stored rows are the rows that were given."""

from typing import Any

import numpy as np
import pytest

from prefine.adapters.stored_rows import StoredRows

COLUMNS: dict[str, Any] = {
    "cluster": "c", "utility": [1.0, None], "label": [True, None], "prob": 0.5, "tie": None,
    "margin": None, "weight": 2.0, "rater": -1, "principal": 3, "tags": '{"a": 1}',
}  # fmt: skip


def row(at: int, *items: tuple[list[int], list[int], list[int]]) -> dict[str, Any]:
    return {
        "at": at,
        "record": f"r{at}",
        **COLUMNS,
        "roles": [f"response_{k}" for k in range(len(items))],
        "prompt": [np.array(prompt, dtype=np.int32) for prompt, _, _ in items],
        "response": [np.array(response, dtype=np.int32) for _, response, _ in items],
        "mask": [np.array(mask, dtype=np.bool_) for _, _, mask in items],
    }


ROWS = [
    row(0, ([5, 6], [7], [1]), ([5, 6], [8] * 9, [1, 0, 1, 1, 0, 0, 0, 1, 1])),
    row(2, ([], [2**31 - 1], [1])),
    *(row(at, ([at], [at] * 17, [1] * 17), ([at, at], [3], [1])) for at in range(3, 1203)),
]


def same(found: dict[str, Any], given: dict[str, Any]) -> bool:
    arrays = ("prompt", "response", "mask")
    plain = {k: v for k, v in found.items() if k not in arrays}
    return plain == {k: v for k, v in given.items() if k not in arrays} and all(
        a.dtype == b.dtype and a.tolist() == b.tolist()
        for name in arrays
        for a, b in zip(found[name], given[name], strict=True)
    )


def test_rows_come_back_one_by_one_in_slices_and_in_order() -> None:
    stored = StoredRows.of(iter(ROWS))
    assert len(stored) == len(ROWS)
    assert len(stored._batches) == 2
    for at in (0, 1, 2, 999, 1000, 1001, -1):
        assert same(stored[at], ROWS[at])
    assert all(map(same, stored, ROWS))
    assert all(map(same, stored[998:1003], ROWS[998:1003]))
    assert stored[5:2] == []
    with pytest.raises(IndexError, match="row 1202 of 1202"):
        stored[len(ROWS)]


def test_a_shared_prompt_is_stored_once() -> None:
    stored = StoredRows.of([ROWS[0], ROWS[2]])
    (batch,) = stored._batches
    assert [len(prompts) for prompts in batch.column("prompt").to_pylist()] == [1, 2]
    shared, apart = stored
    assert shared["prompt"][0] is shared["prompt"][1]
    assert apart["prompt"][0] is not apart["prompt"][1]


def test_no_rows_are_stored_too() -> None:
    stored = StoredRows.of([])
    assert len(stored) == 0
    assert list(stored) == []
    assert not stored
