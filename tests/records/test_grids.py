"""Records of grids become rows in which each response stands under each instruction."""

import json
from typing import Any

import pytest

from prefine.errors import RecordError
from prefine.records import Candidate, Message, Record, Records, Source
from prefine.records.grids import GRID, INSTRUCTION, grids


def part(grid: str, at: Any, said: str | None = None, **tags: Any) -> Record:
    texts = [] if said is None else [said]
    return Record(
        source=Source("s", row=f"{grid}/{at}"), context=(Message("user", f"{grid} under {at}"),),
        candidates=tuple(Candidate("c0", (Message("assistant", text),)) for text in texts),
        tags={GRID: grid, INSTRUCTION: at, **tags},
    )  # fmt: skip


def test_every_response_stands_under_every_instruction() -> None:
    parts = [part(g, at, f"{g}{at}", weight=2.0) for at in (1, 0, 2) for g in ("a", "b")]
    view = grids(Records.of(parts))
    assert (view.kind, len(view), view.recipe["instructions"]) == ("list", 2, 3)
    row = view.rows[1]
    told = [json.loads(text)["messages"][0]["content"] for text in row["prompts"]]
    said = [json.loads(text)[0]["content"] for text in row["responses"]]
    assert told == ["b under 0", "b under 1", "b under 2"]
    assert said == ["b0", "b1", "b2"]
    cells = [(item["prompt"], item["response"], item["role"]) for item in row["items"]]
    assert cells == [(i, j, f"cell_{i}_{j}") for i in range(3) for j in range(3)]
    assert row["weight"] == 2.0


def test_what_is_no_whole_grid_is_set_aside_with_its_reason() -> None:
    view = grids([
        part("a", 0, "x"), part("a", 1, "y"), part("b", 0, "x"), part("c", 0, "x"), part("c", 1),
        Record(context=(Message("user", "?"),), candidates=()),
    ])  # fmt: skip
    assert len(view) == 1
    assert view.set_aside == {
        "not in a grid": 1,
        "grid without all instructions": 1,
        "grid with more or fewer responses than one an instruction": 1,
    }


def test_one_part_twice_is_refused() -> None:
    with pytest.raises(RecordError, match="are both instruction 0 of grid a"):
        grids([part("a", 0, "x"), part("a", 0, "y")])
