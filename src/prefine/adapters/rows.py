"""Lay encoded rows out as one batch of items, whatever the items are made of."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from prefine.protocols import Batch

PRIMARY = re.compile(r"chosen|rejected|response(_\d+)?")
"""Roles of the items that an objective compares by default; others are asked for by name."""

ROW_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64
"""Weights and labels: sums over rows must not depend on how rows are laid out."""

Row = Mapping[str, Any]

Items = Sequence[tuple[int, Row, int]]
"""The number of each item's row in the batch, that row, and the item's number there."""


def lay_out_rows(
    rows: Sequence[Row], place: Callable[[Items], Batch], units: Callable[[Row, int], int]
) -> Batch:
    """Lay the items of B rows out as one batch (see `protocols.Batch`).

    Items with the role `mismatched` go into a batch of their own under `mismatched`: they are
    scored without gradient, and only by objectives that ask.

    Args:
        rows: Encoded rows, with `absent` and `reference` where known.
        place: Returns what the adapter adds to a batch, `items` above all.
        units: Returns the scored units of a row's item.
    """
    batch = _lay_out(rows, place, units, keep=lambda role: role != "mismatched")
    if any("mismatched" in row["roles"] for row in rows):
        batch["mismatched"] = _lay_out(rows, place, units, keep=lambda role: role == "mismatched")
    return batch


def _lay_out(
    rows: Sequence[Row],
    place: Callable[[Items], Batch],
    units: Callable[[Row, int], int],
    keep: Callable[[str], bool],
) -> Batch:
    items: list[tuple[int, Row, int]] = []
    roles: list[dict[str, int]] = []
    for b, row in enumerate(rows):
        at: dict[str, int] = {}
        for k, role in enumerate(row["roles"]):
            if keep(role):
                at[role] = len(items)
                items.append((b, row, k))
        roles.append(at)
    primary = [[i for role, i in at.items() if PRIMARY.fullmatch(role)] for at in roles]
    if not any(primary):
        primary = [list(at.values()) for at in roles]
    width = max((len(row) for row in primary), default=0)
    batch: Batch = {
        "rows": _row_tensors(rows, primary, width),
        "index": torch.tensor([row + [-1] * (width - len(row)) for row in primary]).long(),
        "roles": _role_tensors(roles),
        "complete": _complete(primary, roles),
        "unlabelled": sum(map(_lacks_label, rows, map(len, primary))),
        "units": torch.tensor([units(row, k) for _, row, k in items]).long(),
        "records": [str(row["record"]) for row in rows],
    }
    if any(row.get("degree") is not None for row in rows):
        degrees = [-1 if row.get("degree") is None else row["degree"][k] for _, row, k in items]
        batch["degree"] = torch.tensor(degrees).long()
    references = [row["reference"][k] for _, row, k in items if row.get("reference") is not None]
    if items and len(references) == len(items):
        batch["reference"] = torch.tensor(references, dtype=torch.float64)
    return batch | place(items)


def _role_tensors(roles: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
    names = sorted({name for at in roles for name in at})
    return {name: torch.tensor([at.get(name, -1) for at in roles]) for name in names}


def _complete(primary: Sequence[Sequence[int]], roles: Sequence[Mapping[str, int]]) -> list[str]:
    """Roles that every row has, and "" where no row of the index lacks a response."""
    every = set.intersection(*map(set, roles)) if roles else set()
    return sorted(every | ({""} if len(set(map(len, primary))) == 1 else set()))


def _lacks_label(row: Row, responses: int) -> bool:
    """Whether a row that counts has a response that nobody judged."""
    labels = list(row.get("label") or [])[:responses]
    counts = not row.get("absent") and row.get("weight") != 0
    return counts and (len(labels) < responses or None in labels)


def _row_tensors(
    rows: Sequence[Row], primary: Sequence[Sequence[int]], width: int
) -> dict[str, Tensor]:
    """What is known about rows, by name; what no row knows is left out."""

    def per_row(name: str, missing: float) -> Tensor:
        values = [row.get(name) for row in rows]
        return torch.tensor(
            [missing if value is None else float(value) for value in values], dtype=ROW_DTYPE
        )

    def per_response(name: str) -> Tensor:
        table = torch.full((len(rows), width), float("nan"), dtype=ROW_DTYPE)
        for b, row in enumerate(rows):
            values = row.get(name) or []
            for k in range(min(len(primary[b]), len(values))):
                if values[k] is not None:
                    table[b, k] = float(values[k])
        return table

    absent = torch.tensor([bool(row.get("absent")) for row in rows])
    weight = torch.where(absent, 0.0, per_row("weight", 1.0)).to(ROW_DTYPE)
    tensors: dict[str, Tensor] = {
        "weight": weight,
        "absent": absent,
        "rater": torch.tensor([int(row.get("rater", -1)) for row in rows]),
        "principal": torch.tensor([int(row.get("principal", -1)) for row in rows]),
    }
    found = {name: per_row(name, float("nan")) for name in ("prob", "margin")}
    found |= {name: per_response(name) for name in ("utility", "label")}
    tensors |= {name: values for name, values in found.items() if not values.isnan().all()}
    if any(row.get("tie") for row in rows):
        tensors["tie"] = torch.tensor([bool(row.get("tie")) for row in rows])
    return tensors
