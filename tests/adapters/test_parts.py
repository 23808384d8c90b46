"""Parts: no row lost, none over the budget but alone, about equally full."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from prefine.adapters.parts import Row, split_rows


def row(prompt: int, *responses: int, name: int = 0) -> dict[str, Any]:
    """A row with so many tokens; rows of one name share their prompt."""
    tokens = np.full(prompt, name + 5)
    return {"prompt": [tokens] * len(responses), "response": [np.ones(n) for n in responses]}


def packed_tokens(rows: Sequence[Row]) -> int:
    prompts = {one["prompt"][0].tobytes(): len(one["prompt"][0]) for one in rows}
    return sum(prompts.values()) + sum(len(r) for one in rows for r in one["response"])


def padded_tokens(rows: Sequence[Row]) -> int:
    items = [(p, r) for one in rows for p, r in zip(one["prompt"], one["response"], strict=True)]
    return len(items) * max(len(p) + len(r) for p, r in items)


def drawn(seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        row(int(rng.integers(0, 40)), *rng.integers(1, 30, rng.integers(1, 5)).tolist(), name=n)
        for n in range(int(rng.integers(1, 20)))
    ]


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("packed", [True, False])
def test_every_row_is_in_one_part_that_keeps_the_budget(seed: int, packed: bool) -> None:
    rows, budget = drawn(seed), 150
    parts = split_rows(rows, budget, packed=packed)
    assert sorted(id(one) for part in parts for one in part) == sorted(map(id, rows))
    size = packed_tokens if packed else padded_tokens
    assert all(size(part) <= budget or len(part) == 1 for part in parts)
    assert all(part for part in parts)


@pytest.mark.parametrize("seed", range(10))
def test_parts_are_about_equally_full(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [row(20, int(rng.integers(5, 20)), 10, name=n) for n in range(64)]
    sizes = [packed_tokens(part) for part in split_rows(rows, 500, packed=True)]
    assert len(sizes) == -(-packed_tokens(rows) // 500)
    assert max(sizes) - min(sizes) <= max(packed_tokens([one]) for one in rows)


def test_rows_of_one_prompt_stay_together() -> None:
    rows = [row(30, 5, 5, name=n % 4) for n in range(12)]
    parts = split_rows(rows, 130, packed=True)
    names = [{one["prompt"][0][0] for one in part} for part in parts]
    assert [len(found) for found in names] == [2, 2]
    assert not names[0] & names[1]


def test_a_group_over_the_budget_is_cut() -> None:
    parts = split_rows([row(30, 20, 20, name=1) for _ in range(4)], 120, packed=True)
    assert [len(part) for part in parts] == [1, 1, 1, 1]


def test_without_a_budget_there_is_one_part() -> None:
    rows = drawn(0)
    assert split_rows(rows, None, packed=True) == [rows]
