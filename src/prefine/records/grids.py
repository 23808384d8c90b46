"""Grids: the responses to one request under several instructions, each seen under all of them.

A record has one prompt, so a grid of C instructions is C records, one response each, that share
the tag `grid`; the tag `instruction` is the number of theirs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prefine.errors import RecordError
from prefine.records.schema import Candidate, Record
from prefine.records.table import view_schema, write_table
from prefine.records.views import View, prompt_json, response_json

GRID, INSTRUCTION = "grid", "instruction"
"""Tags of the records of a grid."""


def grids(records: Iterable[Record]) -> View:
    """Return a view of grids: a row holds each of C responses under each of C instructions.

    Args:
        records: With the tags above; the instructions are the numbers that any of them has.

    Returns:
        A view of lists, whose item `i * C + j` is response j under instruction i. Records without
        the tags or with another number of responses than one, and grids that lack an instruction,
        are set aside.

    Raises:
        RecordError: If two records are the same part of a grid.
    """
    aside: Counter[str] = Counter()
    found: dict[str, dict[Any, Record]] = {}
    for record in records:
        if not {GRID, INSTRUCTION} <= record.tags.keys():
            aside["not in a grid"] += 1
            continue
        name, at = str(record.tags[GRID]), record.tags[INSTRUCTION]
        if at in found.setdefault(name, {}):
            raise RecordError(
                f"Records {found[name][at].id} and {record.id} are both instruction {at} of grid "
                f"{name}, so it is not known which was answered. Give grids names of their own."
            )
        found[name][at] = record
    wanted = sorted({at for grid in found.values() for at in grid}, key=str)

    def rows() -> Iterator[dict[str, Any]]:
        for grid in found.values():
            told = [grid[at] for at in wanted if at in grid]
            if len(told) < len(wanted):
                aside["grid without all instructions"] += 1
            elif any(len(record.candidates) != 1 for record in told):
                aside["grid with more or fewer responses than one an instruction"] += 1
            else:
                yield grid_row(told, [record.candidates[0] for record in told])

    table = write_table(rows(), view_schema())
    return View("list", table, (), (), dict(aside), {"kind": "grid", "instructions": len(wanted)})


def grid_row(prompts: Sequence[Record], responses: Sequence[Candidate]) -> dict[str, Any]:
    """Return a row of a view, with all responses under all prompts.

    Args:
        prompts: C records, whose contexts are the request under each instruction.
        responses: What was answered to each, in the same order.
    """
    places = range(len(prompts))
    items = [{"prompt": i, "response": j, "role": f"cell_{i}_{j}"} for i in places for j in places]
    first = prompts[0]
    weight = first.tags.get("weight", 1.0)
    return {
        "record": first.id, "cluster": first.cluster,
        "prompts": [prompt_json(prompt) for prompt in prompts],
        "responses": [response_json(response) for response in responses],
        "items": items, "utility": [None] * len(items), "label": [None] * len(items),
        "prob": None, "tie": False, "margin": None, "weight": float(weight), "aspect": "none",
        "rater": -1, "principal": -1, "tags": "{}",
    }  # fmt: skip
