"""What a run keeps of every held-out row: enough to compare it with another run, row by row."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefine.storage import content_hash

if TYPE_CHECKING:
    from prefine.training.outcome import Outcome

Row = Mapping[str, Any]


def held_out_rows(view_rows: Sequence[Row], outcome: "Outcome") -> Iterator[dict[str, Any]]:
    """Yield one row for each held-out row, in order, for `RunFolder.write_held_out`.

    Args:
        view_rows: The rows of the held-out view, to which `at` of an encoded row points.
        outcome: The encoded rows and their scores.

    Yields:
        `record`, `cluster`, `text` (a hash of what was scored, roles included: two runs that agree
        in it scored the same thing), `roles`, `scores` and `reference` (one number an item, null
        where it could not be scored; `reference` is null without a reference), `length` (scored
        units of each item), `prob`, `tie`, `label`, `weight`.
    """
    base = outcome.reference or [None] * len(outcome.rows)
    for row, scores, reference in zip(outcome.rows, outcome.scores, base, strict=True):
        yield {
            "record": row["record"],
            "cluster": row["cluster"],
            "text": _text(view_rows[row["at"]]),
            "roles": list(row["roles"]),
            "scores": _finite(scores),
            "reference": None if reference is None else _finite(reference),
            "length": _lengths(row),
            "prob": row.get("prob"),
            "tie": bool(row.get("tie")),
            "label": row.get("label"),
            "weight": float(row.get("weight", 1.0)),
        }


def _lengths(row: Row) -> list[float]:
    """Scored tokens of each item; a picture is one denoising step."""
    if "mask" not in row:
        return [1.0] * len(row["roles"])
    return [float(mask.sum()) for mask in row["mask"]]


def _text(row: Row) -> str:
    parts = [
        (item["role"], row["prompts"][item["prompt"]], row["responses"][item["response"]])
        for item in row["items"]
    ]
    return content_hash(part for triple in parts for part in triple)


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
